"""Why an answer ended: a chat's finish reason, a response's status and what it lacks.

Source: OpenAI's reference (`status`, `incomplete_details`, `error`).
"""

from collections.abc import Mapping
from typing import Any, Final

INCOMPLETE: Final = {
    "length": "max_output_tokens",
    "model_length": "max_output_tokens",  # Mistral
    "content_filter": "content_filter",
}
"""`incomplete_details.reason` by the chat's finish reason; anything else is complete."""
FINISH_REASON: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
"""By `incomplete_details.reason`; anything else is a stop."""
KEPT: Final = ("native_finish_reason", "stop_reason")
"""What a chat may say more exactly keeps its name in a response, whose readers pass over it."""


def ending(finish_reason: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a response."""
    lacks = INCOMPLETE.get(finish_reason)
    more = {key: kept[key] for key in KEPT if kept.get(key) is not None}
    if lacks is None:
        return {"status": "completed", **more}
    return {"status": "incomplete", "incomplete_details": {"reason": lacks}, **more}


def finish_reason(response: Mapping[str, Any], *, called: bool) -> str:
    if response.get("status") == "incomplete":
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        return FINISH_REASON.get(str(reason), "stop")
    return "tool_calls" if called else "stop"


def kept(response: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a choice."""
    return {key: response[key] for key in KEPT if isinstance(response.get(key), str)}
