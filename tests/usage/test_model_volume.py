"""What an organisation has used of a model in its month: of settled calls, by its own clock, read lately."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
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
