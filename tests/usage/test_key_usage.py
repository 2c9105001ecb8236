"""What a key used is the sum of its ledger rows, whenever and however often somebody asks."""

import asyncio
from datetime import UTC, datetime

import asyncpg
import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.usage import key_usage
from gateway.usage.key_usage import KeyUsage, Used
from tests.postgres.outage import Outage
from tests.usage.rows import KEY, ORG, OTHER_KEY, OTHER_ORG, Books

NOW = datetime(2026, 11, 19, 12, tzinfo=UTC)  # A Thursday.


async def used(pool: asyncpg.Pool, key_id: object = KEY, now: datetime = NOW) -> Used:
    return await KeyUsage(pool).of(org_id=ORG, user_id=None, key_id=key_id, now=now)  # type: ignore[arg-type]


async def test_a_key_that_was_never_used_used_nothing(pool: asyncpg.Pool, books: Books) -> None:
    assert await used(pool) == Used(total_ucr=0, day_ucr=0, week_ucr=0, month_ucr=0)


async def test_periods_are_calendar_periods_in_utc(pool: asyncpg.Pool, books: Books) -> None:
    for amount, at in (
        (1, datetime(2026, 11, 19, 0, 0, tzinfo=UTC)),
        (10, datetime(2026, 11, 18, 23, 59, 59, tzinfo=UTC)),
        (100, datetime(2026, 11, 16, 0, 0, tzinfo=UTC)),
        (1_000, datetime(2026, 11, 15, 23, 59, 59, tzinfo=UTC)),
        (10_000, datetime(2026, 11, 1, 0, 0, tzinfo=UTC)),
        (100_000, datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)),
    ):
        await books.ended(used_ucr=amount, created_at=at)
    assert await used(pool) == Used(day_ucr=1, week_ucr=111, month_ucr=11_111, total_ucr=111_111)


async def test_overage_counts_and_a_refund_is_taken_off(pool: asyncpg.Pool, books: Books) -> None:
    await books.ended(used_ucr=10, numerator=17_000_000, overage_ucr=5, waived_ucr=2)
    await books.ended(used_ucr=4, kind="LATE_CHARGE")
    await books.ended(used_ucr=3, kind="REFUND")
    assert (await used(pool)).total_ucr == 10 + 5 + 4 - 3


async def test_grants_and_other_keys_and_orgs_do_not_count(pool: asyncpg.Pool, books: Books) -> None:
    await books.open(OTHER_ORG)
    await books.ended(used_ucr=1)
    await books.ended(used_ucr=2, key_id=OTHER_KEY)
    await books.ended(used_ucr=4, org_id=OTHER_ORG)
    await books.ended(used_ucr=8, key_id=None)
    assert (await used(pool)).total_ucr == 1
    assert (await used(pool, OTHER_KEY)).total_ucr == 2


async def test_asking_again_counts_nothing_twice_and_misses_nothing(
    pool: asyncpg.Pool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_usage, "_VERSIONS_AT_ONCE", 3)
    total = 0
    for amount in range(1, 11):
        await books.ended(used_ucr=amount)
        total += amount
        if amount % 4 == 0:
            assert (await used(pool)).total_ucr == total
    assert {(await used(pool)).total_ucr for _ in range(3)} == {total}


async def test_asking_at_the_same_time_counts_nothing_twice(pool: asyncpg.Pool, books: Books) -> None:
    for _ in range(20):
        await books.ended(used_ucr=1)
    answers = await asyncio.gather(*(used(pool) for _ in range(8)))
    assert {answer.total_ucr for answer in answers} == {20}


async def test_an_outage_is_said_to_be_one(pool: asyncpg.Pool, books: Books, outage: Outage) -> None:
    await outage.begin()
    with pytest.raises(LedgerUnavailable):
        await used(pool)
