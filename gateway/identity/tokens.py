"""People's tokens: a JSON Web Token → who asks, in which organisation, with which roles.

What may sign them is fixed by the configuration and never taken from a token: the algorithm that a token names must be
among those configured, and its key one of that algorithm's type (RFC 8725, sections 3.1 and 3.2).
"""

import binascii
import re
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from gateway.core.access import Principal, Role
from gateway.core.errors import Forbidden, InvalidToken, OrgSuspended, UserSuspended
from gateway.identity.users import ERASED
from gateway.identity.verification_keys import KeySetSettings, VerificationKeys
from gateway.ops.clock import Clock
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("tokens")

Algorithm = Literal["HS256", "RS256", "ES256"]
PersonRole = Literal["member", "viewer", "billing", "org_admin", "operator"]
SECRET_BYTES_MIN: Final = 32
"""RFC 7518, section 3.2."""
ROLES_MAX: Final = 200
SUBJECT_CHARS_MAX: Final = 200
SEEN_MAX: Final = 10_000

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SUBJECT: Final = re.compile(rf"[^\x00-\x1f\x7f]{{1,{SUBJECT_CHARS_MAX}}}")
_TYPES: Final = frozenset({"jwt", "at+jwt"})
_OWN_ROLES: Final[Mapping[str, PersonRole]] = {
    "member": "member",
    "viewer": "viewer",
    "billing": "billing",
    "org_admin": "org_admin",
}
"""What a claim's words mean where the configuration does not say: themselves. Nobody is the operator by such a word."""


class TokenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Whose tokens are taken, and what their claims mean."""

    algorithms: tuple[Algorithm, ...] = ()
    """Empty: no tokens. HS256 stands alone: its secret must never be a public key."""
    issuer: str = ""
    audience: str = ""
    jwks: str = ""
    """The issuer's keys: an https address, or a file."""
    jwks_timeout_s: float = 5.0
    jwks_fresh_s: float = 600.0
    jwks_retry_s: float = 30.0
    jwks_stale_max_s: float = 86_400.0
    """For the last three see KeySetSettings."""
    skew_s: int = 30
    """How far the issuer's clock may be off ours."""
    token_lifetime_max_s: int = 86_400
    """Above it a token is refused: from `iat` to `exp`, or where it has no `iat`, what is left of it."""
    token_bytes_max: int = 8192
    org_claim: str = "org"
    user_claim: str = "sub"
    roles_claim: str = "roles"
    """A claim's name, or a path into one: `/realm_access/roles`."""
    users: Literal["known", "claimed"] = "known"
    """Whether a person must be a user here, or the claims alone suffice."""
    roles: dict[str, PersonRole] = {}
    """The claim's words and what they mean here; empty: our own four words mean themselves."""
    secret: str = ""
    """From TOLLGATE_JWT_SECRET, for HS256."""

    @property
    def key_set(self) -> KeySetSettings:
        return KeySetSettings(fresh_s=self.jwks_fresh_s, retry_s=self.jwks_retry_s, stale_max_s=self.jwks_stale_max_s)

    def __repr__(self) -> str:
        return f"TokenSettings(algorithms={self.algorithms}, issuer={self.issuer!r}, audience={self.audience!r})"


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: msgspec.Raw | None = None


def looks_like_token(text: str) -> bool:
    """It has the form of a JSON Web Token, be it one or not."""
    return _SHAPE.fullmatch(text) is not None


class Tokens:
    """A token is proven before the database hears of it. Then its organisation and user are asked for each time, so
    that a suspension counts from its commit on.
    """

    def __init__(self, pool: asyncpg.Pool, *, clock: Clock, keys: VerificationKeys, settings: TokenSettings) -> None:
        assert settings.algorithms
        self._pool = pool
        self._clock = clock
        self._keys = keys
        self._settings = settings
        self._seen: OrderedDict[tuple[UUID, str], None] = OrderedDict()
        """Whom the database knew when it was asked last: organisation and subject."""
        self._registry = JWSRegistry(algorithms=list(settings.algorithms), strict_check_header=False)
        self._registry.max_payload_length = settings.token_bytes_max
        self._registry.max_header_length = settings.token_bytes_max

    async def principal(self, token: str, *, before_look_up: Callable[[], None] = lambda: None) -> Principal:
        """`before_look_up` is called where the database must be asked about whom it has not vouched for lately; what it
        raises is raised.

        Raises InvalidToken; Forbidden, OrgSuspended or UserSuspended for whom it proves and may not come in;
        TokensUncheckable or LedgerUnavailable where that cannot be found out."""
        claims = await self._proven(token)
        subject = _subject(claims, self._settings.user_claim)
        words = _words(_claim(claims, self._settings.roles_claim))
        roles = None if words is None else self._roles(words)
        if roles is not None and Role.OPERATOR in roles:
            return Principal(actor=f"operator:{subject}", roles=frozenset({Role.OPERATOR}))
        org_id = _org_id(claims, self._settings.org_claim)
        if (org_id, subject) not in self._seen:
            before_look_up()
        return await self._person(org_id, subject, roles)

    async def _proven(self, token: str) -> dict[str, Any]:
        """The claims, once signature, issuer, audience and times are found good."""
        settings = self._settings
        if len(token) > settings.token_bytes_max:
            raise InvalidToken(f"The token is longer than {settings.token_bytes_max} bytes.")
        header = _header(token)
        if header.alg not in settings.algorithms:
            raise InvalidToken(f"Tokens must be signed with {' or '.join(settings.algorithms)}.")
        if header.crit is not None or (header.typ or "jwt").lower().removeprefix("application/") not in _TYPES:
            raise InvalidToken("The token is of a type that is not taken here.")
        key = await self._keys.find(header.alg, header.kid)
        now = int(self._clock.now().timestamp())
        try:
            claims = jwt.decode(token, key, algorithms=[header.alg], registry=self._registry).claims
            JWTClaimsRegistry(
                now=now,
                leeway=settings.skew_s,
                iss={"essential": True, "value": settings.issuer},
                aud={"essential": True, "value": settings.audience},
                exp={"essential": True},
            ).validate(claims)
            self._check_lifetime(claims, now)
        except ExpiredTokenError:
            raise InvalidToken("The token has expired.") from None
        except JoseError as error:
            raise InvalidToken(f"The token is not valid: {error.description or error.error}"[:300]) from None
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise InvalidToken("The token is not valid.") from None
        return claims

    def _check_lifetime(self, claims: Mapping[str, Any], now: int) -> None:
        """A token cannot be taken back, so it must end soon. Raises InvalidToken."""
        most_s, issued = self._settings.token_lifetime_max_s, claims.get("iat")
        # Where the issuer does not say when it began, our clock does, and theirs may be ahead of it.
        life_s = claims["exp"] - issued if issued is not None else claims["exp"] - now - self._settings.skew_s
        if not life_s <= most_s:  # nor where it is no number that can be compared
            raise InvalidToken(f"The token lives too long: at most {most_s} seconds may lie between its iat and exp.")

    def _roles(self, words: list[str]) -> frozenset[Role]:
        meanings = self._settings.roles or _OWN_ROLES
        return frozenset(Role(meanings[word]) for word in words if word in meanings)

    @unavailable_in_outage
    async def _person(self, org_id: UUID, subject: str, roles: frozenset[Role] | None) -> Principal:
        row = await self._pool.fetchrow(_SQL.find_person, org_id, subject, _uuid(subject))
        self._seen.pop((org_id, subject), None)
        if row is None:
            raise InvalidToken("The token names no organisation that is known here.")
        user_id: UUID | None = row["user_id"]
        if row["user_erased"] or subject.startswith(ERASED):
            raise InvalidToken("The token names a user whose data was erased.")
        if user_id is None and self._settings.users == "known":
            raise InvalidToken("The token names nobody who is a user of its organisation.")
        self._seen[org_id, subject] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        if row["org_status"] != "active":
            raise OrgSuspended(f"The organisation {row['org_name']} is suspended; nothing was done.")
        if user_id is not None and row["user_status"] != "active":
            raise UserSuspended(f"The user {row['user_name']} is suspended; nothing was done.")
        if roles is None and row["role"] is not None:
            roles = frozenset({Role(row["role"])})
        if not roles:
            raise Forbidden("The token gives no role that is known here; nothing was done.")
        return Principal(
            actor=f"user:{user_id or subject}",
            roles=roles,
            org_id=org_id,
            user_id=user_id,
        )


def _header(token: str) -> _Header:
    """Read before anything is verified: it says with which key. Raises InvalidToken."""
    encoded = token.partition(".")[0]
    try:
        return msgspec.json.decode(urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), type=_Header)
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError):
        raise InvalidToken("The token is malformed.") from None


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """By its name, or by a path of names where that begins with `/`; None where there is none."""
    found: Any = claims
    for part in name[1:].split("/") if name.startswith("/") else (name,):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _subject(claims: Mapping[str, Any], name: str) -> str:
    subject = _claim(claims, name)
    if not isinstance(subject, str) or _SUBJECT.fullmatch(subject) is None:
        raise InvalidToken(f"The claim {name} must be a line of 1 to {SUBJECT_CHARS_MAX} characters.")
    return subject


def _org_id(claims: Mapping[str, Any], name: str) -> UUID:
    org_id = _uuid(_claim(claims, name))
    if org_id is None:
        raise InvalidToken(f"The claim {name} must be an organisation's id.")
    return org_id


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _words(claim: Any) -> list[str] | None:
    """A list of words, or one text with spaces between them; None where there is no such claim."""
    if claim is None:
        return None
    words = claim.split() if isinstance(claim, str) else claim
    if not isinstance(words, list) or len(words) > ROLES_MAX or not all(isinstance(word, str) for word in words):
        raise InvalidToken(f"The claim of roles must be at most {ROLES_MAX} words.")
    return words
