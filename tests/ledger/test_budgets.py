"""Budgets are checked in the reservation's own step, all or nothing, and count what calls really cost."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import InvalidRequest, NotFound
from gateway.ledger.budgets import Budget, BudgetState
from gateway.ledger.calls import Held, Refusal, RefusalReason
from tests.ledger.conftest import Bench, StartLedger, no_deadlock
from tests.ledger.desk import ANNA


async def cap(bench: Bench, scope: str, scope_id: str = "", **changes: object) -> Budget:
    fields: dict[str, object] = {"period": "month", "max_ucr": 100} | changes
    budget = Budget(budget_id=bench.ids.next(), org_id=bench.org_id, scope=scope, scope_id=scope_id, **fields)  # type: ignore[arg-type]
    return await bench.ledger.set_budget(budget, by=ANNA)


async def state(bench: Bench) -> BudgetState:
    [only] = await bench.ledger.budgets(bench.org_id)
    return only


async def figures(bench: Bench) -> tuple[int, int, int]:
    """Used, held, open."""
    budget = await state(bench)
    return budget.used_ucr, budget.held_ucr, budget.open_count


async def test_a_call_is_held_in_its_budget_until_it_ends_and_then_counts_what_it_cost(bench: Bench) -> None:
    await bench.grant(1_000)
    await cap(bench, "org")
    first = await bench.held(60)
    assert await figures(bench) == (0, 60, 1)
    await bench.settle(bench.ending(first, 25))
    assert await figures(bench) == (25, 0, 0)
    await bench.settle(bench.release(await bench.held(75)))
    assert await figures(bench) == (25, 0, 0)


@pytest.mark.parametrize(
    ("scope", "field"), [("key", "key_id"), ("user", "user_id"), ("model", "model"), ("feature", "feature")]
)
async def test_a_budget_counts_the_calls_of_its_scope_alone(bench: Bench, scope: str, field: str) -> None:
    await bench.grant(1_000)
    mine: object = bench.ids.next() if field.endswith("_id") else "mine"
    await cap(bench, scope, str(mine))
    await bench.held(100)
    await bench.held(100, **{field: mine})
    refusal = await bench.refused(1, **{field: mine})
    assert (refusal.reason, refusal.budget_scope) == (RefusalReason.BUSY, scope)
    assert await figures(bench) == (0, 100, 1)


async def test_what_was_used_is_gone_until_the_period_ends(bench: Bench) -> None:
    await bench.grant(1_000)
    await cap(bench, "org")
    await bench.settle(bench.ending(await bench.held(80), 80))
    refusal = await bench.refused(21)
    assert (refusal.reason, refusal.available_ucr, refusal.budget_scope) == (RefusalReason.BUDGET, 20, "org")
    assert refusal.resets_at == (await state(bench)).resets_at
    await bench.held(20)


async def test_the_tightest_of_several_budgets_decides_and_nothing_is_held_in_the_others(bench: Bench) -> None:
    """P5: a refused reservation changes nothing."""
    await bench.grant(1_000)
    key = bench.ids.next()
    await cap(bench, "org", max_ucr=500)
    await cap(bench, "key", str(key), max_ucr=50)
    await cap(bench, "key", str(key), period="day", max_ucr=40)
    assert (await bench.refused(45, key_id=key)).reason is RefusalReason.BUDGET
    assert [(b.held_ucr, b.open_count) for b in await bench.ledger.budgets(bench.org_id)] == [(0, 0)] * 3
    await bench.held(40, key_id=key)
    assert [b.held_ucr for b in await bench.ledger.budgets(bench.org_id)] == [40] * 3
    assert (await bench.numbers())[1] == 40


async def test_a_topped_up_call_stays_within_its_budgets(bench: Bench) -> None:
    await bench.grant(1_000)
    await cap(bench, "org")
    wish = await bench.held(60)
    other = await bench.held(30)

    async def extend(ucr: int) -> Held | Refusal:
        return await bench.ledger.extend(id=wish.id, org_id=bench.org_id, account_id=bench.account_id, at_least_ucr=ucr)

    assert isinstance(await extend(70), Held)
    assert await figures(bench) == (0, 100, 2)
    busy = await extend(75)
    assert isinstance(busy, Refusal)
    assert (busy.reason, busy.available_ucr) == (RefusalReason.BUSY, 0)
    await bench.settle(bench.ending(other, 5))
    assert isinstance(await extend(95), Held)
    over = await extend(96)
    assert isinstance(over, Refusal)
    assert over.reason is RefusalReason.BUDGET
    assert await figures(bench) == (5, 95, 1)


async def test_cost_above_a_budget_is_counted_never_refused(bench: Bench) -> None:
    await bench.grant(1_000)
    await cap(bench, "org")
    await bench.settle(bench.ending(await bench.held(90), 150))
    assert await figures(bench) == (150, 0, 0)
    assert (await bench.refused(0)).reason is RefusalReason.BUDGET


async def test_fifty_at_once_on_a_budget_for_one_are_one(bench: Bench) -> None:
    """Case 33, for budgets."""
    await bench.grant(100_000)
    await cap(bench, "org")
    answers = await asyncio.gather(*(bench.ledger.reserve(bench.wish(100)) for _ in range(50)))
    assert sum(isinstance(answer, Held) for answer in answers) == 1
    assert await figures(bench) == (0, 100, 1)


async def test_open_calls_are_limited_and_ended_ones_make_room(bench: Bench) -> None:
    await bench.grant(1_000)
    await cap(bench, "org", period="lifetime", max_ucr=None, open_max=2)
    first = await bench.held(1)
    await bench.held(1)
    refusal = await bench.refused(1)
    assert (refusal.reason, refusal.budget_scope) == (RefusalReason.CONCURRENCY, "org")
    await bench.settle(bench.release(first))
    await bench.held(1)


async def test_two_processes_share_one_concurrency_limit(start_ledger: StartLedger, bench: Bench) -> None:
    """Case 7, for open calls."""
    await bench.grant(100_000)
    await cap(bench, "org", period="lifetime", max_ucr=None, open_max=10)
    other = Bench(await start_ledger(), bench.ids, bench.org_id)
    answers = await asyncio.gather(*(side.ledger.reserve(side.wish(1)) for _ in range(20) for side in (bench, other)))
    assert sum(isinstance(answer, Held) for answer in answers) == 10
    assert (await state(bench)).open_count == 10


async def test_a_dead_owners_call_leaves_its_budgets(bench: Bench) -> None:
    """Case 14: a lease is freed by a crash."""
    await bench.grant(1_000)
    await cap(bench, "org")
    await bench.held(50, prompt_ucr=7)
    await bench.ledger.sweeper.fence_all_others()
    instance = bench.ledger.instances.id
    await bench.ledger._pool.execute("UPDATE fence SET fenced_at = clock_timestamp() WHERE instance_id = $1", instance)
    assert await bench.ledger.sweeper.end_orphans() >= 1
    assert await figures(bench) == (7, 0, 0)


async def move_period(owner: asyncpg.Connection, org_id: UUID, days: int) -> None:
    await owner.execute(
        "UPDATE budget_period SET period_start = period_start - make_interval(days => $2),"
        " period_end = period_end - make_interval(days => $2) WHERE org_id = $1",
        org_id,
        days,
    )


async def test_a_new_period_begins_with_nothing_and_late_endings_book_to_theirs(
    bench: Bench, owner: asyncpg.Connection
) -> None:
    await bench.grant(1_000)
    await cap(bench, "org", period="day")
    old = await bench.held(90)
    await move_period(owner, bench.org_id, 1)
    new = await bench.held(100)
    assert await figures(bench) == (0, 100, 1)
    await bench.settle(bench.ending(old, 90))
    assert await figures(bench) == (0, 100, 1)
    await bench.settle(bench.ending(new, 100))
    assert await figures(bench) == (100, 0, 0)
    used = await owner.fetch("SELECT used_ucr FROM budget_period WHERE org_id = $1 ORDER BY period_start", bench.org_id)
    assert [row["used_ucr"] for row in used] == [90, 100]


@pytest.mark.parametrize(
    ("period", "zone", "at", "start", "end"),
    [
        ("day", "UTC", "2026-03-29 23:30Z", "2026-03-29 00:00Z", "2026-03-30 00:00Z"),
        # The day on which Berlin's clocks go forward has 23 hours.
        ("day", "Europe/Berlin", "2026-03-29 12:00Z", "2026-03-28 23:00Z", "2026-03-29 22:00Z"),
        ("week", "America/New_York", "2026-11-26 12:00Z", "2026-11-23 05:00Z", "2026-11-30 05:00Z"),
        ("month", "Asia/Kolkata", "2026-01-31 20:00Z", "2026-01-31 18:30Z", "2026-02-28 18:30Z"),
    ],
)
async def test_periods_are_those_of_the_organisations_calendar(
    pool: asyncpg.Pool, period: str, zone: str, at: str, start: str, end: str
) -> None:
    row = await pool.fetchrow(
        "SELECT period_start($1, $3::text::timestamptz, $2) = $4::text::timestamptz,"
        " period_end($1, $3::text::timestamptz, $2) = $5::text::timestamptz",
        period,
        zone,
        at,
        start,
        end,
    )
    assert tuple(row or ()) == (True, True)


async def test_a_changed_zone_leaves_no_gap_and_no_instant_twice(bench: Bench, owner: asyncpg.Connection) -> None:
    await bench.grant(1_000)
    await cap(bench, "org", period="day")
    await bench.held(1)
    await owner.execute("INSERT INTO credit_policy (org_id, time_zone) VALUES ($1, 'Asia/Tokyo')", bench.org_id)
    await move_period(owner, bench.org_id, 1)
    await bench.held(1)
    periods = await owner.fetch(
        "SELECT period_start, period_end FROM budget_period WHERE org_id = $1 ORDER BY period_start", bench.org_id
    )
    assert periods[0]["period_end"] <= periods[1]["period_start"]


async def test_a_changed_maximum_counts_from_the_next_reservation_on(bench: Bench) -> None:
    await bench.grant(1_000)
    first = await cap(bench, "org")
    assert isinstance(await bench.refused(200), Refusal)
    again = await cap(bench, "org", max_ucr=500)
    assert again.budget_id == first.budget_id
    await bench.held(200)


async def test_a_removed_budget_limits_nothing_and_its_open_calls_end(bench: Bench) -> None:
    await bench.grant(1_000)
    budget = await cap(bench, "org")
    wish = await bench.held(100)
    await bench.ledger.remove_budget(bench.org_id, budget.budget_id, by=ANNA)
    await bench.held(500)
    await bench.settle(bench.ending(wish, 100))
    with pytest.raises(NotFound):
        await bench.ledger.remove_budget(bench.org_id, budget.budget_id, by=ANNA)


async def test_what_a_budget_passes_is_told_once(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(1_000)
    await cap(bench, "org", alert_percents=(50, 100))

    async def told() -> list[int]:
        rows = await pool.fetch(
            "SELECT (payload ->> 'percent')::int AS percent FROM outbox"
            " WHERE org_id = $1 AND topic = 'budget_crossed' ORDER BY id, 1",
            bench.org_id,
        )
        return [row["percent"] for row in rows]

    for cost, expected in ((49, []), (1, [50]), (20, [50]), (30, [50, 100])):
        await bench.settle(bench.ending(await bench.held(cost), cost))
        assert await told() == expected


async def test_processes_that_meet_in_budgets_do_not_deadlock(start_ledger: StartLedger, bench: Bench) -> None:
    await bench.grant(1_000_000)
    keys = [bench.ids.next() for _ in range(4)]
    for key in keys:
        await cap(bench, "key", str(key), max_ucr=100_000)
    other = Bench(await start_ledger(), bench.ids, bench.org_id)

    async def caller(side: Bench, number: int) -> None:
        for turn in range(15):
            wish = side.wish(10, key_id=keys[(number + turn) % 4])
            assert isinstance(await side.ledger.reserve(wish), Held)
            side.ledger.settle(side.ending(wish, 3))

    with no_deadlock():
        await asyncio.gather(*(caller(side, number) for side in (bench, other) for number in range(8)))
        assert await bench.ledger.settled(bench.org_id)
        assert await other.ledger.settled(bench.org_id)
    assert sum(b.used_ucr for b in await bench.ledger.budgets(bench.org_id)) == 2 * 8 * 15 * 3


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"scope": "org", "scope_id": "x"}, "scope_id"),
        ({"scope": "key"}, "scope_id"),
        ({"scope": "model", "scope_id": "m\0"}, "scope_id"),
        ({"scope": "org", "max_ucr": None}, "max"),
        ({"scope": "org", "max_ucr": -1}, "max"),
        ({"scope": "org", "open_max": 5}, "open_max"),
        ({"scope": "org", "open_max": -1, "period": "lifetime"}, "open_max"),
        ({"scope": "org", "alert_percents": (0,)}, "alert_percents"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused_by_field(
    bench: Bench, changes: dict[str, object], param: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        await cap(bench, **changes)  # type: ignore[arg-type]
    assert error.value.param == param
    assert await bench.ledger.budgets(bench.org_id) == []
