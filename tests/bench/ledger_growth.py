"""Whether the ledger slows down: with what it holds already (`flat`), and with time (`long`)."""

import argparse
import statistics
import time
from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from tests.bench.ledger_figures import Figure
from tests.bench.ledger_load import FLOOD_CALLERS, Load, Payer
from tests.bench.ledger_scenes import HOT_TABLES, Seen

_RUNS: Final = 3
_GROWN: Final = 1.1


async def flat(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """The same with a long history and with many accounts; each the median of three runs, in a database at rest."""
    rows = 10
    while rows <= options.rows:
        payer = await load.payer()  # A new one: those before have grown by what was measured on them.
        await _lengthen(load.connection, payer, rows)
        await _measured(load, payer, options.seconds, f"with {rows:,} rows on the account", "rows", rows, seen)
        rows *= 10
    payer = await load.payer()
    accounts = 10
    while accounts <= options.accounts:
        await _more_accounts(load.connection, accounts)
        await _measured(load, payer, options.seconds, f"with {accounts:,} accounts", "accounts", accounts, seen)
        accounts *= 10
    # They never held anything; the closing audit would look at each of them.
    await load.connection.execute("DELETE FROM account WHERE version = 0", timeout=600)


async def long(load: Load, options: argparse.Namespace, seen: Seen) -> None:
    """Minutes of load: does it slow down, and do the tables that change grow?"""
    payer = await load.payer()
    seconds = 60 * options.minutes
    parts = max(5, round(seconds / 30))
    last = await _HotTables.now(load.connection)
    _tell("at the start", last, seen)
    began = time.perf_counter()
    bytes_after: list[int] = []
    for part in range(parts):
        left = began + seconds - time.perf_counter()
        rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=max(0.1, left / (parts - part)))
        at = time.perf_counter() - began
        seen(Figure(f"rate until {at:.0f} s", rate, "/s", curve="rate", x=at))
        now = await _HotTables.now(load.connection)
        for figure in now.figures(since=last, at=at):
            seen(figure)
        bytes_after.append(now.bytes)
        last = now
    _tell("at the end", last, seen)
    early = max(bytes_after[: parts // 5])
    verdict = "grew" if bytes_after[-1] > _GROWN * early else "did not grow"
    goal = f"≤ {100 * _GROWN:.0f}: {verdict}"
    seen(Figure("hot tables, of what they were after a fifth of it", 100 * bytes_after[-1] / early, "%", goal))


# --- flat -----------------------------------------------------------------------------------------------------------


async def _measured(load: Load, payer: Payer, seconds: float, what: str, curve: str, x: int, seen: Seen) -> None:
    """At rest: what filling the tables left to a checkpoint and to autovacuum is done before, not meanwhile."""
    await load.connection.execute("VACUUM (ANALYZE)", timeout=600)
    await load.connection.execute("CHECKPOINT", timeout=600)
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=1)  # Writes the whole pages a checkpoint asks for.
    rates = [await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=seconds) for _ in range(_RUNS)]
    seen(Figure(what, statistics.median(rates), "/s", curve=curve, x=x, low=min(rates), high=max(rates)))


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


# --- long -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _HotTables:
    bytes: int
    dead: int
    """Tuples that vacuum has not removed yet."""
    updates: int
    hot_updates: int

    @classmethod
    async def now(cls, connection: asyncpg.Connection) -> Self:
        row = await connection.fetchrow(
            "SELECT sum(pg_total_relation_size(relid))::bigint, sum(n_dead_tup)::bigint, sum(n_tup_upd)::bigint,"
            "       sum(n_tup_hot_upd)::bigint FROM pg_stat_user_tables WHERE relname = ANY ($1)",
            list(HOT_TABLES),
        )
        assert row is not None
        return cls(*row)

    def figures(self, *, since: Self, at: float) -> list[Figure]:
        updates = max(1, self.updates - since.updates)
        share = 100 * (self.hot_updates - since.hot_updates) / updates
        return [
            Figure(f"hot tables after {at:.0f} s", self.bytes / 1e6, "MB", "", 2, curve="bytes", x=at),
            Figure(f"dead tuples in them after {at:.0f} s", self.dead, "", curve="dead", x=at),
            Figure(f"HOT updates until {at:.0f} s", share, "%", "> 95", 1, curve="hot", x=at),
        ]


def _tell(when: str, tables: _HotTables, seen: Seen) -> None:
    seen(Figure(f"hot tables {when}", tables.bytes / 1e6, "MB", "", 2))
    seen(Figure(f"dead tuples in them {when}", tables.dead, ""))
