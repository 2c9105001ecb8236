"""`tollgate ledger unpark` lets an account reserve again, and says who did it in the audit log."""

import asyncio
import json
from pathlib import Path

import asyncpg

from tests.cli.conftest import Tollgate
from tests.cli.test_orgs import made


def ask(dsn: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


def test_a_parked_account_is_unparked_once(tollgate: Tollgate, dsn: str) -> None:
    org = made(tollgate, "Acme")
    ask(dsn, "UPDATE account SET parked_at = now()")
    first = tollgate("ledger", "unpark", "Acme", "--reason", "restored from the backup", "--json")
    assert (first.exit_code, json.loads(first.stdout)["was_parked"]) == (0, True)
    assert "was not parked" in tollgate("ledger", "unpark", org, "--account", org).stdout
    assert [tuple(row) for row in ask(dsn, "SELECT parked_at FROM account")] == [(None,)]
    [(actor, reason)] = ask(dsn, "SELECT actor, reason FROM audit_log WHERE action = 'account.unparked'")
    assert actor.startswith("cli:")
    assert reason == "restored from the backup"


def test_an_account_that_the_org_does_not_have_is_refused(tollgate: Tollgate) -> None:
    made(tollgate, "Acme")
    refused = tollgate("ledger", "unpark", "Acme", "--account", "00000000-0000-0000-0000-000000000007")
    assert refused.exit_code == 1
    assert "There is no such account" in refused.stderr


def test_an_old_month_is_archived_and_listed(tollgate: Tollgate, dsn: str, tmp_path: Path) -> None:
    made(tollgate, "Acme")
    ask(dsn, "SELECT make_ledger_month('2024-02-01')")
    done = tollgate("ledger", "archive", "--before", "2024-03", "--to", str(tmp_path), "--json")
    assert done.exit_code == 0
    [month] = json.loads(done.stdout)["data"]
    assert (month["month"], month["totals"]["rows"]) == ("2024-02", 0)
    assert "2024-02: detaching" in done.stderr
    assert (tmp_path / month["file"]).exists()
    states = {each["name"]: each["state"] for each in json.loads(tollgate("ledger", "months", "--json").stdout)["data"]}
    assert (states.pop("2024-02"), set(states.values())) == ("archived", {"attached"})
    assert "archived" in tollgate("ledger", "months").stdout
    assert "No month was archived" in tollgate("ledger", "archive", "--before", "2024-03", "--to", str(tmp_path)).stdout
