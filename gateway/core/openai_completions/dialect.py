"""OpenAI's text completions as a dialect: what is not of its own is read and told as in the chat dialect."""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Broken, Dialect, Habits
from gateway.core.openai_chat.answer import read_chat_answer
from gateway.core.openai_chat.errors import error_as_it_is, error_body, usage_object
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.openai_chat.splicing import splice
from gateway.core.openai_completions.request import CompletionsRequest, read_completions_request


def splice_for(request: CompletionsRequest, model: str, habits: Habits, send_limit: int | None) -> tuple[bytes, bool]:
    """The body for a target, always with a limit. True: it asks for the usage chunk, and the caller has not."""
    ask_usage = request.stream and habits.include_usage and not request.include_usage
    tokens = send_limit
    if tokens is None and not request.limit_fields:
        tokens = request.output_limit
    body = splice(
        request,
        model=None if model == request.model else model,
        include_usage=ask_usage,
        output_limit=None if tokens is None else ("max_tokens", tokens),
    )
    return body, ask_usage


def last_frames(broken: Broken) -> bytes:
    """As in the chat dialect: SDKs raise on `error`, no `[DONE]` follows, a usage that was asked for goes before."""
    error, facts = broken.error, broken.facts
    assert isinstance(facts, CompletionsRequest)
    frame = _frame(
        broken,
        error={"message": error.message, "type": error.type, "param": error.param, "code": error.code},
    )
    if broken.usage is not None and facts.include_usage:
        return _frame(broken, choices=[], usage=usage_object(broken.usage)) + frame
    return frame


def _frame(broken: Broken, **more: Any) -> bytes:
    chunk = {
        "id": broken.provider_id or f"cmpl-{broken.request_id.replace('-', '')}",
        "object": "text_completion",
        "created": broken.unix_s,
        "model": broken.model,
        **more,
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


OPENAI_COMPLETIONS: Final = Dialect(
    name="openai-completions",
    path="/completions",
    read_request=read_completions_request,
    splice=splice_for,
    meter=ChatMeter,
    read_answer=read_chat_answer,
    error=error_as_it_is,
    error_body=error_body,
    last_frames=last_frames,
    to_upstream=frozenset({"openai-beta"}),
    to_caller=frozenset({"openai-processing-ms", "openai-version"}),
)
