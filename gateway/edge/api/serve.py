"""From a request to an endpoint's handler and back: who asks, may they, what do they ask, what are they told.

In that order: nothing of a request but its head is read before it is known that it may be made.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web

from gateway.core.access import Principal
from gateway.core.errors import TollgateError
from gateway.edge.answers import json_answer
from gateway.edge.api.ask import ANY_TAG, Ask
from gateway.edge.api.endpoint import Endpoint, path_value
from gateway.edge.api.house import House
from gateway.edge.auth import principal_of
from gateway.edge.bodies import answer_expect_later
from gateway.edge.requests import invalid, read_body, read_query
from gateway.edge.rooms import REQUEST_ID

log = structlog.get_logger()

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_REASON_CHARS_MAX: Final = 1_000
_TAGS_MAX: Final = 16
_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


class Piecewise(msgspec.Struct, frozen=True):
    """An answer that is sent as it is made, such as an export."""

    pieces: AsyncIterator[bytes]
    filename: str


def add_endpoints(app: web.Application, endpoints: tuple[Endpoint, ...], house: House) -> None:
    """Raises ValueError where two stand at one place."""
    seen: set[tuple[str, str]] = set()
    for endpoint in endpoints:
        place = endpoint.method, endpoint.path
        if place in seen:
            raise ValueError(f"two endpoints at {place}")
        seen.add(place)
        app.router.add_route(
            endpoint.method,
            endpoint.path,
            _handler(endpoint, house),
            expect_handler=answer_expect_later if endpoint.body is not None else None,
        )


def _handler(endpoint: Endpoint, house: House) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        principal = await principal_of(request, house)
        with house.pace.of(principal):
            return await answer(request, principal)

    async def answer(request: web.Request, principal: Principal) -> web.StreamResponse:
        ask = _ask(endpoint, house, request, principal)
        given: dict[str, Any] = {
            name: path_value(request.match_info[name], name, type) for name, type in endpoint.path_types.items()
        }
        if endpoint.query is not None:
            given["query"] = read_query(request, endpoint.query)
        elif request.query:
            raise invalid(next(iter(request.query)), "is not known here")
        if endpoint.body is not None:
            given["body"] = await read_body(request, endpoint.body, bytes_max=endpoint.body_bytes_max)
        return await _answered(request, endpoint, ask, await endpoint.handler(ask, **given))

    return handle


def _ask(endpoint: Endpoint, house: House, request: web.Request, principal: Principal) -> Ask:
    principal.require(endpoint.needs)
    return Ask(
        house=house,
        principal=principal,
        request_id=request[REQUEST_ID],
        address=house.door.address(request),
        method=endpoint.method,
        path=endpoint.path,
        idempotency_key=_idempotency_key(request) if endpoint.changes else None,
        if_match=_if_match(request, endpoint),
        reason=_reason(request),
        headers={},
    )


def _idempotency_key(request: web.Request) -> str | None:
    keys = request.headers.getall("idempotency-key", [])
    if not keys:
        return None
    if len(keys) > 1 or _IDEMPOTENCY_KEY.fullmatch(keys[0]) is None:
        raise invalid("Idempotency-Key", "must be sent once, with 1 to 255 printable characters")
    return keys[0]


def _if_match(request: web.Request, endpoint: Endpoint) -> frozenset[str] | None:
    """Raises InvalidRequest for what is no list of tags: an empty one, too, since who means to bind a change and has no
    tag to bind it to does not mean to make it in any case. For the same reason where it would not be heeded."""
    headers = request.headers.getall("if-match", None)
    if headers is None:
        return None
    if not endpoint.versioned:
        raise invalid("If-Match", "is not heeded here, and so not taken: leave it out")
    tags = frozenset(tag.strip(" \t") for tag in ",".join(headers).split(","))
    if len(tags) > _TAGS_MAX or not all(tag == ANY_TAG or _TAG.fullmatch(tag) for tag in tags):
        raise invalid("If-Match", f"must be `*`, or at most {_TAGS_MAX} tags as they came in `ETag`")
    return tags


def _reason(request: web.Request) -> str:
    reason = request.headers.get("x-tollgate-reason", "")
    if len(reason) > _REASON_CHARS_MAX or not reason.isprintable():
        raise invalid("x-tollgate-reason", f"must be printable, with at most {_REASON_CHARS_MAX} characters")
    return reason


async def _answered(request: web.Request, endpoint: Endpoint, ask: Ask, answer: Any) -> web.StreamResponse:
    if isinstance(answer, Piecewise):
        return await _sent_piecewise(request, endpoint, ask, answer)
    if endpoint.answer is None:
        return web.Response(status=endpoint.status, headers=ask.headers)
    if endpoint.content_type != "application/json":
        return web.Response(
            body=answer, status=endpoint.status, headers=ask.headers | {"content-type": endpoint.content_type}
        )
    return json_answer(answer, status=endpoint.status, headers=ask.headers)


async def _sent_piecewise(request: web.Request, endpoint: Endpoint, ask: Ask, answer: Piecewise) -> web.StreamResponse:
    response = web.StreamResponse(
        status=endpoint.status,
        headers=ask.headers
        | {
            "content-type": endpoint.content_type,
            "content-disposition": f'attachment; filename="{answer.filename}"',
            "x-request-id": str(ask.request_id),
            "server": "tollgate",
        },
    )
    await response.prepare(request)
    try:
        async for piece in answer.pieces:
            await response.write(piece)
    except ConnectionError:
        raise
    except Exception as error:
        expected = isinstance(error, TollgateError)
        log.warning("answer.broken_off", request_id=str(ask.request_id), error=repr(error), exc_info=not expected)
        # The head is out: that something is missing can only be said by closing the connection without an end.
        raise ConnectionResetError("broken off") from error
    await response.write_eof()
    return response
