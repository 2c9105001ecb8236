"""Every list of /api on a large ledger: how long it takes, how many rows it reads, and through which index.

    python -m tests.bench.list_timings --rows 1000000

Ends with 1 where a list takes longer than it may, or reads more rows than tests/bench/lists.py allows it. An embedded
PostgreSQL is started in a temporary folder for it.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import asyncpg

from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate
from gateway.postgres.pool import connect, open_pool
from gateway.usage.statistics import Statistics
from tests.bench.lists import ORG, Books, Cost, cost_of, lists

MS_MAX: Final = 50.0
TIMES: Final = 7
STATEMENT_TIMEOUT_S: Final = 3600.0


async def main(dsn: str, *, rows: int) -> bool:
    """True where all is as it should be."""
    owner = await connect(dsn, statement_timeout_s=STATEMENT_TIMEOUT_S, connect_timeout_s=10)
    await migrate(owner)
    books = Books(owner, rows=rows)
    began = time.perf_counter()
    await books.make()
    size = await owner.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    say(f"{rows:,} ledger rows, {rows // 10:,} audit entries, {size}: made in {time.perf_counter() - began:.0f} s")
    await tell_index_sizes(owner, rows)
    pool = await open_pool(dsn, min_size=1, max_size=4, statement_timeout_s=60, connect_timeout_s=10)
    began = time.perf_counter()
    await Statistics(pool).roll_up(ORG)
    say(f"rolled up from nothing in {time.perf_counter() - began:.1f} s")
    await owner.execute("VACUUM ANALYZE usage_day")
    costs = [await cost_of(one, pool, times=TIMES) for one in lists(books)]
    await pool.close()
    await owner.close()
    tell(costs)
    return all(cost.ms < MS_MAX and cost.rows_read <= cost.rows_max for cost in costs)


async def tell_index_sizes(owner: asyncpg.Connection, rows: int) -> None:
    found = await owner.fetch(
        "SELECT p.relname, sum(pg_relation_size(c.oid))::bigint AS bytes"
        "  FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE p.relname LIKE 'ledger%' GROUP BY p.relname ORDER BY 1"
    )
    say("bytes a ledger row: " + ", ".join(f"{row['relname']} {row['bytes'] / rows:.1f}" for row in found))


def tell(costs: list[Cost]) -> None:
    say("\n| list | ms | rows read | at most | through |\n|---|---:|---:|---:|---|")
    for cost in costs:
        wrong = " **too slow**" if cost.ms >= MS_MAX else " **too many**" if cost.rows_read > cost.rows_max else ""
        nodes = ", ".join(cost.nodes) or "nothing"
        say(f"| {cost.name} | {cost.ms:.1f} | {cost.rows_read:,} | {cost.rows_max:,} | {nodes}{wrong} |")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parsed = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    server.start_blocking()
    try:
        sound = asyncio.run(main(server.dsn, rows=parsed.rows))
    finally:
        server.stop_blocking()
        shutil.rmtree(folder)
    sys.exit(0 if sound else 1)
