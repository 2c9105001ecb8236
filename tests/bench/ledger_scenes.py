"""What is measured of the ledger, a scene each: how fast, how small, how steady."""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import asyncpg

from tests.bench.ledger_load import Load, Payer


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str
    goal: str = ""
    digits: int = 0
    x: float | None = None
    """Where a plot puts it: rows, accounts or seconds."""

    def shown(self) -> dict[str, Any]:
        return asdict(self)


Seen = Callable[[Figure], None]
Scene = Callable[[Load, argparse.Namespace, Seen], Awaitable[None]]

HOT_TABLES: Final = ("account", "budget_period", "credit_grant", "reservation")
FLOOD_CALLERS: Final = 512


async def hot(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """One hot account, in batches and one by one; how long a reservation takes at 5,000 a second."""
    payer = await load.payer()
    await load.closed_loop(payer, callers=64, seconds=1)
    alone = await load.closed_loop(payer, callers=1, seconds=options.seconds)
    together = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
    seen(Figure("reserve + settle in batches", together, "/s", "≥ 15,000"))
    seen(Figure("one by one", alone, "/s"))
    seen(Figure("ratio", together / alone, "×", "≥ 10", 1))
    await load.open_loop(lambda _: payer, per_s=5_000, seconds=options.seconds)
    seen(Figure("a reservation at 5,000/s, p50", load.wait_ms(0.5), "ms", "", 2))
    seen(Figure("a reservation at 5,000/s, p99", load.wait_ms(0.99), "ms", "≤ 10", 2))


async def cold(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """A quiet organisation while another is flooded."""
    flooded, quiet = await load.payer(), await load.payer()
    await load.open_loop(lambda _: quiet, per_s=50, seconds=options.seconds)
    seen(Figure("the quiet one alone, p99", load.wait_ms(0.99), "ms", "", 2))
    flood = asyncio.create_task(load.closed_loop(flooded, callers=FLOOD_CALLERS, seconds=options.seconds + 1))
    waits: list[float] = []
    for _ in range(int(50 * options.seconds)):
        began = time.perf_counter()
        await load.call(quiet)
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.02)
    await flood
    load.waits_s = waits
    seen(Figure("beside the flood, p99", load.wait_ms(0.99), "ms", "≤ 10", 2))


async def small(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """What a call writes and leaves behind."""
    payer = await load.payer()
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=1)
    connection = load.connection
    vacuum = f"VACUUM {', '.join(HOT_TABLES)}"
    # After a checkpoint the first touch of a page writes all of it: calls and vacuum have touched theirs before.
    await connection.execute("CHECKPOINT")
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=1)
    await connection.execute(vacuum)
    kept, begin = await _kept(connection), await connection.fetchval("SELECT pg_current_wal_lsn()")
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
    count = len(load.waits_s)
    await connection.execute(vacuum)  # What it writes is the calls' as well.
    end = await connection.fetchval("SELECT pg_current_wal_lsn()")
    written = await connection.fetchval("SELECT pg_wal_lsn_diff($1, $2)", end, begin)
    seen(Figure("WAL a call", float(written) / count, "B", "≤ 1,000"))
    for row in await _records(connection, begin, end):
        if row["bytes"] >= count:
            seen(Figure(f"  {row['type']} ({row['records'] / count:.2f})", row["bytes"] / count, "B"))
    seen(Figure("kept a call", (await _kept(connection) - kept) / count, "B", "≤ 500"))
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await asyncio.sleep(1.5)
    for row in await connection.fetch(
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname = ANY ($1) AND n_tup_upd > 1000",
        list(HOT_TABLES),
    ):
        seen(Figure(f"HOT updates of {row['relname']}", 100 * row["n_tup_hot_upd"] / row["n_tup_upd"], "%", "> 95", 1))


async def flat(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """The same with a long history and with many accounts."""
    payer = await load.payer()
    rows = 10
    while rows <= options.rows:
        await _lengthen(load.connection, payer, rows)
        rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
        seen(Figure(f"with {rows:,} rows on the account", rate, "/s", x=rows))
        rows *= 10
    accounts = 10
    while accounts <= options.accounts:
        await _more_accounts(load.connection, accounts)
        rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
        seen(Figure(f"with {accounts:,} accounts", rate, "/s", x=accounts))
        accounts *= 10


async def long(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """Minutes of load: does it slow down, and do the tables that change grow?"""
    payer = await load.payer()
    began = time.perf_counter()
    while (at := time.perf_counter() - began) < 60 * options.minutes:
        rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=min(30.0, 60 * options.minutes - at))
        seen(Figure(f"rate after {at:.0f} s", rate, "/s", x=at))
        size = await load.connection.fetchval(
            "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest($1::text[]) AS name", list(HOT_TABLES)
        )
        seen(Figure(f"hot tables after {at:.0f} s", float(size) / 1e6, "MB", "does not grow", 1, x=at))


async def delayed(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """With commit_delay = 2000: a disk that is slow to say that it has written."""
    await _set(load.connection, "commit_delay", "2000")
    await _set(load.connection, "commit_siblings", "0")
    try:
        payer = await load.payer()
        rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
        seen(Figure("reserve + settle in batches", rate, "/s"))
        await load.open_loop(lambda _: payer, per_s=2_000, seconds=options.seconds)
        seen(Figure("a reservation at 2,000/s, p99", load.wait_ms(0.99), "ms", "", 2))
    finally:
        await _set(load.connection, "commit_delay", "0")
        await _set(load.connection, "commit_siblings", "5")


async def snapshot(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """While somebody keeps an old snapshot open: what vacuum may not remove has to be stepped over."""
    payer = await load.payer()
    seen(Figure("before", await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds), "/s", x=0))
    old = await asyncpg.connect(load.dsn)
    async with old.transaction(isolation="repeatable_read"):
        await old.fetchval("SELECT count(*) FROM account")
        began = time.perf_counter()
        for _ in range(5):
            rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
            at = time.perf_counter() - began
            seen(Figure(f"open for {at:.0f} s", rate, "/s", x=at))
    await old.close()
    await load.connection.execute("VACUUM account, budget_period, credit_grant, reservation")
    seen(Figure("closed again", await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds), "/s"))


SCENES: Final[dict[str, Scene]] = {
    "hot": hot,
    "cold": cold,
    "small": small,
    "flat": flat,
    "delayed": delayed,
    "snapshot": snapshot,
    "long": long,
}


# --- what they need -------------------------------------------------------------------------------------------------


async def _kept(connection: asyncpg.Connection) -> int:
    """Bytes of the ledger with its indexes, but for the free room at the end of each that extends in larger steps."""
    return int(
        await connection.fetchval(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'ledger'::regclass"
        )
    )


async def _records(connection: asyncpg.Connection, begin: str, end: str) -> list[asyncpg.Record]:
    """The log by type of record, whole pages counted in; nothing where the server cannot look into it."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_walinspect')"
    ):
        return []
    await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
    return list(
        await connection.fetch(
            """
            SELECT "resource_manager/record_type" AS type, count AS records, combined_size::bigint AS bytes
              FROM pg_get_wal_stats($1, $2, true)
             WHERE combined_size > 0 ORDER BY combined_size DESC
            """,
            begin,
            end,
        )
    )


async def _lengthen(connection: asyncpg.Connection, payer: Payer, rows: int) -> None:
    """Rows of nothing, until the account has so many: the chain stays whole, no credit moves."""
    await connection.execute(
        """
        WITH a AS MATERIALIZED (
            SELECT org_id, account_id, version, balance_ucr FROM account WHERE org_id = $1
        ), made AS (
            INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at,
                                ended, model, held_ucr, numerator, lines)
            SELECT a.org_id, new_ledger_id(clock_timestamp()), a.account_id, a.version + n, 'RELEASE', 0,
                   a.balance_ucr, clock_timestamp(), 'error', 'gpt-4o-mini', 0, 0, '[]'
              FROM a, generate_series(1, $2 - a.version) AS n
        )
        UPDATE account SET version = greatest(version, $2) WHERE org_id = $1
        """,
        payer.org_id,
        rows,
        timeout=600,
    )


async def _more_accounts(connection: asyncpg.Connection, count: int) -> None:
    await connection.execute(
        """
        INSERT INTO account (org_id, account_id)
        SELECT id, id
          FROM (SELECT gen_random_uuid() AS id
                  FROM generate_series(1, $1 - (SELECT count(*) FROM account))) AS made
        """,
        count,
        timeout=600,
    )


async def _set(connection: asyncpg.Connection, name: str, value: str) -> None:
    await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await connection.execute("SELECT pg_reload_conf()")
