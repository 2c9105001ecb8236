"""What is measured of the ledger, a scene each: how fast, how small, how steady. See also ledger_growth."""

import argparse
import asyncio
import os
import re
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import asyncpg

from tests.bench.ledger_figures import Figure
from tests.bench.ledger_flood import flood_of_another_process
from tests.bench.ledger_load import FLOOD_CALLERS, Load, wait_ms

Seen = Callable[[Figure], None]
Scene = Callable[[Load, argparse.Namespace, Seen], Awaitable[None]]

HOT_TABLES: Final = ("account", "budget_period", "credit_grant", "reservation")
"""Those whose rows change with each call."""
_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
_ALERTS: Final = Path(__file__).parents[2] / "deploy" / "alerts.yml"


async def hot(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """One hot account, in batches and one by one; how long a reservation takes at 5,000 a second."""
    payer = await load.payer()
    await load.closed_loop(payer, callers=64, seconds=1)
    alone = await load.closed_loop(payer, callers=1, seconds=options.seconds)
    together = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
    seen(Figure("reserve + settle in batches", together, "/s", "≥ 15,000", curve="together"))
    seen(Figure("one by one", alone, "/s", curve="alone"))
    seen(Figure("ratio", together / alone, "×", "≥ 10", 1))
    await _disk(seen)
    waits_s = await load.open_loop(payer, per_s=5_000, seconds=options.seconds)
    seen(Figure("a reservation at 5,000/s, p50", wait_ms(waits_s, 0.5), "ms", "", 2))
    seen(Figure("a reservation at 5,000/s, p99", wait_ms(waits_s, 0.99), "ms", "≤ 10", 2))
    _spread(waits_s, "steady", seen)


async def cold(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """A quiet organisation while another is flooded: by the same process, and by another, as a second worker would."""
    flooded, quiet = await load.payer(), await load.payer()
    seconds = 4 * options.seconds
    await load.closed_loop(flooded, callers=FLOOD_CALLERS, seconds=1)
    await load.now_and_then(quiet, seconds=1)  # Every lane has met it.
    await _disk(seen)
    waits_s = await load.now_and_then(quiet, seconds=seconds)
    seen(Figure("the quiet one alone, p99", wait_ms(waits_s, 0.99), "ms", "", 2))
    _spread(waits_s, "alone", seen)

    flood = asyncio.create_task(load.closed_loop(flooded, callers=FLOOD_CALLERS, seconds=seconds + 1))
    waits_s = await load.now_and_then(quiet, seconds=seconds)
    seen(Figure("a flood in the same process", await flood, "/s"))
    seen(Figure("beside it, p99", wait_ms(waits_s, 0.99), "ms", "≤ 10", 2))
    _spread(waits_s, "same process", seen)

    async with flood_of_another_process(load.dsn, seconds=seconds + 1) as rate:
        waits_s = await load.now_and_then(quiet, seconds=seconds)
    seen(Figure("a flood in another process", rate[0], "/s"))
    seen(Figure("beside that, p99", wait_ms(waits_s, 0.99), "ms", "≤ 10", 2))
    _spread(waits_s, "another process", seen)


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
    before = load.calls
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
    count = load.calls - before
    await connection.execute(vacuum)  # What it writes is the calls' as well.
    end = await connection.fetchval("SELECT pg_current_wal_lsn()")
    written = await connection.fetchval("SELECT pg_wal_lsn_diff($1, $2)", end, begin)
    seen(Figure("WAL a call", float(written) / count, "B", "≤ 1,000"))
    for row in await _records(connection, begin, end):
        if row["bytes"] >= count:
            seen(Figure(f"  {row['type']} ({row['records'] / count:.2f})", row["bytes"] / count, "B"))
    seen(Figure("kept a call", (await _kept(connection) - kept) / count, "B", "≤ 500"))
    await asyncio.sleep(1.5)  # The server's processes tell what they did once a second.
    for row in await connection.fetch(
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname = ANY ($1) AND n_tup_upd > 1000",
        list(HOT_TABLES),
    ):
        seen(Figure(f"HOT updates of {row['relname']}", 100 * row["n_tup_hot_upd"] / row["n_tup_upd"], "%", "> 95", 1))


async def delayed(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """With commit_delay = 2000, as on a disk that takes 2 ms longer to say that it has written, and without."""
    payer = await load.payer()
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=1)
    try:
        for delay in (0, 2_000):
            await _set(load.connection, "commit_delay", str(delay))
            await _set(load.connection, "commit_siblings", "0")
            rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
            seen(Figure(f"in batches, commit_delay = {delay:,}", rate, "/s", curve="rate", x=delay))
            waits_s = await load.open_loop(payer, per_s=2_000, seconds=options.seconds)
            p50, p99 = wait_ms(waits_s, 0.5), wait_ms(waits_s, 0.99)
            seen(Figure("a reservation at 2,000/s, p50", p50, "ms", "", 2, curve="p50", x=delay))
            seen(Figure("a reservation at 2,000/s, p99", p99, "ms", "", 2, curve="p99", x=delay))
    finally:
        for name in ("commit_delay", "commit_siblings"):
            await load.connection.execute(f"ALTER SYSTEM RESET {name}")
        await load.connection.execute("SELECT pg_reload_conf()")


async def snapshot(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """While somebody keeps an old snapshot open: what vacuum may not remove has to be stepped over."""
    payer = await load.payer()
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=1)
    before = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
    seen(Figure("before", before, "/s", curve="open", x=0))
    old = await asyncpg.connect(load.dsn, server_settings={"idle_in_transaction_session_timeout": "0"})
    async with old.transaction(isolation="repeatable_read"):
        await old.fetchval("SELECT count(*) FROM account")
        began = time.perf_counter()
        while (at := time.perf_counter() - began) < options.snapshot_seconds:
            rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
            at = time.perf_counter() - began
            seen(Figure(f"open for {at:.0f} s", rate, "/s", curve="open", x=at))
        age_s = await load.connection.fetchval("SELECT oldest_snapshot_s()")
    alert_s = _fires_after_s("TollgateOldSnapshot")
    fires = f"TollgateOldSnapshot {'fires' if age_s >= alert_s else 'would fire'} after {alert_s} s"
    seen(Figure("tollgate_postgres_oldest_snapshot_seconds", age_s, "s", fires))
    seen(Figure("the alert", alert_s, "s", curve="alert", listed=False))
    await old.close()
    await load.connection.execute(f"VACUUM {', '.join(HOT_TABLES)}")
    after = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=options.seconds)
    seen(Figure("closed again, and vacuumed", after, "/s", curve="after", x=at))


# --- what they need -------------------------------------------------------------------------------------------------


async def _disk(seen: Seen) -> None:
    """What no commit can be faster than: a page written to this disk and synced, every millisecond or so."""
    waits_s = await asyncio.to_thread(_sync_waits_s, 2.0)
    seen(Figure("the disk alone, a page synced, p50", wait_ms(waits_s, 0.5), "ms", "", 2))
    seen(Figure("the disk alone, a page synced, p99", wait_ms(waits_s, 0.99), "ms", "", 2))


def _sync_waits_s(seconds: float) -> list[float]:
    page, pages = bytes(8192), 2_048
    waits_s: list[float] = []
    with tempfile.NamedTemporaryFile() as file:
        file.write(page * pages)  # Room that is there already, as in a log file that is used again.
        file.flush()
        os.fsync(file.fileno())
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            os.pwrite(file.fileno(), page, len(waits_s) % pages * len(page))
            os.fdatasync(file.fileno())
            waits_s.append(time.perf_counter() - began)
            time.sleep(0.001)
    return waits_s


def _spread(waits_s: list[float], curve: str, seen: Seen) -> None:
    """The whole distribution, for a plot."""
    for share in _SHARES:
        seen(Figure(curve, wait_ms(waits_s, share), "ms", "", 2, curve=curve, x=share, listed=False))


def _fires_after_s(name: str) -> int:
    """What grows by a second a second: when the rule about it in deploy/alerts.yml fires."""
    found = re.search(rf"alert: {name}\n +expr: \w+ > (\d+)\n +for: (\d+)m\n", _ALERTS.read_text("utf-8"))
    assert found is not None, name
    return int(found[1]) + 60 * int(found[2])


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


async def _set(connection: asyncpg.Connection, name: str, value: str) -> None:
    await connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await connection.execute("SELECT pg_reload_conf()")
