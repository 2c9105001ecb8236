"""How long the audit takes on a large ledger: all of it, nothing new since the last time, and what a while has added.

    python -m tests.bench.audit_rows --rows 10000000

The books are sound and made by the database itself, in months that lie behind. An embedded PostgreSQL is started in a
temporary folder for it; a row takes about 400 bytes there with its indexes.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from gateway.ledger.audit import find_violations
from gateway.ledger.options import LedgerSettings
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate
from gateway.postgres.pool import connect

ACCOUNTS_AT_ONCE: Final = LedgerSettings().audit_accounts
SPAN: Final = timedelta(days=90)
CHARGE_UCR: Final = 450
ROWS_AT_ONCE: Final = 200_000
STATEMENT_TIMEOUT_S: Final = 3600.0

ACCOUNTS = """
INSERT INTO account (org_id, account_id, balance_ucr, version, granted_ucr, used_ucr)
SELECT id, id, $2::bigint * $3, 1, $2::bigint * $3, 0
  FROM (SELECT lpad(to_hex(n), 32, '0')::uuid AS id FROM generate_series(1, $1::integer) AS n) AS a
"""
GRANTS = """
INSERT INTO credit_grant (org_id, id, account_id, kind, category, amount_ucr, remaining_ucr, effective_at, activated_at)
SELECT org_id, account_id, account_id, 'prepaid', 'paid', balance_ucr, balance_ucr, $1::timestamptz, $1 FROM account
"""
FIRST_ROWS = """
INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at)
SELECT org_id, first_id_at($1::timestamptz), account_id, 1, 'GRANT', balance_ucr, balance_ucr, $1
  FROM account
"""
CHARGES = """
INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at, ended,
                    key_id, model, upstream, provider_request_id, streamed, status, finish_reason,
                    prompt_tokens, output_tokens, lines, numerator, held_ucr, burned_grant,
                    first_event_ms, duration_ms)
SELECT a.org_id, v.id, a.account_id, v.version, 'CHARGE', -$5::bigint, a.granted_ucr - (v.version - 1) * $5,
       v.created_at, 'ok', a.account_id, 'gpt-4o-mini', 'openai', 'chatcmpl-' || v.id, true,
       200, 'stop', 1000, 500, '[["input",1000,150000],["output",500,600000]]', $5 * 1000000::numeric, 900,
       a.account_id, 350, 2900
  FROM (SELECT n AS version, first_id_at($3::timestamptz + n * $4::interval) AS id, $3 + n * $4 AS created_at
          FROM generate_series($1::bigint, $2) AS n OFFSET 0) AS v
 CROSS JOIN account AS a
"""
BALANCES = """
UPDATE account SET version = $1::bigint, balance_ucr = granted_ucr - ($1 - 1) * $2::bigint, used_ucr = ($1 - 1) * $2
"""
LEFT_OF_GRANTS = "UPDATE credit_grant SET remaining_ucr = amount_ucr - ($1::bigint - 1) * $2::bigint"


class Books:
    """Of `accounts` organisations that each grow by the same calls at the same times, `rows` in all."""

    def __init__(self, connection: asyncpg.Connection, *, rows: int, accounts: int, extra: int) -> None:
        self._connection = connection
        self._accounts = accounts
        self._versions = rows // accounts
        self._extra = max(extra // accounts, 1)
        self._begin = datetime.now(UTC) - SPAN
        self._step = SPAN / (self._versions + self._extra)

    async def make(self) -> int:
        """How many rows there are."""
        for day in range(0, SPAN.days + 1, 27):
            await self._connection.execute("SELECT make_ledger_month($1)", (self._begin + timedelta(days=day)).date())
        granted = self._versions + self._extra
        await self._connection.execute(ACCOUNTS, self._accounts, granted, CHARGE_UCR)
        await self._connection.execute(GRANTS, self._begin)
        await self._connection.execute(FIRST_ROWS, self._begin)
        await self._grow(2, self._versions)
        print("vacuuming …", flush=True)
        await self._connection.execute("VACUUM ANALYZE")
        return self._versions * self._accounts

    async def add(self) -> int:
        """A while later; how many rows came."""
        await self._grow(self._versions + 1, self._versions + self._extra)
        return self._extra * self._accounts

    async def _grow(self, first: int, last: int) -> None:
        step = max(ROWS_AT_ONCE // self._accounts, 1)
        for version in range(first, last + 1, step):
            to = min(version + step - 1, last)
            await self._connection.execute(CHARGES, version, to, self._begin, self._step, CHARGE_UCR)
            print(f"made {to * self._accounts:,} rows", flush=True)
        await self._connection.execute(BALANCES, last, CHARGE_UCR)
        await self._connection.execute(LEFT_OF_GRANTS, last, CHARGE_UCR)


async def audit(connection: asyncpg.Connection, what: str, *, full: bool) -> None:
    began, pages = time.perf_counter(), 0
    async for found in find_violations(connection, full=full, accounts_at_once=ACCOUNTS_AT_ONCE):
        assert found == [], found[:3]
        pages += 1
        if full:
            print(f"checked {pages * ACCOUNTS_AT_ONCE:,} accounts", flush=True)
    print(f"{what}: {time.perf_counter() - began:.2f} s", flush=True)


async def main(arguments: argparse.Namespace, dsn: str) -> None:
    connection = await connect(dsn, statement_timeout_s=STATEMENT_TIMEOUT_S, connect_timeout_s=10)
    await migrate(connection)
    books = Books(connection, rows=arguments.rows, accounts=arguments.accounts, extra=arguments.rows // 100)
    began = time.perf_counter()
    rows = await books.make()
    size = await connection.fetchval("SELECT pg_size_pretty(pg_database_size(current_database()))")
    print(
        f"{rows:,} rows of {arguments.accounts:,} accounts, {size}, in {time.perf_counter() - began:.0f} s", flush=True
    )
    await audit(connection, f"full audit of {rows:,} rows", full=True)
    await audit(connection, "incremental audit, nothing new", full=False)
    added = await books.add()
    await audit(connection, f"incremental audit, {added:,} new rows", full=False)
    await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--accounts", type=int, default=1_000)
    parsed = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    server.start_blocking()
    try:
        asyncio.run(main(parsed, server.dsn))
    finally:
        server.stop_blocking()
        shutil.rmtree(folder)
