"""What an organisation has used of a model in its month: of settled calls, by its own clock, read lately."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.usage import model_volume
from gateway.usage.model_volume import FRESH_S, ModelVolumes
from tests.fakes.clock import SteppedClock
from tests.postgres.outage import Outage
from tests.usage.rows import ORG, OTHER_ORG, Books

BOTH = ("openai", "openai-eu")
WITHIN_S: Final = 8.0
"""For what is not to wait: less than a statement may take here, so that what waits all the same is seen to."""


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def volumes(pool: asyncpg.Pool, clock: SteppedClock) -> ModelVolumes:
    return ModelVolumes(pool, clock=clock)


async def call(books: Books, prompt: int, output: int = 0, *, upstream: str = "openai", **fields: Any) -> None:
    await books.ended(
        used_ucr=1,
        prompt_tokens=prompt,
        output_tokens=output,
        **{"upstream": upstream, "upstream_model": "m", **fields},
    )


async def test_prompt_and_output_count_at_every_upstream_of_the_provider(volumes: ModelVolumes, books: Books) -> None:
    await books.open(OTHER_ORG)
    await call(books, 1, 10)
    await call(books, 100, upstream="openai-eu")
    await call(books, 1_000, upstream="elsewhere")
    await call(books, 10_000, upstream_model="n")
    await call(books, 100_000, org_id=OTHER_ORG)
    assert await volumes.tokens(ORG, BOTH, "m") == 111
    assert await volumes.tokens(OTHER_ORG, BOTH, "m") == 100_000
    assert await volumes.tokens(ORG, BOTH, "unused") == 0


async def test_a_row_that_names_a_model_once_counts_for_it(volumes: ModelVolumes, books: Books) -> None:
    await call(books, 3, model="m", upstream_model=None)
    await call(books, 5, model="alias", upstream_model="m")
    await call(books, 7, model="m", upstream_model="n")
    assert await volumes.tokens(ORG, BOTH, "m") == 8


async def test_a_call_that_a_sweeper_ended_counts_by_its_late_correction(volumes: ModelVolumes, books: Books) -> None:
    await books.ended(used_ucr=1, ended="recovered")
    await call(books, 5, kind="REFUND")
    await call(books, 7, kind="LATE_CHARGE")
    assert await volumes.tokens(ORG, BOTH, "m") == 12


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_a_month_is_the_organisations_own(
    volumes: ModelVolumes, books: Books, owner: asyncpg.Connection, zone: str
) -> None:
    await owner.execute("INSERT INTO credit_policy (org_id, time_zone) VALUES ($1, $2)", ORG, zone)
    first = datetime.now(ZoneInfo(zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    await call(books, 1, created_at=first)
    await call(books, 10, created_at=first - timedelta(microseconds=1))
    assert await volumes.tokens(ORG, BOTH, "m") == 1


async def test_a_figure_is_believed_for_its_time_and_then_read_again(
    volumes: ModelVolumes, books: Books, clock: SteppedClock
) -> None:
    await call(books, 1)
    assert await volumes.tokens(ORG, BOTH, "m") == 1
    await call(books, 2)
    clock.step(FRESH_S - 0.1)
    assert await volumes.tokens(ORG, BOTH, "m") == 1
    clock.step(0.2)
    assert await volumes.tokens(ORG, BOTH, "m") == 3


async def test_no_figure_is_believed_beyond_its_month(volumes: ModelVolumes, books: Books, clock: SteppedClock) -> None:
    await call(books, 1)
    assert await volumes.tokens(ORG, BOTH, "m") == 1
    known = volumes._known[ORG, BOTH, "m"]
    assert 0 < known.month_ends_at_s <= 31 * 86_400 + 3_600
    known.asked_at_s = known.month_ends_at_s
    await call(books, 2)
    clock.step(known.month_ends_at_s)
    assert await volumes.tokens(ORG, BOTH, "m") == 3


async def test_it_is_counted_once_whoever_asks_and_however_often(
    pool: asyncpg.Pool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_volume, "_VERSIONS_AT_ONCE", 3)
    for _ in range(10):
        await call(books, 1)
    several = [ModelVolumes(pool, clock=SteppedClock()) for _ in range(4)]
    asked = [volumes.tokens(ORG, BOTH, "m") for volumes in several for _ in range(3)]
    assert await asyncio.gather(*asked) == [10] * 12


async def test_a_figure_that_must_be_read_cannot_be_during_an_outage(
    volumes: ModelVolumes, books: Books, outage: Outage
) -> None:
    await call(books, 1)
    await volumes.tokens(ORG, BOTH, "m")
    await outage.begin()
    assert await volumes.tokens(ORG, BOTH, "m") == 1
    with pytest.raises(LedgerUnavailable):
        await volumes.tokens(ORG, BOTH, "other")


# --- one organisation's trouble ---------------------------------------------------------------------------------------


@pytest.fixture
async def locked(dsn: str, volumes: ModelVolumes, books: Books) -> AsyncIterator[asyncpg.Connection]:
    """ORG's progress is held by somebody else, who ends with this connection."""
    await books.open(OTHER_ORG)
    await volumes.tokens(ORG, BOTH, "first")
    connection = await asyncpg.connect(dsn)
    holding = connection.transaction()
    await holding.start()
    await connection.execute("SELECT FROM model_month_progress WHERE org_id = $1 FOR UPDATE", ORG)
    yield connection
    if not connection.is_closed():
        await holding.rollback()
        await connection.close()


async def waiting_for_locks(connection: asyncpg.Connection, count: int) -> list[int]:
    """Their processes, once there are so many."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            rows = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if len(rows) == count:
                return [row["pid"] for row in rows]
            await asyncio.sleep(0)


async def soon(figure: Awaitable[int]) -> int:
    async with asyncio.timeout(WITHIN_S):
        return await figure


async def test_one_organisations_slow_figure_holds_up_no_other(
    volumes: ModelVolumes, books: Books, locked: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    await call(books, 5)
    await call(books, 7, org_id=OTHER_ORG)
    async with asyncio.TaskGroup() as asking:
        slow = [asking.create_task(volumes.tokens(ORG, BOTH, "m")) for _ in range(20)]
        await waiting_for_locks(owner, 1)  # one for all twenty
        assert await soon(volumes.tokens(OTHER_ORG, BOTH, "m")) == 7
        assert await soon(volumes.tokens(ORG, BOTH, "first")) == 0  # it is known
        assert not any(task.done() for task in slow)
        await locked.close()
    assert {task.result() for task in slow} == {5}
    assert volumes._turns == {}


async def test_a_figure_that_could_not_be_read_is_no_queue_of_failures(
    volumes: ModelVolumes, books: Books, locked: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    asked = asyncio.gather(*(volumes.tokens(ORG, BOTH, "m") for _ in range(5)), return_exceptions=True)
    [process] = await waiting_for_locks(owner, 1)
    await owner.execute("SELECT pg_cancel_backend($1)", process)
    async with asyncio.timeout(WITHIN_S):
        assert [type(error) for error in await asked] == 5 * [LedgerUnavailable]
    await locked.close()
    assert await volumes.tokens(ORG, BOTH, "m") == 0


async def test_whoever_leaves_while_reading_lets_the_next_one_read(
    volumes: ModelVolumes, books: Books, locked: asyncpg.Connection, owner: asyncpg.Connection
) -> None:
    first = asyncio.create_task(volumes.tokens(ORG, BOTH, "m"))
    await waiting_for_locks(owner, 1)
    second = asyncio.create_task(volumes.tokens(ORG, BOTH, "m"))
    first.cancel()
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], asyncio.CancelledError)
    await waiting_for_locks(owner, 1)
    await locked.close()
    assert await soon(second) == 0


async def test_no_more_wait_than_may(
    volumes: ModelVolumes,
    books: Books,
    locked: asyncpg.Connection,
    owner: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_volume, "WAITING_MAX", 2)
    monkeypatch.setattr(model_volume, "ORGS_MAX", 1)
    asked = [asyncio.create_task(volumes.tokens(ORG, BOTH, "m")) for _ in range(2)]
    await waiting_for_locks(owner, 1)
    for org_id in (ORG, OTHER_ORG):
        with pytest.raises(LedgerUnavailable, match="Too many"):
            await volumes.tokens(org_id, BOTH, "m")
    await locked.close()
    assert await asyncio.gather(*asked) == [0, 0]
    assert await volumes.tokens(OTHER_ORG, BOTH, "m") == 0
