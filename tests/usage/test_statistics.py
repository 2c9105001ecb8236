"""Statistics are sums of ledger rows, whenever and however often somebody asks."""

import asyncio
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.usage import statistics
from gateway.usage.statistics import NOTHING, Group, GroupBy, Slice, Statistics
from gateway.usage.transactions import first_id_from
from tests.usage.rows import KEY, ORG, OTHER_KEY, OTHER_ORG, Books

USER = UUID(int=77)
WHOLE = Slice(first_day=date(2026, 11, 1), end_day=date(2026, 12, 1))
_numbers = iter(range(1, 1_000))


def began(day: int, hour: int = 0, minute: int = 0) -> UUID:
    """The id of what began then, in November 2026."""
    return UUID(int=first_id_from(datetime(2026, 11, day, hour, minute, tzinfo=UTC)).int + next(_numbers))


async def groups(pool: asyncpg.Pool, by: GroupBy = GroupBy.DAY, slice: Slice = WHOLE, **more: Any) -> list[Group]:
    return (await Statistics(pool).groups(ORG, slice, by, limit=more.pop("limit", 100)))[0]


async def total(pool: asyncpg.Pool, **slice: Any) -> Group:
    return (await Statistics(pool).groups(ORG, msgspec.structs.replace(WHOLE, **slice), GroupBy.DAY, limit=1))[1]


async def test_nothing_used_is_nothing(pool: asyncpg.Pool, books: Books) -> None:
    assert await Statistics(pool).groups(ORG, WHOLE, GroupBy.MODEL, limit=10) == ([], NOTHING)


async def test_a_group_sums_calls_tokens_and_costs(pool: asyncpg.Pool, books: Books) -> None:
    await books.ended(
        used_ucr=10, id=began(2), numerator=17_000_000, overage_ucr=5, waived_ucr=2, prompt_tokens=100,
        cached_tokens=40, output_tokens=50, reasoning_tokens=20,
    )  # fmt: skip
    await books.ended(used_ucr=4, id=began(2), prompt_tokens=1, output_tokens=2)
    await books.ended(used_ucr=0, id=began(2), kind="RELEASE", ended="error")
    assert await groups(pool) == [
        Group(
            name="2026-11-02",
            calls=3,
            failed=1,
            prompt_tokens=101,
            cached_tokens=40,
            output_tokens=52,
            reasoning_tokens=20,
            cost_ucr=21,
            charged_ucr=14,
            overage_ucr=5,
            waived_ucr=2,
            refunded_ucr=0,
        )
    ]


async def test_a_late_correction_is_of_the_call_and_a_refund_by_hand_stands_apart(
    pool: asyncpg.Pool, books: Books
) -> None:
    await books.ended(used_ucr=10, id=began(2), ended="recovered")
    await books.ended(used_ucr=7, id=began(2), kind="LATE_CHARGE", ended="ok", output_tokens=9)
    await books.ended(used_ucr=20, id=began(3), ended="recovered")
    await books.ended(used_ucr=5, id=began(3), kind="REFUND", ended="ok", waived_ucr=3, numerator=1)
    await books.ended(used_ucr=6, id=began(4), kind="REFUND")
    sums = [(day.calls, day.cost_ucr, day.charged_ucr, day.waived_ucr, day.refunded_ucr) for day in await groups(pool)]
    assert sums == [(1, 17, 17, 0, 0), (1, 12, 15, -3, 0), (0, 0, 0, 0, 6)]


async def test_groups_go_by_what_is_asked_and_the_dearest_comes_first(pool: asyncpg.Pool, books: Books) -> None:
    await books.open(OTHER_ORG)
    await books.ended(used_ucr=1, id=began(2), model="a", feature="chat")
    await books.ended(used_ucr=2, id=began(3), model="b", key_id=OTHER_KEY, user_id=USER)
    await books.ended(used_ucr=4, id=began(3), model="", key_id=None)
    await books.ended(used_ucr=8, id=began(3), model="a", org_id=OTHER_ORG)

    async def costs(by: GroupBy) -> dict[str | None, int]:
        return {group.name: group.cost_ucr for group in await groups(pool, by)}

    assert list((await costs(GroupBy.DAY)).items()) == [("2026-11-02", 1), ("2026-11-03", 6)]
    assert list((await costs(GroupBy.MODEL)).items()) == [(None, 4), ("b", 2), ("a", 1)]
    assert await costs(GroupBy.KEY) == {None: 4, str(OTHER_KEY): 2, str(KEY): 1}
    assert await costs(GroupBy.USER) == {None: 5, str(USER): 2}
    assert await costs(GroupBy.FEATURE) == {None: 6, "chat": 1}
    assert [group.name for group in await groups(pool, GroupBy.MODEL, limit=2)] == [None, "b"]


async def test_the_total_is_of_all_groups_and_filters_hold_for_it(pool: asyncpg.Pool, books: Books) -> None:
    await books.ended(used_ucr=1, id=began(2), model="a", feature="chat")
    await books.ended(used_ucr=2, id=began(3), model="b", key_id=OTHER_KEY, user_id=USER)
    assert (await total(pool)).cost_ucr == 3
    for filter in ({"model": "b"}, {"key_id": OTHER_KEY}, {"user_id": USER}):
        assert (await total(pool, **filter)).cost_ucr == 2
    assert (await total(pool, feature="chat")).cost_ucr == 1
    assert (await total(pool, first_day=date(2026, 11, 3))).cost_ucr == 2
    assert (await total(pool, end_day=date(2026, 11, 3))).cost_ucr == 1


async def test_a_day_is_one_of_the_organisations_time_zone(
    pool: asyncpg.Pool, books: Books, owner: asyncpg.Connection
) -> None:
    await owner.execute("INSERT INTO credit_policy (org_id, time_zone) VALUES ($1, 'Asia/Kolkata')", ORG)
    await books.ended(used_ucr=1, id=began(2, 18, 29))
    await books.ended(used_ucr=2, id=began(2, 18, 30))
    assert [(day.name, day.cost_ucr) for day in await groups(pool)] == [("2026-11-02", 1), ("2026-11-03", 2)]
    assert await Statistics(pool).today(ORG, datetime(2026, 11, 2, 18, 30, tzinfo=UTC)) == (
        "Asia/Kolkata",
        date(2026, 11, 3),
    )
    # Another zone is for what comes after: the days that were counted stay.
    await owner.execute("UPDATE credit_policy SET time_zone = 'UTC'")
    await books.ended(used_ucr=4, id=began(2, 18, 30))
    assert [(day.name, day.cost_ucr) for day in await groups(pool)] == [("2026-11-02", 5), ("2026-11-03", 2)]


async def test_asking_again_counts_nothing_twice_and_misses_nothing(
    pool: asyncpg.Pool, books: Books, owner: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_VERSIONS_AT_ONCE", 3)
    sum_ucr = 0
    for amount in range(1, 11):
        await books.ended(used_ucr=amount, id=began(2))
        sum_ucr += amount
        if amount % 4 == 0:
            assert (await total(pool)).cost_ucr == sum_ucr
    assert {(await total(pool)).cost_ucr for _ in range(3)} == {sum_ucr}


async def test_asking_at_the_same_time_counts_nothing_twice(pool: asyncpg.Pool, books: Books) -> None:
    for _ in range(20):
        await books.ended(used_ucr=1, id=began(2))
    answers = await asyncio.gather(*(total(pool) for _ in range(8)))
    assert {answer.calls for answer in answers} == {20}


async def test_what_nobody_asks_for_is_rolled_up_too(
    pool: asyncpg.Pool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_ORGS_AT_ONCE", 1)
    await books.open(OTHER_ORG)
    for org_id in (ORG, OTHER_ORG):
        await books.ended(used_ucr=1, id=began(2), org_id=org_id)
    await Statistics(pool).roll_up_all()
    assert await pool.fetchval("SELECT count(*) FROM usage_day") == 2
    await Statistics(pool).roll_up_all()
    assert await pool.fetchval("SELECT sum(calls) FROM usage_day") == 2
