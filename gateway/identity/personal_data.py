"""What is stored of a person: handed out, and erased. Ledger rows stay, under an id that nothing ties to anyone."""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.caller import KeyKind
from gateway.core.errors import NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.roles import Role
from gateway.identity.users import UserStatus
from gateway.postgres.once import Connection, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("personal_data")
KEYS_MAX: Final = 1_000
KEY_BUDGETS_MAX: Final = 1_000


class Person(msgspec.Struct, frozen=True, kw_only=True):
    user_id: UUID
    external_id: str
    name: str
    email: str | None
    role: Role
    status: UserStatus
    created_at: datetime
    erased_at: datetime | None
    repeated: bool = False


class PersonsKey(msgspec.Struct, frozen=True, kw_only=True):
    key_id: UUID
    name: str
    kind: KeyKind
    prefix: str
    last_four: str | None
    models: list[str] | None
    ip_allow: list[str] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class PersonsBudget(msgspec.Struct, frozen=True, kw_only=True):
    """A limit on what they may use: one a period at most."""

    budget_id: UUID
    period: str
    max_ucr: int | None
    open_max: int | None
    created_at: datetime


class PersonalData(msgspec.Struct, frozen=True, kw_only=True):
    person: Person
    keys: list[PersonsKey]
    budgets: list[PersonsBudget]
    key_budget_ids: list[UUID]
    """Limits of their keys: at most KEY_BUDGETS_MAX."""


class People:
    """`forget_org` drops the organisation's keys from this process's cache; others hear of it from the database."""

    def __init__(self, pool: asyncpg.Pool, *, forget_org: Callable[[UUID], None]) -> None:
        self._pool = pool
        self._forget_org = forget_org

    @unavailable_in_outage
    async def data_of(self, org_id: UUID, user_id: UUID) -> PersonalData:
        """With at most KEYS_MAX keys, oldest first. Raises NotFound."""
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            person = await connection.fetchrow(_SQL.user, org_id, user_id)
            keys = await connection.fetch(_SQL.keys, org_id, user_id, KEYS_MAX)
            budgets = await connection.fetch(_SQL.budgets, org_id, user_id)
            key_budgets = await connection.fetch(_SQL.key_budgets, org_id, user_id, KEY_BUDGETS_MAX)
        return PersonalData(
            person=_person(person, org_id, user_id),
            keys=[msgspec.convert(dict(row.items()), PersonsKey) for row in keys],
            budgets=[PersonsBudget(**dict(row.items())) for row in budgets],
            key_budget_ids=[row["budget_id"] for row in key_budgets],
        )

    @unavailable_in_outage
    async def erase(self, org_id: UUID, user_id: UUID, *, by: Origin, idempotency: Idempotency | None = None) -> Person:
        """Name, e-mail and external id are replaced, the keys revoked and the quota ended, for good.

        Again changes nothing. What was kept of them for idempotency keys goes with it. Raises NotFound.
        """

        async def change(connection: Connection) -> Person:
            return _person(await connection.fetchrow(_SQL.erase, org_id, user_id, by.row()), org_id, user_id)

        erased = await once(self._pool, org_id, idempotency, change, answer=Person)
        self._forget_org(org_id)
        return erased


def _person(row: asyncpg.Record | None, org_id: UUID, user_id: UUID) -> Person:
    if row is None:
        raise NotFound(f"Organisation {org_id} has no user {user_id}.")
    return Person(**dict(row.items()))
