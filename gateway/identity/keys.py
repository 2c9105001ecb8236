"""API keys: made once, shown once, stored as a hash, revoked for good."""

import hashlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF, Origin
from gateway.ops.ids import IdSource
from gateway.postgres.once import Connection, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("api_keys")
_KEY_BYTES: Final = 32
_PREFIX_CHARS: Final = 9
"""`tg-` and six characters: enough to tell keys apart, 220 bits short of the key."""

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
    prefix: str
    models: tuple[str, ...] | None
    user_id: UUID | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    repeated: bool = False


class Keys:
    """`forget` drops a hash from this process's cache at once; others hear of it from the database, moments later."""

    def __init__(self, pool: asyncpg.Pool, *, ids: IdSource, forget: Callable[[bytes], None]) -> None:
        self._pool = pool
        self._ids = ids
        self._forget = forget

    @unavailable_in_outage
    async def create(
        self,
        org_id: UUID,
        *,
        name: str,
        models: tuple[str, ...] | None = None,
        user_id: UUID | None = None,
        expires_at: datetime | None = None,
        by: Origin = ITSELF,
        idempotency: Idempotency | None = None,
    ) -> tuple[ApiKey, str]:
        """The stored key and its text, which exists nowhere else: a repetition brings the key and an empty text.

        Raises NotFound for an unknown org or user.
        """
        token = new_token()
        hash = hash_of(token)
        assert hash is not None

        async def change(connection: Connection) -> ApiKey:
            row = await connection.fetchrow(
                _SQL.insert_api_key,
                org_id,
                self._ids.next(),
                name,
                hash,
                token[:_PREFIX_CHARS],
                models,
                user_id,
                expires_at,
                by.row(),
            )
            assert row is not None
            return _api_key(row)

        try:
            key = await once(self._pool, org_id, idempotency, change, answer=ApiKey)
        except asyncpg.ForeignKeyViolationError as error:
            if error.constraint_name == "api_key_user_is_of_the_org":
                raise NotFound(f"Organisation {org_id} has no user {user_id}; no key was made.") from None
            raise NotFound(f"There is no organisation {org_id}.") from None
        return key, "" if key.repeated else token

    @unavailable_in_outage
    async def page(self, org_id: UUID, *, limit: int, offset: int) -> tuple[list[ApiKey], int]:
        """Oldest first, revoked ones included, with the number of all. An unknown org has none."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch(_SQL.list_api_keys, org_id, limit, offset)
            total: int = await connection.fetchval(_SQL.count_api_keys, org_id)
        return [_api_key(row) for row in rows], total

    @unavailable_in_outage
    async def revoke(
        self, org_id: UUID, key_id: UUID, *, by: Origin = ITSELF, idempotency: Idempotency | None = None
    ) -> ApiKey:
        """For good; again changes nothing. Streams that already run end as they would. Raises NotFound."""
        hashes: list[bytes] = []

        async def change(connection: Connection) -> ApiKey:
            row = await connection.fetchrow(_SQL.revoke_api_key, org_id, key_id, by.row())
            if row is None:
                raise NotFound(f"Organisation {org_id} has no key {key_id}.")
            hashes.append(row["hash"])
            return _api_key(row)

        key = await once(self._pool, org_id, idempotency, change, answer=ApiKey)
        for hash in hashes:
            self._forget(hash)
        return key


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        org_id=row["org_id"],
        key_id=row["key_id"],
        name=row["name"],
        prefix=row["prefix"],
        models=None if row["models"] is None else tuple(row["models"]),
        user_id=row["user_id"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        created_at=row["created_at"],
    )
