"""How OpenAI's chat dialect tells of errors: a body, or the last frame of a stream."""

from typing import Any

import msgspec

from gateway.core.dialect import Broken
from gateway.core.openai_chat.request import ChatRequest
from gateway.core.rendered import Rendered
from gateway.core.usage import Usage


def error_as_it_is(error: Rendered) -> Rendered:
    """Statuses and types are OpenAI's to begin with."""
    return error


def error_body(error: Rendered, _request_id: str) -> bytes:
    """OpenAI's error object."""
    body: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.metadata is not None:
        body["metadata"] = error.metadata
    return msgspec.json.encode({"error": body})


def last_frames(broken: Broken) -> bytes:
    """Every SDK raises on `error` in a data frame; no `[DONE]` follows, because the stream did not end well.

    It has no `choices`, as OpenAI's own has none: Vercel's AI SDK takes what has them for a chunk and sees no error.
    Before it goes the usage chunk that the caller asked for and the provider can no longer send.
    """
    error, facts = broken.error, broken.facts
    assert isinstance(facts, ChatRequest)
    id = broken.provider_id or f"chatcmpl-{broken.request_id.replace('-', '')}"
    told = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    frame = _frame(broken, id, error=told)
    if broken.usage is not None and facts.include_usage:
        return _frame(broken, id, choices=[], usage=usage_object(broken.usage)) + frame
    return frame


def _frame(broken: Broken, id: str, **more: Any) -> bytes:
    chunk = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": broken.unix_s,
        "model": broken.model,
        **more,
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def usage_object(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
    }
