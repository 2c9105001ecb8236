"""How Gemini's API tells of errors: Google's error object, in a body or as the last event of a stream.

Source: google.rpc.Status and google.rpc.error_details. Our code is the `reason`, what stands beside it the metadata.
"""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Broken
from gateway.core.rendered import Rendered

DOMAIN: Final = "tollgate"
_TYPE: Final = "type.googleapis.com/google.rpc."
_STATUS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def status_name(status: int) -> str:
    """google.rpc.Code's name for an HTTP status."""
    return _STATUS.get(status) or ("INVALID_ARGUMENT" if status < 500 else "INTERNAL")


def error_in_gemini(error: Rendered) -> Rendered:
    """With the status name in the place of the type."""
    return msgspec.structs.replace(error, type=status_name(error.status))


def error_body(error: Rendered, request_id: str) -> bytes:
    """`error` stands first: Google's SDK for Python knows an error in a stream by how it begins."""
    info: dict[str, Any] = {"@type": f"{_TYPE}ErrorInfo", "reason": error.code.upper(), "domain": DOMAIN}
    if error.metadata is not None:
        info["metadata"] = {name: str(value) for name, value in error.metadata.items() if value is not None}
    details = [info]
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    wait_s = dict(error.headers).get("retry-after")
    if wait_s is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait_s}s"})
    if request_id:
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    told = {"code": error.status, "message": error.message, "status": error.type, "details": details}
    return msgspec.json.encode({"error": told})


def last_frames(broken: Broken) -> bytes:
    return b"data: " + error_body(broken.error, broken.request_id) + b"\r\n\r\n"
