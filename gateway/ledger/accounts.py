"""Where credits stand: opening, suspending, the balance, and what happened to it."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from gateway.core.errors import NotFound
from gateway.core.payment_order import PayingAccount, PaymentOrder
from gateway.postgres.queries import load

_SQL = load("accounts")
Executor = asyncpg.Connection | asyncpg.Pool | PoolConnectionProxy
"""Whatever runs a statement: a connection inside somebody's transaction, or the pool."""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """Of all the organisation's accounts together."""

    balance_ucr: int
    held_ucr: int
    """Set aside for calls that are open."""
    available_ucr: int
    receivable_ucr: int
    """Owed for costs that passed a reservation; every credit repays it first."""
    open_count: int
    granted_ucr: int
    """Since the account was opened."""
    used_ucr: int


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger row. `amount_ucr` has a sign; the fields of a call are None where it is none."""

    id: UUID
    account_id: UUID
    kind: str
    transaction_type: str | None
    reason: str | None
    note: str | None
    actor: str | None
    amount_ucr: int
    balance_after_ucr: int
    ref_id: UUID | None
    created_at: datetime
    ended: str | None
    key_id: UUID | None
    user_id: UUID | None
    model: str | None
    cost_ucr: int | None
    overage_ucr: int | None
    waived_ucr: int | None


OrderBy = Literal["created_at", "amount"]
Direction = Literal["asc", "desc"]
_PAGES: Final = {
    ("created_at", "asc"): _SQL.transactions_oldest_first,
    ("created_at", "desc"): _SQL.transactions_newest_first,
    ("amount", "asc"): _SQL.transactions_smallest_first,
    ("amount", "desc"): _SQL.transactions_largest_first,
}


async def open_account(connection: Executor, org_id: UUID, account_id: UUID) -> None:
    """The organisation's pool. Opening it again changes nothing."""
    await connection.execute(_SQL.open_account, org_id, account_id)


async def open_allocation(connection: Executor, org_id: UUID, account_id: UUID, *, user_id: UUID) -> None:
    """A user's own account in the organisation; one at a time. Opening it again changes nothing."""
    await connection.execute(_SQL.open_allocation, org_id, account_id, user_id)


async def open_restricted(
    connection: Executor,
    org_id: UUID,
    account_id: UUID,
    *,
    name: str,
    models: tuple[str, ...] | None = None,
    features: tuple[str, ...] | None = None,
) -> None:
    """An account that pays for these models or features alone; at least one of the two is given."""
    await connection.execute(_SQL.open_restricted, org_id, account_id, name, models, features)


async def lock_pool(connection: Executor, org_id: UUID) -> None:
    """Changes of what an organisation chose about its credits come one after another. Raises NotFound."""
    if not await connection.fetchval(_SQL.lock_pool, org_id):
        raise NotFound(f"There is no organisation {org_id} with an account; nothing was changed.")


async def paying(
    connection: Executor, org_id: UUID, user_id: UUID | None
) -> tuple[tuple[PayingAccount, ...], PaymentOrder]:
    """The accounts that may pay for what is used in the name of this user, or of nobody; and the order of the policy.

    Raises NotFound where the organisation has no such user.
    """
    row = await connection.fetchrow(_SQL.paying, org_id, user_id)
    assert row is not None
    if user_id is not None and not row["knows_user"]:
        raise NotFound(f"Organisation {org_id} has no user {user_id}; nothing was changed.")
    return msgspec.json.decode(row["accounts"], type=tuple[PayingAccount, ...]), row["payment_order"]


async def set_status(connection: Executor, org_id: UUID, status: Literal["active", "suspended"]) -> None:
    """For all of the organisation's accounts that are not closed. Open calls go on and are settled."""
    await connection.execute(_SQL.set_status, org_id, status)


async def bring_up_to_date(connection: Executor, org_id: UUID) -> None:
    """Posts what became due on the organisation's accounts: grants that begin or end, periods that follow."""
    for due in await connection.fetch(_SQL.due_of_org, org_id):
        await connection.execute(_SQL.bring_up_to_date, org_id, due["account_id"])


async def read_balance(connection: Executor, org_id: UUID) -> Balance:
    """Zero for an organisation without accounts. What became due is posted first."""
    await bring_up_to_date(connection, org_id)
    row = await connection.fetchrow(_SQL.balance, org_id)
    assert row is not None
    return Balance(**dict(row.items()))


async def read_account(connection: Executor, org_id: UUID, account_id: UUID) -> Balance | None:
    """Of one account; None where there is none. What became due is posted first."""
    await connection.execute(_SQL.bring_up_to_date, org_id, account_id)
    row = await connection.fetchrow(_SQL.balance_of_account, org_id, account_id)
    return None if row is None else Balance(**dict(row.items()))


async def read_transactions(
    connection: Executor,
    org_id: UUID,
    *,
    limit: int,
    offset: int,
    order_by: OrderBy,
    order_direction: Direction,
    with_releases: bool,
) -> tuple[list[Transaction], int]:
    """A page, and how many there are in all. Without releases: rows that moved nothing are left out."""
    rows = await connection.fetch(_PAGES[order_by, order_direction], org_id, limit, offset, with_releases)
    total = await connection.fetchval(_SQL.count_transactions, org_id, with_releases)
    return [Transaction(**dict(row.items())) for row in rows], total
