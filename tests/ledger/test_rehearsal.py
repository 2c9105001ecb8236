"""A lane goes through a batch before its first caller comes; all of it is undone."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.ledger.ledger import Ledger
from gateway.ledger.options import LedgerSettings
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics
from tests.ledger.conftest import Bench, open_bench

OWN_DATABASE = True


@pytest.fixture
async def rehearsed(dsn: str) -> AsyncIterator[list[Ledger]]:
    """Is given what it stops."""
    ledgers: list[Ledger] = []
    yield ledgers
    for ledger in ledgers:
        await ledger.stop(drain_s=5)


async def start(dsn: str, rehearsed: list[Ledger]) -> Ledger:
    ledger = await Ledger.start(
        dsn, settings=LedgerSettings(), clock=Clock(), ids=IdSource(Clock()), metrics=Metrics(), rehearse=True
    )
    rehearsed.append(ledger)
    return ledger


async def test_every_lane_has_its_statement_before_anybody_calls(
    dsn: str, rehearsed: list[Ledger], owner: asyncpg.Connection
) -> None:
    await start(dsn, rehearsed)
    lanes = await owner.fetch(
        "SELECT query FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'tollgate lane %'"
    )
    assert len(lanes) == LedgerSettings().lanes
    assert {row["query"].strip().rstrip(";") for row in lanes} == {"SELECT rehearse_batch()"}


async def test_a_lane_that_cannot_rehearse_serves_all_the_same(
    dsn: str, rehearsed: list[Ledger], owner: asyncpg.Connection, pool: asyncpg.Pool, ids: IdSource
) -> None:
    await owner.execute("ALTER FUNCTION rehearse_batch() RENAME TO rehearse_batch_elsewhere")
    bench = await open_bench(await start(dsn, rehearsed), ids, pool)
    await bench.grant(10)
    assert (await bench.held(10)).amount_ucr == 10


async def test_a_rehearsal_takes_the_whole_road_and_leaves_nothing(bench: Bench, owner: asyncpg.Connection) -> None:
    tables = [
        row[0]
        for row in await owner.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
            " 'public'::regnamespace ORDER BY relname"
        )
    ]
    count = " UNION ALL ".join(f"SELECT count(*) AS rows FROM {table}" for table in tables)
    before = await owner.fetch(count)
    await owner.execute("SET track_functions = 'all'")
    await owner.execute("SELECT rehearse_batch()")
    await owner.execute("SELECT pg_stat_force_next_flush()")
    assert await owner.fetch(count) == before
    walked = {row[0] for row in await owner.fetch("SELECT funcname FROM pg_stat_user_functions")}
    assert walked >= {
        *("run_batch", "lock_for_batch", "lock_budgets", "settle_batch", "settle_together", "settle_one_by_one"),
        *("extend_batch", "reserve_batch", "admit_together", "admit_one_by_one", "save_account", "book_endings"),
    }
