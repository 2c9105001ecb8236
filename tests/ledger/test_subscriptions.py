"""Plans change, each change once, and nobody gains by it; credit lines are billed for what was used; refusals."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.origin import Origin
from gateway.core.units import UCR_MAX
from gateway.ledger.plans import Plan
from gateway.ops.ids import IdSource
from tests.ledger.conftest import Bench, open_bench
from tests.ledger.desk import ANNA
from tests.ledger.subscribing import (
    LARGE,
    LINE,
    ROLLING,
    SMALL,
    age,
    change,
    end_period,
    middle,
    rows,
    subscribe,
)

# --- changes --------------------------------------------------------------------------------------------------------


async def test_a_prorated_change_exchanges_the_time_that_is_left(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench)
    await middle(owner, bench)
    await change(bench, LARGE)
    assert (await rows(bench))[1:] == [("GRANT", 499), ("VOID", -50)]
    assert await bench.numbers() == (549, 0, 0)
    back = await change(bench, SMALL)
    assert await bench.numbers() == (98, 0, 0)  # what rounding took, twice
    assert back.owed_ucr == 0


async def test_whoever_uses_the_larger_plan_up_and_changes_back_gains_nothing(
    bench: Bench, owner: asyncpg.Connection
) -> None:
    await subscribe(bench)
    await middle(owner, bench)
    for _ in range(5):
        await change(bench, LARGE)
        available = (await bench.numbers())[0]
        if available:
            await bench.settle(bench.ending(await bench.held(available), available))
        owing = await change(bench, SMALL)
    # 549 were given once; the time on both plans earned not even 100 of them.
    assert await bench.numbers() == (0, 0, 0)
    assert 445 <= owing.owed_ucr <= 465
    await end_period(owner, bench)
    assert await bench.numbers() == (0, 0, 0)
    current = await bench.ledger.subscriptions.current(bench.org_id, bench.account_id)
    assert current is not None
    assert current.owed_ucr == owing.owed_ucr - 100


async def test_a_change_without_proration_is_for_the_whole_period(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench)
    await bench.settle(bench.ending(await bench.held(30), 30))
    await middle(owner, bench)
    await change(bench, LARGE, prorate=False)
    assert await bench.numbers() == (970, 0, 0)
    await change(bench, SMALL, prorate=False)
    assert await bench.numbers() == (70, 0, 0)


async def test_a_change_at_the_periods_end_moves_nothing_before(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench)
    waiting = await change(bench, LARGE, when="period_end")
    assert (waiting.plan, waiting.next_plan) == (SMALL, LARGE)
    assert await bench.numbers() == (100, 0, 0)
    await end_period(owner, bench)
    assert await bench.numbers() == (1_000, 0, 0)
    await change(bench, SMALL, when="period_end")
    dropped = await change(bench, LARGE, when="period_end")
    assert (dropped.plan, dropped.next_plan) == (LARGE, None)


async def test_a_plan_with_another_period_begins_one_now(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench)
    await middle(owner, bench)
    yearly = await change(bench, Plan(id="yearly", name="Yearly", amount_ucr=500, period="year"))
    assert yearly.period_end - yearly.period_start >= timedelta(days=365)
    assert await bench.numbers() == (550, 0, 0)  # half of the old one was earned
    await age(owner, bench, timedelta(days=16))
    assert await bench.numbers() == (500, 0, 0)


async def test_what_went_over_is_earned_and_stays(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench, ROLLING)
    await end_period(owner, bench)
    await change(bench, msgspec.structs.replace(LARGE, priority=10), prorate=False)
    await bench.settle(bench.ending(await bench.held(1_000), 1_000))
    owing = await change(bench, SMALL, prorate=False)
    assert await bench.numbers() == (30, 0, 0)
    assert owing.owed_ucr == 900


async def test_what_open_calls_hold_is_not_taken_by_a_change(bench: Bench) -> None:
    await subscribe(bench, LARGE)
    call = await bench.held(900)
    owing = await change(bench, SMALL, prorate=False)
    assert await bench.numbers() == (900, 900, 0)
    assert owing.owed_ucr == 800
    await bench.settle(bench.ending(call, 900))
    assert await bench.numbers() == (0, 0, 0)


async def test_a_cancellation_ends_with_the_period_unless_it_is_taken_back(
    bench: Bench, owner: asyncpg.Connection
) -> None:
    subscriptions = bench.ledger.subscriptions
    made = await subscribe(bench, ROLLING)
    ids = [bench.ids.next() for _ in range(4)]
    assert (await subscriptions.cancel(bench.org_id, bench.account_id, operation_id=ids[0], by=ANNA)).cancels
    assert not (await subscriptions.resume(bench.org_id, bench.account_id, operation_id=ids[1], by=ANNA)).cancels
    await end_period(owner, bench)
    assert await bench.numbers() == (130, 0, 0)
    await subscriptions.cancel(bench.org_id, bench.account_id, operation_id=ids[2], by=ANNA)
    await end_period(owner, bench)
    assert await bench.numbers() == (0, 0, 0)
    assert await subscriptions.current(bench.org_id, bench.account_id) is None
    with pytest.raises(NotFound):
        await subscriptions.resume(bench.org_id, bench.account_id, operation_id=ids[3], by=ANNA)
    assert (await subscribe(bench)).id != made.id


async def test_cancelled_now_it_leaves_only_what_open_calls_hold(bench: Bench) -> None:
    await subscribe(bench)
    call = await bench.held(40)
    ended = await bench.ledger.subscriptions.cancel(
        bench.org_id, bench.account_id, operation_id=bench.ids.next(), when="now", by=ANNA
    )
    assert ended.ended_at is not None
    assert await bench.numbers() == (40, 40, 0)
    await bench.settle(bench.ending(call, 10))
    assert await bench.numbers() == (0, 0, 0)


async def test_each_change_is_made_once_and_answers_alike(bench: Bench) -> None:
    subscriptions, org, account = bench.ledger.subscriptions, bench.org_id, bench.account_id
    first, second, third = (bench.ids.next() for _ in range(3))
    made = await subscriptions.subscribe(org, account, SMALL, operation_id=first, by=ANNA)
    changed = await subscriptions.change(org, account, LARGE, operation_id=second, by=ANNA)
    cancelled = await subscriptions.cancel(org, account, operation_id=third, by=ANNA)
    before = await rows(bench)
    assert await subscriptions.subscribe(org, account, SMALL, operation_id=first, by=ANNA) == msgspec.structs.replace(
        made, repeated=True
    )
    assert await subscriptions.change(org, account, LARGE, operation_id=second, by=ANNA) == msgspec.structs.replace(
        changed, repeated=True
    )
    assert (await subscriptions.cancel(org, account, operation_id=third, by=ANNA)).period_end == cancelled.period_end
    with pytest.raises(Conflict, match="id came before with another request; nothing was changed"):
        await subscriptions.change(org, account, SMALL, operation_id=second, by=ANNA)
    assert await rows(bench) == before


async def test_of_many_who_subscribe_at_once_one_does(bench: Bench, ids: IdSource, pool: asyncpg.Pool) -> None:
    for _ in range(20):
        one = await open_bench(bench.ledger, ids, pool)
        answers = await asyncio.gather(*(subscribe(one) for _ in range(4)), return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 3 + ["Subscription"]
        assert await one.numbers() == (100, 0, 0)


async def test_the_same_subscribe_at_once_is_one(bench: Bench, ids: IdSource, pool: asyncpg.Pool) -> None:
    for _ in range(20):
        one, operation_id = await open_bench(bench.ledger, ids, pool), ids.next()
        answers = await asyncio.gather(
            *(
                bench.ledger.subscriptions.subscribe(one.org_id, one.org_id, SMALL, operation_id=operation_id, by=ANNA)
                for _ in range(4)
            )
        )
        assert sorted(answer.repeated for answer in answers) == [False, True, True, True]
        assert await one.numbers() == (100, 0, 0)


# --- credit lines ---------------------------------------------------------------------------------------------------


async def test_a_credit_line_is_used_last_and_what_was_used_is_billed(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench, LINE)
    await bench.grant(20)
    call = await bench.held(30)
    await bench.settle(bench.ending(call, 30))
    [used] = await bench.ledger.subscriptions.credit_line_used(bench.org_id, bench.account_id)
    assert (used.used_ucr, used.final) == (10, False)
    open_call = await bench.held(40)
    assert (await bench.refused(1)).available_ucr == 0
    await end_period(owner, bench)
    now, last = await bench.ledger.subscriptions.credit_line_used(bench.org_id, bench.account_id)
    assert (now.used_ucr, last.used_ucr, last.final) == (0, 10, False)
    await bench.settle(bench.ending(open_call, 25))
    now, last = await bench.ledger.subscriptions.credit_line_used(bench.org_id, bench.account_id)
    assert (now.used_ucr, last.used_ucr, last.final) == (0, 35, True)
    assert await bench.numbers() == (50, 0, 0)  # nothing of it goes over


async def test_a_credit_lines_limit_changes_by_what_it_was(bench: Bench) -> None:
    half = msgspec.structs.replace(LINE, credit_line_ucr=25)
    await subscribe(bench, LINE)
    await bench.settle(bench.ending(await bench.held(40), 40))
    for _ in range(3):
        await change(bench, half)
        assert await bench.numbers() == (0, 0, 0)
        await change(bench, LINE)
        assert await bench.numbers() == (10, 0, 0)
    [used] = await bench.ledger.subscriptions.credit_line_used(bench.org_id, bench.account_id)
    assert used.used_ucr == 40


# --- what is refused ------------------------------------------------------------------------------------------------


async def test_refusals_say_so_and_change_nothing(bench: Bench, owner: asyncpg.Connection) -> None:
    subscriptions, org = bench.ledger.subscriptions, bench.org_id
    for what in (subscriptions.cancel, subscriptions.resume):
        with pytest.raises(NotFound, match="nothing was changed"):
            await what(org, org, operation_id=bench.ids.next(), by=ANNA)
    with pytest.raises(NotFound, match="no subscription"):
        await change(bench, SMALL)
    with pytest.raises(NotFound, match="no such account"):
        await subscriptions.subscribe(org, bench.ids.next(), SMALL, operation_id=bench.ids.next(), by=ANNA)
    await subscribe(bench)
    with pytest.raises(Conflict, match="Change its plan instead"):
        await subscribe(bench, LARGE)
    with pytest.raises(Conflict, match="not cancelled"):
        await subscriptions.resume(org, org, operation_id=bench.ids.next(), by=ANNA)
    assert await bench.numbers() == (100, 0, 0)


async def test_a_closed_account_takes_no_subscription(bench: Bench, owner: asyncpg.Connection) -> None:
    await owner.execute("UPDATE account SET status = 'closed' WHERE org_id = $1", bench.org_id)
    with pytest.raises(Conflict, match="closed; nothing"):
        await subscribe(bench)


@pytest.mark.parametrize(
    "terms",
    [
        {"amount_ucr": -1},
        {"amount_ucr": UCR_MAX + 1},
        {"amount_ucr": 0},
        {"rollover_min_ucr": 1},
        {"priority": -1},
        {"priority": 40_000},
        {"credit_line_ucr": -1},
    ],
)
async def test_terms_that_make_no_sense_are_refused(bench: Bench, terms: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest):
        await subscribe(bench, msgspec.structs.replace(SMALL, **terms))
    assert await bench.numbers() == (0, 0, 0)


async def test_an_anchor_far_away_an_odd_actor_and_too_much_are_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match="anchor"):
        await subscribe(bench, anchor_at=datetime.now(UTC) + timedelta(days=500))
    with pytest.raises(InvalidRequest, match="actor"):
        await subscribe(bench, by=Origin(actor="a\x00"))
    await bench.grant(UCR_MAX - 50)
    with pytest.raises(InvalidRequest, match="largest"):
        await subscribe(bench)
    assert await bench.numbers() == (UCR_MAX - 50, 0, 0)
