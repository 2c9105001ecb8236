"""Who asks: an organisation's key on /v1, the operator's on /api. From the headers alone, before a body is read."""

from collections.abc import Awaitable, Callable
from functools import wraps

from aiohttp import hdrs, web

from gateway.core.caller import Caller
from gateway.core.errors import Unauthenticated
from gateway.edge.connection import Connection, Request
from gateway.edge.rooms import KEY_RING, OPERATOR_KEY

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def authenticate(request: web.Request) -> Caller:
    """The caller that the bearer token proves. Raises Unauthenticated, OrgSuspended or LedgerUnavailable."""
    caller = await request.app[KEY_RING].caller(bearer_token(request, whose="API"))
    _mark_authenticated(request)
    return caller


def operators_only(handler: Handler) -> Handler:
    """Runs `handler` only for the operator's key; else Unauthenticated, and the body is never read."""

    @wraps(handler)
    async def guarded(request: web.Request) -> web.StreamResponse:
        key = request.app[OPERATOR_KEY]
        key.admit(bearer_token(request, whose=key.whose))
        _mark_authenticated(request)
        return await handler(request)

    return guarded


def _mark_authenticated(request: web.Request) -> None:
    """The connection no longer counts against its address."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.authenticated()


def bearer_token(request: Request, *, whose: str) -> str:
    """RFC 6750, section 2.1. Two headers are refused rather than one of them believed. Raises Unauthenticated."""
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(headers) > 1:
        raise Unauthenticated("Several Authorization headers were sent; send one.")
    scheme, _, token = headers[0].partition(" ") if headers else ("", "", "")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(f"No {whose} key provided; send it in the header `Authorization: Bearer <key>`.")
    return token
