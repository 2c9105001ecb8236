"""Organisations: who pays. Made and suspended by the operator; their books are the ledger's."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal, Protocol
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Conflict, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF, Origin
from gateway.ops.ids import IdSource
from gateway.postgres.once import Connection, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("orgs")
_NAMESAKES_SHOWN_MAX: Final = 5


class OrgStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Org(msgspec.Struct, frozen=True, kw_only=True):
    org_id: UUID
    name: str
    status: OrgStatus
    created_at: datetime
    repeated: bool = False

    @property
    def account_id(self) -> UUID:
        """The org's pool account bears the org's own id, so that nothing need be looked up to find it."""
        return self.org_id


NO_ORG: Final = UUID(int=0)
"""Where the keys of changes are kept that belong to no organisation: the operator's alone."""


class Books(Protocol):
    """The ledger's side of an org, in the same transaction. Brought in from above: rooms of one floor are strangers."""

    async def open_account(self, connection: Connection, org_id: UUID, account_id: UUID, /) -> None: ...

    async def set_status(
        self, connection: Connection, org_id: UUID, status: Literal["active", "suspended"], /
    ) -> None: ...


class Orgs:
    """Names need not be unique; ids are. Suspending and resuming may be repeated without harm."""

    def __init__(self, pool: asyncpg.Pool, *, ids: IdSource, books: Books) -> None:
        self._pool = pool
        self._ids = ids
        self._books = books

    @unavailable_in_outage
    async def create(self, name: str, *, by: Origin = ITSELF, idempotency: Idempotency | None = None) -> Org:
        """The org and its pool account, or neither."""

        async def change(connection: Connection) -> Org:
            row = await connection.fetchrow(_SQL.insert_org, self._ids.next(), name, by.row())
            assert row is not None
            org = _org(row)
            await self._books.open_account(connection, org.org_id, org.account_id)
            return org

        return await once(self._pool, NO_ORG, idempotency, change, answer=Org)

    @unavailable_in_outage
    async def get(self, org_id: UUID) -> Org:
        """Raises NotFound."""
        row = await self._pool.fetchrow(_SQL.find_org, org_id)
        if row is None:
            raise _no_org(org_id)
        return _org(row)

    @unavailable_in_outage
    async def named(self, id_or_name: str) -> Org:
        """By id, or by name where only one org bears it. Raises NotFound or Conflict."""
        try:
            return await self.get(UUID(id_or_name))
        except ValueError:
            pass
        rows = await self._pool.fetch(_SQL.find_orgs_named, id_or_name, _NAMESAKES_SHOWN_MAX)
        if not rows:
            raise NotFound(f"No organisation is called {id_or_name!r}.")
        if len(rows) > 1:
            ids = ", ".join(str(row["org_id"]) for row in rows)
            raise Conflict(f"Several organisations are called {id_or_name!r}; say which by its id: {ids}.")
        return _org(rows[0])

    @unavailable_in_outage
    async def page(self, *, limit: int, offset: int) -> tuple[list[Org], int]:
        """Oldest first, with the number of all."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            rows = await connection.fetch(_SQL.list_orgs, limit, offset)
            total: int = await connection.fetchval(_SQL.count_orgs)
        return [_org(row) for row in rows], total

    async def suspend(self, org_id: UUID, *, by: Origin = ITSELF, idempotency: Idempotency | None = None) -> Org:
        """From the commit on its accounts admit no call; calls already open end as they would. Raises NotFound."""
        return await self._turn(org_id, OrgStatus.SUSPENDED, by, idempotency)

    async def resume(self, org_id: UUID, *, by: Origin = ITSELF, idempotency: Idempotency | None = None) -> Org:
        """Raises NotFound."""
        return await self._turn(org_id, OrgStatus.ACTIVE, by, idempotency)

    @unavailable_in_outage
    async def _turn(self, org_id: UUID, status: OrgStatus, by: Origin, idempotency: Idempotency | None) -> Org:
        async def change(connection: Connection) -> Org:
            row = await connection.fetchrow(_SQL.set_org_status, org_id, status, by.row())
            if row is None:
                raise _no_org(org_id)
            await self._books.set_status(connection, org_id, status.value)
            return _org(row)

        return await once(self._pool, org_id, idempotency, change, answer=Org)


def _org(row: asyncpg.Record) -> Org:
    return Org(org_id=row["org_id"], name=row["name"], status=OrgStatus(row["status"]), created_at=row["created_at"])


def _no_org(org_id: UUID) -> NotFound:
    return NotFound(f"There is no organisation {org_id}.")
