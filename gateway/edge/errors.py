"""The error tree → HTTP, per dialect. The only place that knows status codes, and the outermost `except`."""

import math
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from aiohttp import web

from gateway.core import errors
from gateway.core.anthropic_messages.dialect import VERSION_HEADER
from gateway.core.anthropic_messages.errors import error_body as messages_error_body
from gateway.core.anthropic_messages.errors import error_in_messages
from gateway.core.gemini.address import KEY_PARAMETER
from gateway.core.gemini.dialect import KEY_HEADER
from gateway.core.gemini.errors import error_body as gemini_error_body
from gateway.core.gemini.errors import error_in_gemini
from gateway.core.openai_chat.errors import error_body
from gateway.core.rendered import Rendered
from gateway.core.units import credits_text
from gateway.edge.rooms import CLOCK, IDS, INSUFFICIENT_STATUS, OBSERVER, REQUEST_ID

log = structlog.get_logger()

_STATUS: Final[tuple[tuple[type[errors.TollgateError], int, str], ...]] = (
    # The first match wins: children stand before their parents.
    (errors.InvalidRequest, 400, "invalid_request_error"),
    (errors.RequestTooLarge, 413, "invalid_request_error"),
    (errors.UnsupportedEncoding, 415, "invalid_request_error"),
    (errors.ModelNotFound, 404, "invalid_request_error"),
    (errors.NotFound, 404, "invalid_request_error"),
    (errors.IdempotencyMismatch, 422, "invalid_request_error"),
    (errors.Conflict, 409, "invalid_request_error"),
    (errors.PreconditionFailed, 412, "invalid_request_error"),
    (errors.Unauthenticated, 401, "invalid_request_error"),
    (errors.Forbidden, 403, "invalid_request_error"),
    (errors.InsufficientCredits, 402, "insufficient_quota"),
    (errors.TooManyOpen, 429, "requests"),
    (errors.TooManyRequests, 429, "requests"),
    (errors.TokensUncheckable, 503, "service_unavailable_error"),
    (errors.LedgerUnavailable, 503, "service_unavailable_error"),
    (errors.Overloaded, 503, "service_unavailable_error"),
    (errors.RequestTimeout, 408, "invalid_request_error"),
    (errors.UpstreamTimeout, 504, "timeout_error"),
    (errors.UpstreamUnavailable, 503, "service_unavailable_error"),
    (errors.UpstreamFailed, 502, "upstream_error"),
)
_RETRY_AFTER_S: Final = {
    errors.TooManyOpen: 1,
    errors.LedgerUnavailable: 2,
    errors.Overloaded: 1,
    errors.TokensUncheckable: 5,
    errors.UpstreamUnavailable: 5,
}

_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HTTP_CODE: Final = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}


INTERNAL: Final = Rendered(500, "api_error", "internal_error", "Something went wrong inside the gateway.")
_NOTHING_DONE: Final = re.compile(r"[;.,] nothing (?:was [a-z ]+|(?:is )?changed)\.", re.IGNORECASE)
_SAYS_WHAT_NOT: Final = re.compile(r"\bnothing\b|\b(?:was|were) not\b|\bno \w+ was\b", re.IGNORECASE)
NO_HTTP: Final = Rendered(
    400, "invalid_request_error", "invalid_request", "The request is not valid HTTP; it was not read any further."
)


def rendered(error: errors.TollgateError, *, insufficient_status: int = 402) -> Rendered:
    """What the caller is told. `insufficient_status` is 402, or 429 for clients that know only OpenAI's own codes."""
    found = next(((status, type_) for kind, status, type_ in _STATUS if isinstance(error, kind)), None)
    if found is None:
        return INTERNAL
    status, type_ = found
    code = error.reason if isinstance(error, errors.InvalidRequest) else error.code
    param = None
    if isinstance(error, errors.InvalidRequest | errors.Forbidden | errors.IdempotencyMismatch):
        param = error.param
    if isinstance(error, errors.PreconditionFailed):
        param = "If-Match"
    if isinstance(error, errors.ModelNotFound):
        param = "model"
    if isinstance(error, errors.InsufficientCredits):
        return _rendered_credits(error, insufficient_status)
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, errors.UpstreamRejectedCredential):
        headers = (("x-should-retry", "false"),)  # trying again asks the same credential
    if isinstance(error, errors.Unauthenticated):
        headers = (("www-authenticate", "Bearer"),)  # RFC 9110, section 15.5.2
    if isinstance(error, errors.TooManyRequests):
        headers = (("retry-after", _retry_after(error.retry_after_s)),)
        if isinstance(error, errors.TooManyFailures):
            headers += (("x-should-retry", "false"),)  # the same credential will be as wrong
    for kind, seconds in _RETRY_AFTER_S.items():
        if isinstance(error, kind):
            headers = (("retry-after", str(seconds)),)
    return Rendered(status, type_, code, str(error), param, headers)


def said_of(error: Rendered, *, changes: bool) -> Rendered:
    """What goes without saying where nothing was to be changed is left out; elsewhere it is said."""
    if not changes:
        return msgspec.structs.replace(error, message=_NOTHING_DONE.sub(".", error.message))
    if error is INTERNAL or _SAYS_WHAT_NOT.search(error.message):
        return error
    return msgspec.structs.replace(error, message=f"{error.message} Nothing was changed.")


def _rendered_credits(error: errors.InsufficientCredits, status: int) -> Rendered:
    metadata: dict[str, Any] = {
        "limit_source": error.limit_source,
        "available": credits_text(error.available_ucr),
        "required": credits_text(error.required_ucr),
        "affordable_max_tokens": error.affordable_max_tokens,
    }
    if isinstance(error, errors.BudgetExceeded):
        metadata["resets_at"] = error.resets_at
    headers: tuple[tuple[str, str], ...]
    if isinstance(error, errors.CreditsReserved):
        headers = (("retry-after", _retry_after(error.retry_after_s)), ("x-should-retry", "true"))
    else:
        # Without it every SDK would retry a 429 twice, and some of them a 402.
        headers = (("x-should-retry", "false"),)
    return Rendered(status, "insufficient_quota", error.code, str(error), None, headers, metadata)


def _retry_after(seconds: float) -> str:
    """1 to 60 only: at 0 some SDKs retry at once, above 60 some give up or outsleep their own timeout."""
    return str(min(60, max(1, math.ceil(seconds))))


def problem_body(error: Rendered) -> bytes:
    """RFC 9457, with the field that is wrong."""
    body: dict[str, Any] = {
        "type": f"urn:tollgate:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    if error.param is not None:
        body["errors"] = [{"field": error.param, "message": error.message}]
    if error.metadata is not None:
        body.update(error.metadata)
    return msgspec.json.encode(body)


def error_response(request: web.BaseRequest, error: Rendered, id: UUID) -> web.Response:
    """The error in the dialect of the path that was asked."""
    if speaks_messages(request):
        error = error_in_messages(error)
        headers = [("content-type", "application/json"), ("request-id", str(id)), *error.headers]
        return web.Response(status=error.status, body=messages_error_body(error, str(id)), headers=headers)
    if speaks_gemini(request):
        error = error_in_gemini(error)
        headers = [("content-type", "application/json"), *error.headers]
        return web.Response(status=error.status, body=gemini_error_body(error, str(id)), headers=headers)
    return _response(error, problem=is_api(request.path))


def speaks_messages(request: web.BaseRequest) -> bool:
    """It is asked in Anthropic's dialect: by its path, or of the models by the header that all its SDKs send."""
    if is_api(request.path) or speaks_gemini(request):
        return False
    return request.path.startswith("/v1/messages") or VERSION_HEADER in request.headers


def unrouted_response(error: Rendered, *, id: UUID, problem: bool) -> web.Response:
    """The answer to what never came to a route: `problem` says whether it was meant for /api."""
    response = _response(error, problem=problem)
    response.headers["x-request-id"] = str(id)
    response.headers["server"] = "tollgate"
    return response


def is_api(path: str) -> bool:
    """Errors under it are problems; everywhere else they are in OpenAI's dialect."""
    return path == "/api" or path.startswith("/api/")


def speaks_gemini(request: web.BaseRequest) -> bool:
    """It is asked in Gemini's dialect: by its path, or under the version that others have as well by where its SDKs put
    the key."""
    path = request.path
    if not path.startswith("/v1/"):
        return path == "/v1beta" or path.startswith("/v1beta/")
    return KEY_HEADER in request.headers or (path.startswith("/v1/models") and KEY_PARAMETER in request.query)


def _response(error: Rendered, *, problem: bool) -> web.Response:
    return web.Response(
        status=error.status,
        body=problem_body(error) if problem else error_body(error, ""),
        headers=[
            ("content-type", "application/problem+json" if problem else "application/json"),
            *error.headers,
        ],
    )


def from_http(error: web.HTTPException, request: web.BaseRequest) -> Rendered:
    code = _HTTP_CODE.get(error.status, "invalid_request")
    message = {
        404: f"Unknown request URL: {request.method} {request.path[:200]}.",
        405: f"Method {request.method} is not allowed on {request.path[:200]}.",
    }.get(error.status, error.reason)
    headers = (("allow", error.headers["allow"]),) if "allow" in error.headers else ()
    return Rendered(error.status, "invalid_request_error", code, message, None, headers)


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Gives every request its id, every error its dialect, and every answer its log line.

    The inference handlers do this for themselves: they are called straight from the server.
    """
    clock, observer = request.app[CLOCK], request.app[OBSERVER]
    began, id = clock.monotonic(), request.app[IDS].next()
    request[REQUEST_ID] = id
    error: Rendered | None = None
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
    except errors.TollgateError as failure:
        error = rendered(failure, insufficient_status=request.app[INSUFFICIENT_STATUS])
        error = said_of(error, changes=request.method not in _READING)
    except web.HTTPException as failure:
        error = from_http(failure, request)
    except ConnectionError:
        raise
    except Exception:
        log.exception("request.failed", request_id=str(id), method=request.method, path=request.path[:200])
        error = INTERNAL
    finally:
        if error is not None:
            response = error_response(request, error, id)
        resource = request.match_info.route.resource
        observer.request_ended(
            id=id,
            method=request.method,
            route=resource.canonical if resource is not None else "unknown",
            status=response.status if response is not None else 0,
            error=error.code if error is not None else "",
            began=began,
        )
    assert response is not None
    if not response.prepared:
        response.headers["x-request-id"] = str(id)
        response.headers["server"] = "tollgate"
    return response
