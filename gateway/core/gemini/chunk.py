"""A piece of an answer, which is shaped like a whole one; and what a part of it says that is billed as output."""

from typing import Any, Final

import msgspec

from gateway.core.output_text import OutputText

_SAID_IN: Final = ("text", "functionCall", "executableCode", "toolCall", "inlineData")
_RESULTS: Final = ("codeExecutionResult", "toolResponse")
"""Of Google's tools, which are billed as input."""


class Chunk(msgspec.Struct, gc=False, rename="camel"):
    candidates: Any = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    model_version: Any = None
    response_id: Any = None
    error: Any = None


def say(part: object, said: OutputText) -> bool:
    """Whether it bears content: something billed, which `said` then counts, or the result of a tool."""
    if type(part) is not dict:
        return False
    text = part.get("text")
    if type(text) is str and len(part) == 1:  # nearly every part
        return said.say(text)
    bears = said.say([part[name] for name in _SAID_IN if name in part])
    return bears or any(part.get(name) for name in _RESULTS)


def parts_of(candidate: object) -> list[Any]:
    content = candidate.get("content") if type(candidate) is dict else None
    parts = content.get("parts") if type(content) is dict else None
    return parts if type(parts) is list else []
