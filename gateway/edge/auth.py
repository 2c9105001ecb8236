"""Who asks: from the headers alone, before a body is read. On /v1 a caller, on /api a principal."""

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from gateway.core.access import Principal, Role
from gateway.core.caller import Caller, KeyKind
from gateway.core.errors import Unauthenticated
from gateway.edge.api.house import House
from gateway.edge.connection import Connection, Request
from gateway.edge.door import DOOR, Door
from gateway.edge.rooms import KEY_RING
from gateway.identity.key_ring import KeyRing
from gateway.identity.keys import hash_of, looks_like_key
from gateway.identity.tokens import looks_like_token

_ROLES: Final = {
    KeyKind.INFERENCE: frozenset({Role.APPLICATION}),
    KeyKind.MANAGEMENT: frozenset({Role.MANAGER}),
    KeyKind.SANDBOX: frozenset({Role.SANDBOX}),
}


QUERY_FIELDS_MAX: Final = 64


async def authenticate(request: web.Request, *, key_header: str = "x-api-key", key_parameter: str = "") -> Caller:
    """The caller that the key proves, in whichever dialect's header it comes.

    Raises Unauthenticated, TooManyFailures, Forbidden, OrgSuspended, UserSuspended or LedgerUnavailable.
    """
    door = request.app[DOOR]
    try:
        token = caller_key(request, key_header=key_header, key_parameter=key_parameter)
        caller = await caller_of(hash_of(token), request, request.app[KEY_RING], door)
    except Unauthenticated as error:
        raise door.refusal(request, error) from None
    door.admit(caller, request)
    _mark_authenticated(request)
    return caller


async def caller_of(hash: bytes | None, request: Request, key_ring: KeyRing, door: Door) -> Caller:
    """By the hash of a key. Raises as the key ring does, or TooManyFailures: a key that was not seen here before is not
    looked up for an address above its limit of failures."""
    if key_ring.is_new(hash):
        door.let_look_up(request)
    return await key_ring.caller_of(hash)


async def principal_of(request: web.Request, house: House) -> Principal:
    """Who asks on /api: the operator by their key, a person by a token, an organisation's program by its API key.

    Which of them a credential is, its form says. Raises as `authenticate` does; for tokens also TokensUncheckable.
    """
    try:
        principal = await _principal(request, house)
    except Unauthenticated as error:
        raise house.door.refusal(request, error) from None
    _mark_authenticated(request)
    return principal


async def _principal(request: web.Request, house: House) -> Principal:
    token = bearer_token(request, whose="operator or API")
    if looks_like_key(token):
        caller = await caller_of(hash_of(token), request, house.key_ring, house.door)
        house.door.admit(caller, request)
        return Principal(
            actor=f"key:{caller.key_id}",
            roles=_ROLES[caller.kind],
            org_id=caller.org_id,
            user_id=caller.user_id,
            key_id=caller.key_id,
            models=caller.models,
        )
    if house.tokens is not None and looks_like_token(token) and not house.operator_key.is_it(token):
        return await house.tokens.principal(token, before_look_up=lambda: house.door.let_look_up(request))
    house.operator_key.admit(token)
    return Principal(actor="operator", roles=frozenset({Role.OPERATOR}))


def _mark_authenticated(request: web.Request) -> None:
    """The connection no longer counts against its address."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.authenticated()


def caller_key(request: Request, *, key_header: str, key_parameter: str = "") -> str:
    """The key of a caller of an inference API: a bearer token, or what `key_header` or the address's `key_parameter`
    holds where its dialect has such a one.

    Two different ones are refused rather than one of them believed. Raises Unauthenticated.
    """
    keys = request.headers.getall(key_header, []) if key_header else []
    if key_parameter and "?" in request.raw_path:
        keys = [*keys, *_in_query(request, key_parameter)]
    if not keys:
        return bearer_token(request, whose="API", or_in=key_header)
    if hdrs.AUTHORIZATION in request.headers:
        keys = [*keys, bearer_token(request, whose="API")]
    key = keys[0].strip(" ")
    if any(other.strip(" ") != key for other in keys):
        places = [key_header, "Authorization", *([f"?{key_parameter}="] if key_parameter else [])]
        raise Unauthenticated(f"Different API keys were sent in {_listed(places)}; send one.")
    if not key:
        raise Unauthenticated(f"No API key provided: the header `{key_header}` is empty.")
    return key


def _in_query(request: Request, name: str) -> list[str]:
    try:
        fields = parse_qsl(request.raw_path.partition("?")[2], keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise Unauthenticated(f"The query has more than {QUERY_FIELDS_MAX} parameters.") from None
    return [value for field, value in fields if field == name]


def _listed(places: list[str]) -> str:
    *most, last = [f"`{place}`" for place in places]
    return f"{', '.join(most)} and {last}"


def bearer_token(request: Request, *, whose: str, or_in: str = "") -> str:
    """RFC 6750, section 2.1. Two headers are refused rather than one of them believed. Raises Unauthenticated, which
    names `or_in` too, another header that a key may stand in."""
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(headers) > 1:
        raise Unauthenticated("Several Authorization headers were sent; send one.")
    scheme, _, token = headers[0].partition(" ") if headers else ("", "", "")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token:
        other = f"`{or_in}: <key>` or " if or_in else ""
        raise Unauthenticated(f"No {whose} key provided; send it in the header {other}`Authorization: Bearer <key>`.")
    return token
