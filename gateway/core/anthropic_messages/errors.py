"""How the Messages dialect tells of errors: a body, or the last event of a stream.

Source: Anthropic's documentation of its errors. `code` and what stands beside it are ours; SDKs pass over them.
"""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Broken
from gateway.core.rendered import Rendered

OVERLOADED: Final = 529
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}


def error_in_messages(error: Rendered) -> Rendered:
    """With the type that goes with its status. What is 503 elsewhere, because trying again helps, is 529 here."""
    status = OVERLOADED if error.status == 503 else error.status
    type = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    if error.metadata is not None and "required" in error.metadata:
        type = _TYPES[402]  # also where the operator answers 429 in its place
    return msgspec.structs.replace(error, status=status, type=type)


def error_body(error: Rendered, request_id: str) -> bytes:
    """Anthropic's error object."""
    told: dict[str, Any] = {"type": error.type, "message": error.message, "code": error.code}
    if error.param is not None:
        told["param"] = error.param
    if error.metadata is not None:
        told["metadata"] = error.metadata
    return msgspec.json.encode({"type": "error", "error": told, "request_id": request_id})


def last_frames(broken: Broken) -> bytes:
    """Every SDK raises on an event of this name."""
    return b"event: error\ndata: " + error_body(broken.error, broken.request_id) + b"\n\n"
