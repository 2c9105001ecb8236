"""An outage is told from a mistake of ours by what the driver raises."""

import asyncpg
import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.postgres.outage import is_outage, unavailable_in_outage
from tests.postgres.outage import Outage


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.ConnectionDoesNotExistError(),
        asyncpg.TooManyConnectionsError(),
        asyncpg.AdminShutdownError(),
        asyncpg.CannotConnectNowError(),
        asyncpg.QueryCanceledError(),
        asyncpg.ReadOnlySQLTransactionError(),
    ],
)
def test_what_another_attempt_may_cure_is_an_outage(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [asyncpg.UniqueViolationError(), asyncpg.UndefinedTableError(), asyncpg.DataError("invalid input"), ValueError()],
)
def test_what_is_wrong_in_itself_is_none(error: Exception) -> None:
    assert not is_outage(error)


async def test_an_outage_becomes_the_callers_word_for_it_and_ends(pool: asyncpg.Pool, outage: Outage) -> None:
    @unavailable_in_outage
    async def ask(statement: str) -> object:
        return await pool.fetchval(statement)

    assert await ask("SELECT 1") == 1
    await outage.begin()
    with pytest.raises(LedgerUnavailable):
        await ask("SELECT 1")
    await outage.end()
    assert await ask("SELECT 1") == 1
    with pytest.raises(asyncpg.UndefinedTableError):
        await ask("SELECT 1 FROM nowhere")
