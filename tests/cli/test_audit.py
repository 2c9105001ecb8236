"""`tollgate audit` says whether the books hold, and shows where they do not."""

import asyncio
import json

import asyncpg
import pytest

from tests.cli.conftest import Tollgate


@pytest.fixture
def acme(tollgate: Tollgate) -> str:
    """Its id; it has five credits."""
    id = json.loads(tollgate("org", "create", "Acme", "--json").stdout)["id"]
    assert tollgate("credits", "grant", "Acme", "5").exit_code == 0
    return str(id)


async def take_a_credit_by_hand(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("UPDATE account SET balance_ucr = balance_ucr - 1000000")
    finally:
        await connection.close()


@pytest.mark.usefixtures("acme")
def test_sound_books_are_said_to_be_sound(tollgate: Tollgate) -> None:
    result = tollgate("audit", "--full")
    assert (result.exit_code, result.stdout) == (0, "The books are sound.\n")
    assert json.loads(tollgate("audit", "--json").stdout) == {"full": False, "violations": []}


def test_a_balance_that_no_ledger_row_explains_is_found(tollgate: Tollgate, dsn: str, acme: str) -> None:
    asyncio.run(take_a_credit_by_hand(dsn))
    people = tollgate("audit", "--full")
    assert people.exit_code == 1
    assert acme in people.stdout
    assert "balance 4000000, its ledger 5000000" in people.stdout
    programs = tollgate("audit", "--full", "--json")
    assert programs.exit_code == 1
    assert {each["org_id"] for each in json.loads(programs.stdout)["violations"]} == {acme}
