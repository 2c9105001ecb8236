"""Who asks: from the headers alone, before a body is read. On /v1 a caller, on /api a principal."""

from aiohttp import hdrs, web

from gateway.core.access import Principal, Role
from gateway.core.caller import Caller
from gateway.core.errors import Unauthenticated
from gateway.edge.api.house import House
from gateway.edge.connection import Connection, Request
from gateway.edge.rooms import KEY_RING
from gateway.identity.keys import looks_like_key


async def authenticate(request: web.Request) -> Caller:
    """The caller that the bearer token proves. Raises Unauthenticated, OrgSuspended or LedgerUnavailable."""
    caller = await request.app[KEY_RING].caller(bearer_token(request, whose="API"))
    _mark_authenticated(request)
    return caller


async def principal_of(request: web.Request, house: House) -> Principal:
    """Who asks on /api: the operator by their key, an organisation's program by its API key.

    Raises Unauthenticated, OrgSuspended, UserSuspended or LedgerUnavailable.
    """
    token = bearer_token(request, whose="operator or API")
    if looks_like_key(token):
        caller = await house.key_ring.caller(token)
        principal = Principal(
            actor=f"key:{caller.key_id}",
            roles=frozenset({Role.APPLICATION}),
            org_id=caller.org_id,
            user_id=caller.user_id,
            key_id=caller.key_id,
        )
    else:
        house.operator_key.admit(token)
        principal = Principal(actor="operator", roles=frozenset({Role.OPERATOR}))
    _mark_authenticated(request)
    return principal


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
