"""What went wrong, in both dialects: the status, and the object that says it. Never raises on odd bodies.

Sources: Anthropic's page on errors; OpenAI's, and the statuses that its SDKs act on. A client's SDK chooses the
exception and whether to try again by the status, so a status changes only where the other side knows none like it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

TYPE_BY_STATUS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's type. Other 4xx are invalid_request_error, everything else is api_error."""
TYPE_BY_WORD: Final = {
    "context_length_exceeded": "invalid_request_error",
    "insufficient_credits": "billing_error",
    "budget_exceeded": "billing_error",
    "credits_reserved": "billing_error",
    "insufficient_quota": "billing_error",
    "invalid_api_key": "authentication_error",
    "authentication_error": "authentication_error",
    "model_not_found": "not_found_error",
    "permission_denied": "permission_error",
    "request_too_large": "request_too_large",
    "rate_limit_exceeded": "rate_limit_error",
    "rate_limit_error": "rate_limit_error",
    "requests": "rate_limit_error",
    "tokens": "rate_limit_error",
    "service_unavailable_error": "overloaded_error",
    "overloaded": "overloaded_error",
    "overloaded_error": "overloaded_error",
    "timeout_error": "timeout_error",
    "server_error": "api_error",
    "upstream_error": "api_error",
    "invalid_request_error": "invalid_request_error",
}
"""Anthropic's type by the chat error's code, else by its type, where no status says it: in a stream."""
CHAT_ERROR: Final[dict[str, tuple[str, str | None]]] = {
    "invalid_request_error": ("invalid_request_error", None),
    "authentication_error": ("invalid_request_error", "invalid_api_key"),
    "billing_error": ("insufficient_quota", "insufficient_quota"),
    "permission_error": ("invalid_request_error", "permission_denied"),
    "not_found_error": ("invalid_request_error", "model_not_found"),
    "request_too_large": ("invalid_request_error", "request_too_large"),
    "rate_limit_error": ("requests", "rate_limit_exceeded"),
    "timeout_error": ("timeout_error", "timeout"),
    "overloaded_error": ("service_unavailable_error", "overloaded"),
    "api_error": ("server_error", None),
}
"""The chat dialect's type and code by Anthropic's type; those that it lacks are server errors."""

STATUS_TO_MESSAGES: Final = {503: 529}
STATUS_TO_CHAT: Final = {529: 503}
TOO_LONG: Final = "prompt is too long"
"""How Anthropic begins the message that the chat dialect has the code context_length_exceeded for. Clients shorten
the conversation when they read either."""
CONTEXT_LENGTH: Final = "context_length_exceeded"
OUT_OF_CREDIT: Final = "insufficient_quota"

_ANY: Final = msgspec.json.Decoder(dict[str, Any])


class ErrorAnswer(msgspec.Struct, frozen=True):
    status: int
    body: bytes


def error_to_messages(status: int, body: bytes, *, request_id: str | None = None) -> ErrorAnswer:
    """A chat provider's answer of 400 or above, as Anthropic would have given it."""
    error = _error_in(body)
    type_ = TYPE_BY_STATUS.get(status, "invalid_request_error" if status < 500 else "api_error")
    if OUT_OF_CREDIT in (error.get("code"), error.get("type")):  # OpenAI gives it as a 429, which SDKs try again
        status, type_ = 402, "billing_error"
    said = {"type": type_, "message": _message(error, f"The provider answered with status {status}.")}
    answer = {"type": "error", "error": said, **({"request_id": request_id} if request_id else {})}
    return ErrorAnswer(STATUS_TO_MESSAGES.get(status, status), msgspec.json.encode(answer))


def error_to_chat(status: int, body: bytes) -> ErrorAnswer:
    """Anthropic's answer of 400 or above, as a chat provider would have given it."""
    error = _error_in(body)
    if str(error.get("type")) not in CHAT_ERROR:
        by_status = TYPE_BY_STATUS.get(status, "invalid_request_error" if status < 500 else "api_error")
        error = {**error, "type": by_status}
    said = chat_error(error, f"The provider answered with status {status}.")
    return ErrorAnswer(STATUS_TO_CHAT.get(status, status), msgspec.json.encode({"error": said}))


def messages_error(error: Mapping[str, Any]) -> dict[str, Any]:
    """The `error` of a chat chunk as the `error` of an Anthropic event."""
    type_ = "api_error"
    for word in (error.get("code"), error.get("status_code"), error.get("type")):
        if isinstance(word, int) and word in TYPE_BY_STATUS:
            type_ = TYPE_BY_STATUS[word]
            break
        if isinstance(word, str) and word in TYPE_BY_WORD:
            type_ = TYPE_BY_WORD[word]
            break
    return {"type": type_, "message": _message(error, "The provider ended the stream with an error.")}


def chat_error(error: Mapping[str, Any], otherwise: str) -> dict[str, Any]:
    """Anthropic's `error` as the chat dialect's; `otherwise` is said where it says nothing."""
    type_, code = CHAT_ERROR.get(str(error.get("type")), CHAT_ERROR["api_error"])
    message = error.get("message")
    said = message if isinstance(message, str) and message else otherwise
    if said.startswith(TOO_LONG):
        code = CONTEXT_LENGTH
    return {"message": said, "type": type_, "param": None, "code": code}


def _message(error: Mapping[str, Any], otherwise: str) -> str:
    message = error.get("message")
    said = message if isinstance(message, str) and message else otherwise
    too_long = error.get("code") == CONTEXT_LENGTH and not said.startswith(TOO_LONG)
    return f"{TOO_LONG}: {said}" if too_long else said


def _error_in(body: bytes) -> dict[str, Any]:
    """What providers have under `error`: an object, or only a text; some have neither, and say it at the top."""
    try:
        answer = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = answer.get("error", answer)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}
