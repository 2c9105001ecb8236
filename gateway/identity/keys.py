"""API keys: made once, shown once, stored as a hash, replaced with an overlap, revoked for good."""

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.caller import KeyKind
from gateway.core.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF, Origin
from gateway.ops.ids import IdSource
from gateway.postgres.once import Connection, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("api_keys")
_KEY_BYTES: Final = 32
_PREFIX_CHARS: Final = 9
_LAST_CHARS: Final = 4
"""`tg-` and six characters, and the last four: enough to tell keys apart, 196 bits short of the key."""
OVERLAP_S: Final = 86_400
OVERLAP_S_MAX: Final = 30 * 86_400
"""How long a key goes on beside the one that replaced it: unless said otherwise, and at most."""
_BUDGETS_OF_A_KEY_MAX: Final = 4
"""One for each period."""

_SHAPE: Final = re.compile(r"tg-[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """`tg-` and 256 random bits in base64url."""
    return f"tg-{secrets.token_urlsafe(_KEY_BYTES)}"


def looks_like_key(token: str) -> bool:
    """It has the form of an organisation's key, be it one or not."""
    return _SHAPE.fullmatch(token) is not None


def hash_of(token: str) -> bytes | None:
    """What is stored and looked up; None for what cannot be one of our keys.

    Plain SHA-256: with 256 random bits there is nothing to guess, so neither a salt nor a slow hash adds anything, and
    every request would pay for the slow one. Looking up a hash leaks no timing that helps to find a key.
    """
    if not looks_like_key(token):
        return None
    return hashlib.sha256(token.encode("ascii")).digest()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it may be shown: never the key itself."""

    org_id: UUID
    key_id: UUID
    name: str
    kind: KeyKind
    prefix: str
    last_four: str | None
    """None for keys that were made before it was kept."""
    models: tuple[str, ...] | None
    ip_allow: tuple[str, ...] | None
    user_id: UUID | None
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: UUID | None
    """The key that rotation made of it."""
    version: int
    """Grows with every change."""
    created_at: datetime
    repeated: bool = False


class MadeKey(msgspec.Struct, frozen=True, kw_only=True):
    key: ApiKey
    token: str | None
    """Its text, which exists nowhere else; None where the same request had made it before."""


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be different; what is left out stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    models: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    ip_allow: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


class Keys:
    """`forget` drops a hash from this process's cache at once; others hear of it from the database, moments later.

    Every change takes an idempotency key. Repeated under it, it changes nothing and answers as the first time, but for
    a key's text, which is kept nowhere. Each raises IdempotencyMismatch where that key came with another request.

    `within` is the key that asks, where one does: what it makes or changes may no more than itself afterwards. That is:
    of a kind that it may make, expiring no later, used from its networks and for its models alone, with budgets of its
    own that are no larger. Else Forbidden, which names the field.
    """

    def __init__(self, pool: asyncpg.Pool, *, ids: IdSource, forget: Callable[[bytes], None]) -> None:
        self._pool = pool
        self._ids = ids
        self._forget = forget

    async def create(
        self,
        org_id: UUID,
        *,
        name: str,
        kind: KeyKind = KeyKind.INFERENCE,
        models: tuple[str, ...] | None = None,
        ip_allow: tuple[str, ...] | None = None,
        user_id: UUID | None = None,
        expires_at: datetime | None = None,
        by: Origin = ITSELF,
        idempotency: Idempotency | None = None,
    ) -> tuple[ApiKey, str]:
        """The stored key and its text. Raises NotFound for an unknown org or user."""
        made = await self.create_once(
            org_id,
            name=name,
            kind=kind,
            models=models,
            ip_allow=ip_allow,
            user_id=user_id,
            expires_at=expires_at,
            within=None,
            by=by,
            idempotency=None,
        )
        assert made.token is not None
        return made.key, made.token

    @unavailable_in_outage
    async def create_once(
        self,
        org_id: UUID,
        *,
        name: str,
        kind: KeyKind,
        models: tuple[str, ...] | None,
        ip_allow: tuple[str, ...] | None,
        user_id: UUID | None,
        expires_at: datetime | None,
        within: UUID | None,
        by: Origin,
        idempotency: Idempotency | None,
    ) -> MadeKey:
        """`ip_allow` are networks. The budgets of `within` are set for the new key, too.

        Raises NotFound for an unknown org or user, Conflict for one whose data was erased, or Forbidden.
        """
        token, shown = _new()
        facts = (name, kind, models, ip_allow, user_id, expires_at, within, self._budget_ids(), by.row())
        try:
            key = await self._change(
                org_id, None, idempotency, _SQL.create_api_key, org_id, self._ids.next(), *shown, *facts
            )
        except asyncpg.ForeignKeyViolationError as error:
            if error.constraint_name == "api_key_user_is_of_the_org":
                raise NotFound(f"Organisation {org_id} has no user {user_id}; no key was made.") from None
            raise NotFound(f"There is no organisation {org_id}.") from None
        return MadeKey(key=key, token=None if key.repeated else token)

    @unavailable_in_outage
    async def get(self, org_id: UUID, key_id: UUID) -> ApiKey:
        """Raises NotFound."""
        row = await self._pool.fetchrow(_SQL.find_api_key, org_id, key_id)
        if row is None:
            raise _no_key(org_id, key_id)
        return _api_key(row)

    @unavailable_in_outage
    async def page(self, org_id: UUID, *, limit: int, offset: int) -> tuple[list[ApiKey], int]:
        """Oldest first, revoked ones included, with the number of all. An unknown org has none."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch(_SQL.list_api_keys, org_id, limit, offset)
            total: int = await connection.fetchval(_SQL.count_api_keys, org_id)
        return [_api_key(row) for row in rows], total

    @unavailable_in_outage
    async def change(
        self,
        org_id: UUID,
        key_id: UUID,
        change: KeyChange,
        *,
        versions: frozenset[int] | None = None,
        within: UUID | None = None,
        by: Origin,
        idempotency: Idempotency | None = None,
    ) -> tuple[ApiKey, bool]:
        """With whether it was so already by the same request. `versions`: only a key that has one of these is changed.

        Raises NotFound, PreconditionFailed, Forbidden, or Conflict where the key is revoked.
        """
        only = None if versions is None else sorted(versions)
        facts = (msgspec.json.encode(change).decode(), only, within, by.row())
        key = await self._change(org_id, key_id, idempotency, _SQL.change_api_key, org_id, key_id, *facts)
        return key, key.repeated

    @unavailable_in_outage
    async def rotate(
        self,
        org_id: UUID,
        key_id: UUID,
        *,
        overlap: timedelta,
        expires_at: datetime | None = None,
        within: UUID | None = None,
        by: Origin,
        idempotency: Idempotency | None = None,
    ) -> MadeKey:
        """A new key with all that the old one may, which expires `overlap` later. Budgets begin anew with the new key.

        Without `expires_at` the new key expires when the old one was to. Raises NotFound, Forbidden, or Conflict where
        the old one is revoked, expired or replaced already.
        """
        token, shown = _new()
        facts = (self._ids.next(), *shown, overlap, expires_at, within, self._budget_ids(), by.row())
        key = await self._change(org_id, key_id, idempotency, _SQL.rotate_api_key, org_id, key_id, *facts)
        return MadeKey(key=key, token=None if key.repeated else token)

    async def revoke(self, org_id: UUID, key_id: UUID, *, by: Origin = ITSELF) -> ApiKey:
        """For good; again changes nothing. Streams that already run end as they would. Raises NotFound."""
        key, _ = await self.revoke_once(org_id, key_id, by=by, idempotency=None)
        return key

    @unavailable_in_outage
    async def revoke_once(
        self, org_id: UUID, key_id: UUID, *, by: Origin, idempotency: Idempotency | None
    ) -> tuple[ApiKey, bool]:
        """With whether the same request had revoked it before. Raises NotFound."""
        key = await self._change(org_id, key_id, idempotency, _SQL.revoke_api_key, org_id, key_id, by.row())
        return key, key.repeated

    def _budget_ids(self) -> list[UUID]:
        return [self._ids.next() for _ in range(_BUDGETS_OF_A_KEY_MAX)]

    async def _change(
        self,
        org_id: UUID,
        key_id: UUID | None,
        idempotency: Idempotency | None,
        statement: str,
        *arguments: object,
    ) -> ApiKey:
        """Raises what the statement's status stands for."""
        changed: list[bytes] = []

        async def change(connection: Connection) -> ApiKey:
            row = await connection.fetchrow(statement, *arguments)
            assert row is not None
            _refuse_unless_made(row, org_id, key_id)
            if hash := row.get("hash"):
                changed.append(hash)
            return msgspec.json.decode(row["answer"], type=ApiKey)

        key = await once(self._pool, org_id, idempotency, change, answer=ApiKey)
        for hash in changed:
            self._forget(hash)
        return key


def _refuse_unless_made(row: asyncpg.Record, org_id: UUID, key_id: UUID | None) -> None:
    match row["status"]:
        case "ok":
            return
        case "missing":
            raise _no_key(org_id, key_id)
        case "changed":
            raise PreconditionFailed(
                f'The key was changed in between and has the ETag "{row["answer"]}" now; nothing was changed.'
            )
        case "replaced":
            raise Conflict(f"The key was replaced before, by {row['answer']}; nothing was changed.")
        case "erased":
            raise Conflict("The user's data was erased: nobody gets a key as them; no key was made.")
        case "wider":
            field = msgspec.json.decode(row["answer"], type=str)
            raise Forbidden(
                f"A key makes and changes only keys that may no more than itself, and `{field}` would be wider; "
                "nothing was changed.",
                param=field,
            )
        case status:
            raise Conflict(f"The key is {status}; nothing was changed.")


def _new() -> tuple[str, tuple[bytes, str, str]]:
    """A key's text, and what is kept of it: hash, first and last characters."""
    token = new_token()
    hash = hash_of(token)
    assert hash is not None
    return token, (hash, token[:_PREFIX_CHARS], token[-_LAST_CHARS:])


def _no_key(org_id: UUID, key_id: UUID | None) -> NotFound:
    return NotFound(f"Organisation {org_id} has no key {key_id}.")


def _api_key(row: asyncpg.Record) -> ApiKey:
    return msgspec.convert(dict(row.items()), ApiKey)
