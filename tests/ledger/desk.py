"""What tests of operations beside calls share: another account, what is left of grants, the rows that were written."""

from uuid import UUID

import asyncpg

from gateway.core.origin import Origin
from gateway.ledger.accounts import open_allocation, open_restricted
from tests.ledger.conftest import Bench

ANNA = Origin(actor="anna", address="192.0.2.7", request_id=UUID(int=77), reason="asked for by phone")


async def open_user(bench: Bench, pool: asyncpg.Pool) -> UUID:
    account_id = bench.ids.next()
    await open_allocation(pool, bench.org_id, account_id, user_id=bench.ids.next())
    return account_id


async def open_for_models(bench: Bench, pool: asyncpg.Pool) -> UUID:
    account_id = bench.ids.next()
    await open_restricted(pool, bench.org_id, account_id, name="small models", models=("gpt-4o-mini",))
    return account_id


async def rows_of(pool: asyncpg.Pool, account_id: UUID) -> list[tuple[str, int]]:
    """Kind and amount, in order."""
    found = await pool.fetch("SELECT kind, amount_ucr FROM ledger WHERE account_id = $1 ORDER BY version", account_id)
    return [(row["kind"], row["amount_ucr"]) for row in found]


async def balance_of(pool: asyncpg.Pool, account_id: UUID) -> int:
    return int(await pool.fetchval("SELECT balance_ucr FROM account WHERE account_id = $1", account_id))


async def left_of(pool: asyncpg.Pool, grant_id: UUID) -> int:
    return int(await pool.fetchval("SELECT remaining_ucr FROM credit_grant WHERE id = $1", grant_id))


async def entries_of(pool: asyncpg.Pool, org_id: UUID) -> list[str]:
    """The actions of the audit log, in order."""
    found = await pool.fetch("SELECT action FROM audit_log WHERE org_id = $1 ORDER BY id", org_id)
    return [row["action"] for row in found]
