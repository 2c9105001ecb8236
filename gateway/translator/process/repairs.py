"""What litellm has wrong, put right where it was found; each goes when its test passes without it."""

import json
from collections.abc import Mapping
from typing import Any, Final

_COHERE_ENDS: Final = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def repair(litellm: Any) -> None:
    """Once, after it is imported."""
    # It takes lines of JSON, in shapes that Cohere's v2 does not send (1.106.2): no stream came to its end.
    iterator = litellm.llms.cohere.common_utils.CohereV2ModelResponseIterator
    iterator.convert_str_chunk_to_generic_chunk = lambda _, chunk: cohere_line(chunk)


def cohere_line(line: str | bytes) -> dict[str, Any]:
    """A line of Cohere's v2 event stream as litellm's generic chunk; one that says nothing is an empty chunk.

    Source: docs.cohere.com/v2/docs/streaming. Raises ValueError for an event that tells of an error.
    """
    text = line.decode() if isinstance(line, bytes) else line
    name, _, data = text.partition(":")
    event = json.loads(data) if name == "data" and data.strip() != "[DONE]" else {}
    kind, delta = event.get("type"), event.get("delta") or {}
    message = delta.get("message") or {}
    if kind == "content-delta":
        return _generic(text=(message.get("content") or {}).get("text") or "")
    if kind in ("tool-call-start", "tool-call-delta"):
        return _generic(tool_use=_cohere_tool_call(message.get("tool_calls") or {}, event.get("index", 0)))
    if kind == "message-end":
        reason = delta.get("finish_reason")
        if reason not in _COHERE_ENDS:
            raise ValueError(f"Cohere ended its answer with {reason}")
        tokens = (delta.get("usage") or {}).get("tokens") or {}
        prompt, output = tokens.get("input_tokens"), tokens.get("output_tokens")
        usage = None
        if prompt is not None and output is not None:
            usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        return _generic(is_finished=True, finish_reason=_COHERE_ENDS[reason], usage=usage)
    return _generic()


def _cohere_tool_call(call: Mapping[str, Any], index: int) -> dict[str, Any]:
    function = call.get("function") or {}
    named = {"name": function.get("name"), "arguments": function.get("arguments") or ""}
    return {"id": call.get("id"), "type": "function", "function": named, "index": index}


def _generic(**said: Any) -> dict[str, Any]:
    nothing = {"text": "", "is_finished": False, "finish_reason": "", "usage": None, "index": 0, "tool_use": None}
    return {**nothing, **said}
