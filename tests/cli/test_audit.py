"""`tollgate audit` tells sound books from broken ones by words and by its exit code."""

import asyncio
import json

import asyncpg
import pytest

from tests.cli.conftest import Tollgate


@pytest.fixture(autouse=True)
def _acme(tollgate: Tollgate) -> None:
    tollgate("org", "create", "Acme")
    assert tollgate("credits", "grant", "Acme", "5").exit_code == 0


def test_sound_books_are_called_so(tollgate: Tollgate) -> None:
    for arguments, said in (((), "since the last audit"), (("--full",), "The books are sound.")):
        result = tollgate("audit", *arguments)
        assert (result.exit_code, said in result.stdout) == (0, True)
    assert json.loads(tollgate("audit", "--json").stdout) == {"sound": True, "full": False, "violations": []}


def test_a_credit_out_of_nowhere_is_found(tollgate: Tollgate, dsn: str) -> None:
    asyncio.run(execute(dsn, "UPDATE account SET balance_ucr = balance_ucr + 1"))
    result = tollgate("audit", "--full", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["sound"] is False
    assert found["violations"]
    people = tollgate("audit", "--full")
    assert people.exit_code == 1
    assert found["violations"][0]["account_id"] in people.stdout
    assert "broken" in people.stdout


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()
