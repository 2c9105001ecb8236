"""How an answer goes wrong when it is told to: other bytes, an early end, silence."""

from typing import Any, Final, Literal

import msgspec

from gateway.core.anthropic_messages.errors import OVERLOADED, error_in_messages
from gateway.core.dialect import DialectName
from gateway.core.gemini.errors import status_name
from gateway.core.rendered import Rendered
from gateway.replay.directions import Directions
from gateway.replay.script import Script

Ending = Literal["complete", "close", "reset", "end", "hang", "error_event"]
"""`end` closes the HTTP message properly, only the stream's own terminal event is missing."""

_ERRORS: Final[dict[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request is invalid, as x-replay-status asked."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided, as x-replay-status asked."),
    402: ("insufficient_quota", "insufficient_quota", "Payment is required, as x-replay-status asked."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Not allowed, as x-replay-status asked."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist, as x-replay-status asked."),
    422: ("invalid_request_error", None, "The request cannot be processed, as x-replay-status asked."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached, as x-replay-status asked."),
    500: ("server_error", None, "The server had an error, as x-replay-status asked."),
    503: ("service_unavailable_error", None, "The server is overloaded, as x-replay-status asked."),
}
_GEMINI: Final = ("gemini-generate", "gemini-embed")
_HTML: Final = b"<!doctype html><title>502 Bad Gateway</title><h1>502 Bad Gateway</h1>"


class Performance(msgspec.Struct, kw_only=True):
    """A script, and how its playing ends."""

    script: Script
    ending: Ending = "complete"
    half: bytes = b""
    """Written last, before a break: the first half of the next piece."""


def error_object(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def messages_error_object(message: str, status: int) -> dict[str, Any]:
    error = error_in_messages(Rendered(status, "", "", message))
    return {"type": "error", "error": {"type": error.type, "message": message}, "request_id": "req_replayed"}


def gemini_error_object(message: str, status: int) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": status_name(status)}}


def error_script(
    status: int,
    model: str,
    streamed: bool,
    *,
    dialect: DialectName = "openai-chat",
    message: str | None = None,
    **facts: Any,
) -> Script:
    """An error in the dialect's shape, with the type and code that it has for the status."""
    kind, code, text = _ERRORS.get(status) or _ERRORS[400 if status < 500 else 500]
    if dialect == "anthropic-messages":
        body = msgspec.json.encode(messages_error_object(message or text, status))
    elif dialect in _GEMINI:
        body = msgspec.json.encode(gemini_error_object(message or text, status))
    else:
        body = msgspec.json.encode(error_object(message or text, kind, **{"code": code, **facts}))
    return Script(
        id="",
        model=model,
        status=status,
        headers=[("content-type", "application/json")],
        streamed=False,
        pieces=[body],
        piece_tokens=[0],
        dialect=dialect,
    )


def perform(script: Script, directions: Directions) -> Performance:
    """Bend the script as directed. Only one of break, hang and error event takes effect, in this order."""
    if directions.garbage != "no":
        return Performance(script=_garbage(script, directions.garbage))
    if directions.break_ is not None:
        kept, half = _first(script, directions.break_)
        return Performance(script=kept, ending=directions.break_by, half=b"" if directions.break_by == "end" else half)
    if directions.hang is not None:
        kept, half = _first(script, directions.hang)
        return Performance(script=kept, ending="hang", half=b"" if script.streamed else half)
    if directions.error_event is not None and script.streamed:
        kept, _ = _first(script, directions.error_event)
        kept.pieces.append(_error_event(script.dialect))
        kept.piece_tokens.append(0)
        return Performance(script=kept, ending="error_event")
    return Performance(script=script)


def _error_event(dialect: DialectName) -> bytes:
    message = "The server had an error while processing your request."
    if dialect == "anthropic-messages":
        return b"event: error\ndata: " + msgspec.json.encode(messages_error_object(message, OVERLOADED)) + b"\n\n"
    if dialect == "openai-responses":
        told = {"type": "error", "sequence_number": 0, **error_object(message, "server_error", code="replayed")}
        return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"
    if dialect in _GEMINI:
        return b"data: " + msgspec.json.encode(gemini_error_object(message, 503)) + b"\r\n\r\n"
    return b"data: " + msgspec.json.encode(error_object(message, "server_error", code="replayed")) + b"\n\n"


def _first(script: Script, events: int) -> tuple[Script, bytes]:
    """The script up to `events` pieces with content (0: not even the pieces before them), and half of the next."""
    count = min(script.lead + events if events and script.streamed else 0, len(script.pieces))
    rest = script.pieces[count] if count < len(script.pieces) else b""
    usage_piece = script.usage_piece if script.usage_piece is not None and script.usage_piece < count else None
    kept = msgspec.structs.replace(
        script, pieces=script.pieces[:count], piece_tokens=script.piece_tokens[:count], usage_piece=usage_piece
    )
    return kept, rest[: len(rest) // 2]


def _garbage(script: Script, kind: str) -> Script:
    if kind == "html":
        headers, pieces = [("content-type", "text/html")], [_HTML]
    elif kind == "json":
        headers = script.headers
        pieces = [piece.replace(b"}", b"", 1) if b"[DONE]" not in piece else piece for piece in script.pieces]
    else:
        headers = script.headers
        pieces = [b"\x00\xff:\n" + piece.replace(b"data: ", b"atad ") for piece in script.pieces]
    return msgspec.structs.replace(
        script, headers=headers, pieces=pieces, piece_tokens=[0] * len(pieces), usage_piece=None
    )
