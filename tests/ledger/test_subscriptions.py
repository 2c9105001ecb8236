"""Plans: periods follow each other once, whoever looks and however late; changes, each once; and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.units import UCR_MAX
from gateway.ledger.plans import Plan
from gateway.ledger.subscriptions import Subscription
from gateway.ops.ids import IdSource
from tests.ledger.conftest import Bench, StartLedger, open_bench
from tests.simulation.subscription_model import boundary

SMALL = Plan(id="small", name="Small", amount_ucr=100)
LARGE = Plan(id="large", name="Large", amount_ucr=1_000)
ROLLING = Plan(id="rolling", name="Rolling", amount_ucr=100, rollover_max_ucr=30)
ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kathmandu"]
"""Ordinary ones, odd ones, and one that lost a day: all of them with rules that have been the same for long."""
LINE = Plan(id="line", name="Line", amount_ucr=0, credit_line_ucr=50)


async def subscribe(bench: Bench, plan: Plan = SMALL, **options: object) -> Subscription:
    return await bench.ledger.subscriptions.subscribe(
        bench.org_id,
        bench.account_id,
        plan,
        operation_id=bench.ids.next(),
        **options,  # type: ignore[arg-type]
    )


async def change(bench: Bench, plan: Plan, **options: object) -> Subscription:
    return await bench.ledger.subscriptions.change(
        bench.org_id,
        bench.account_id,
        plan,
        operation_id=bench.ids.next(),
        **options,  # type: ignore[arg-type]
    )


async def age(owner: asyncpg.Connection, bench: Bench, by: timedelta) -> None:
    """As if all that the organisation has had happened so much earlier."""
    for table, columns in {
        "subscription": ("anchor", "period_start", "period_end"),
        "credit_grant": ("effective_at", "expires_at", "period_start"),
        "reservation": ("created_at",),
        "account": ("next_change_at",),
    }.items():
        moved = ", ".join(f"{column} = {column} - $2::interval" for column in columns)
        await owner.execute(f"UPDATE {table} SET {moved} WHERE org_id = $1", bench.org_id, by)


async def end_period(owner: asyncpg.Connection, bench: Bench) -> None:
    """The current period ends at this moment."""
    left = await owner.fetchval("SELECT max(period_end) FROM subscription WHERE org_id = $1", bench.org_id)
    await age(owner, bench, left - await owner.fetchval("SELECT clock_timestamp()"))


async def rows(bench: Bench) -> list[tuple[str, int]]:
    found, _ = await bench.ledger.transactions(bench.org_id, limit=1_000, order_direction="asc")
    return [(row.kind, row.amount_ucr) for row in found]


# --- periods --------------------------------------------------------------------------------------------------------


async def test_a_subscription_brings_its_first_period_at_once(bench: Bench) -> None:
    made = await subscribe(bench)
    assert (made.plan, made.kind, made.cancels, made.next_plan, made.ended_at) == (
        SMALL,
        "subscription",
        False,
        None,
        None,
    )
    assert made.period_start < made.period_end
    assert await bench.numbers() == (100, 0, 0)
    assert await bench.ledger.subscriptions.current(bench.org_id, bench.account_id) == made


async def test_a_call_at_the_boundary_meets_the_new_period_already(bench: Bench, owner: asyncpg.Connection) -> None:
    """Nothing waits for the periodic round: the reservation itself ends the old period and begins the new one."""
    await subscribe(bench)
    await bench.settle(bench.ending(await bench.held(60), 60))
    await end_period(owner, bench)
    await bench.held(100)
    assert (await rows(bench))[-2:] == [("EXPIRY", -40), ("GRANT", 100)]


async def test_what_goes_over_is_moved_and_the_rest_expires(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench, ROLLING)
    await end_period(owner, bench)
    assert await bench.numbers() == (130, 0, 0)
    assert await rows(bench) == [
        ("GRANT", 100),
        ("TRANSFER_OUT", -30),
        ("TRANSFER_IN", 30),
        ("EXPIRY", -70),
        ("GRANT", 100),
    ]
    await bench.settle(bench.ending(await bench.held(20), 20))  # out of the older
    await end_period(owner, bench)
    assert await bench.numbers() == (130, 0, 0)
    await bench.settle(bench.ending(await bench.held(125), 125))
    await end_period(owner, bench)
    assert await bench.numbers() == (105, 0, 0)


async def test_open_calls_keep_the_old_periods_credits_and_burn_them(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench)
    old = await bench.held(80)
    await end_period(owner, bench)
    assert await bench.numbers() == (180, 80, 0)
    await bench.settle(bench.ending(old, 30))
    assert await bench.numbers() == (100, 0, 0)
    assert (await rows(bench))[-2:] == [("CHARGE", -30), ("EXPIRY", -50)]


async def test_two_schedulers_at_once_reset_once(
    bench: Bench, start_ledger: StartLedger, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    other = await start_ledger()
    await subscribe(bench)
    for round in range(1, 21):
        await end_period(owner, bench)
        await asyncio.gather(*(ledger.upkeep.post_due() for ledger in (bench.ledger, other) for _ in range(2)))
        assert await bench.numbers() == (100, 0, 0)
        grants = "SELECT count(*) FROM credit_grant WHERE org_id = $1"
        assert await pool.fetchval(grants, bench.org_id) == 1 + round
        resets = "SELECT count(*) FROM outbox WHERE org_id = $1 AND topic = 'plan_reset'"
        assert await pool.fetchval(resets, bench.org_id) == round


async def test_a_periods_grant_cannot_be_made_twice_whatever_the_code_does(
    bench: Bench, owner: asyncpg.Connection
) -> None:
    await subscribe(bench)
    await end_period(owner, bench)
    await bench.numbers()
    await owner.execute(
        "UPDATE subscription SET period_end = period_start, period_start = period_start - interval '1 month',"
        " periods = periods - 1 WHERE org_id = $1",
        bench.org_id,
    )
    await owner.execute("UPDATE account SET next_change_at = clock_timestamp() WHERE org_id = $1", bench.org_id)
    with pytest.raises(asyncpg.UniqueViolationError, match="credit_grant_of_period"):
        await bench.ledger.upkeep.post_due()
    await owner.execute("DELETE FROM subscription WHERE org_id = $1", bench.org_id)
    await owner.execute("UPDATE account SET next_change_at = NULL WHERE org_id = $1", bench.org_id)


async def test_skipped_months_are_caught_up_one_after_another(bench: Bench, owner: asyncpg.Connection) -> None:
    first = await subscribe(bench, ROLLING)
    await age(owner, bench, timedelta(days=5 * 30.5))
    now = await bench.ledger.subscriptions.current(bench.org_id, bench.account_id)
    assert now is not None
    skipped = (await rows(bench)).count(("EXPIRY", -70)) + (await rows(bench)).count(("EXPIRY", -100))
    assert skipped == (await rows(bench)).count(("GRANT", 100)) - 1 >= 4
    assert await bench.numbers() == (130, 0, 0)
    assert now.period_start <= datetime.now(UTC) < now.period_end
    assert now.id == first.id


async def test_years_of_days_are_caught_up_in_bounded_work(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await subscribe(bench, msgspec.structs.replace(ROLLING, period="day"))
    await age(owner, bench, timedelta(days=3_000))
    await bench.held(130)
    now = await bench.ledger.subscriptions.current(bench.org_id, bench.account_id)
    assert now is not None
    assert now.period_start <= datetime.now(UTC) < now.period_end
    grants = "SELECT count(*) FROM ledger WHERE org_id = $1 AND kind = 'GRANT'"
    assert 395 <= await pool.fetchval(grants, bench.org_id) <= 405


async def test_the_reset_tells_the_outbox_in_the_same_transaction(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    made = await subscribe(bench, ROLLING)
    await end_period(owner, bench)
    await bench.numbers()
    payload = await pool.fetchval("SELECT payload FROM outbox WHERE org_id = $1 AND topic = 'plan_reset'", bench.org_id)
    told = msgspec.json.decode(payload)
    assert (told["subscription_id"], told["plan_id"]) == (str(made.id), "rolling")
    assert (told["granted_ucr"], told["rolled_over_ucr"], told["expired_ucr"]) == (100, 30, 70)


async def test_a_new_period_pays_what_is_owed_first(bench: Bench, owner: asyncpg.Connection) -> None:
    await subscribe(bench)
    await bench.settle(bench.ending(await bench.held(100), 120))
    assert await bench.numbers() == (0, 0, 20)
    await end_period(owner, bench)
    assert await bench.numbers() == (80, 0, 0)


async def test_a_first_period_that_is_a_part_brings_its_share(bench: Bench) -> None:
    anchor_at = datetime.now(UTC) + timedelta(days=10)
    made = await subscribe(bench, msgspec.structs.replace(LARGE, period="week"), anchor_at=anchor_at)
    assert abs(made.period_end - (anchor_at - timedelta(days=7))) < timedelta(milliseconds=1)
    assert (await bench.numbers())[0] == 1_000 * 3 // 7


@given(
    anchor=st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),
    period=st.sampled_from(["day", "week", "month", "year"]),
    zone=st.sampled_from(ZONES),
    n=st.integers(-20, 60),
)
def test_a_period_begins_at_the_anchors_time_of_the_wall(anchor: datetime, period: str, zone: str, n: int) -> None:
    at = boundary(anchor, period, n, ZoneInfo(zone)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    assert timedelta(0) <= at - boundary(anchor, period, n, ZoneInfo("UTC")).replace(tzinfo=None) <= timedelta(days=1)


async def test_postgres_has_the_same_boundaries_in_every_zone(pool: asyncpg.Pool) -> None:
    """The 31st comes back after February, hours that a zone skips or has twice are the same, wherever."""
    anchors = [
        datetime(2024, 1, 31, 2, 30),
        datetime(2020, 2, 29),
        datetime(2011, 11, 30, 12),
        datetime(2026, 10, 25, 2, 15),
    ]
    periods = ["day", "week", "month", "year"]
    cases = [
        (anchor, period, n, zone)
        for zone in ZONES
        for anchor in anchors
        for period in periods
        for n in (0, 1, 2, 13, 30, 54)
    ]
    found = await pool.fetch(
        """
        SELECT period_boundary(a, p, n, z) AS at
          FROM unnest($1::timestamp[], $2::text[], $3::integer[], $4::text[]) WITH ORDINALITY AS u (a, p, n, z, i)
         ORDER BY i
        """,
        *map(list, zip(*cases, strict=True)),
    )
    wrong = [
        case for case, row in zip(cases, found, strict=True) if row["at"] != boundary(*case[:3], ZoneInfo(case[3]))
    ]
    assert wrong == []
    at = [boundary(anchors[0], "month", n, ZoneInfo("UTC")).day for n in range(6)]
    assert at == [31, 29, 31, 30, 31, 30]


async def test_a_day_that_a_zone_skips_is_no_period(pool: asyncpg.Pool) -> None:
    """Samoa had no 30 December 2011."""
    found = await pool.fetch(
        """
        SELECT (next_boundary(a, 'day', z, period_boundary(a, 'day', n, z), n)).n
          FROM generate_series(0, 2) AS n, (VALUES ('2011-12-29 12:00'::timestamp, 'Pacific/Apia')) AS v (a, z)
        """
    )
    assert [row["n"] for row in found] == [1, 3, 3]


# --- changes --------------------------------------------------------------------------------------------------------


async def middle(owner: asyncpg.Connection, bench: Bench) -> None:
    """Half of the period is left, but for the moments that the test takes."""
    await owner.execute(
        "UPDATE subscription SET period_start = clock_timestamp() - interval '15 days',"
        " period_end = clock_timestamp() + interval '15 days' WHERE org_id = $1",
        bench.org_id,
    )
    await owner.execute(
        "UPDATE credit_grant g SET expires_at = s.period_end, period_start = s.period_start,"
        " effective_at = s.period_start"
        "  FROM subscription s WHERE s.subscription_id = g.subscription_id AND g.org_id = $1",
        bench.org_id,
    )


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
    assert (await subscriptions.cancel(bench.org_id, bench.account_id, operation_id=ids[0])).cancels
    assert not (await subscriptions.resume(bench.org_id, bench.account_id, operation_id=ids[1])).cancels
    await end_period(owner, bench)
    assert await bench.numbers() == (130, 0, 0)
    await subscriptions.cancel(bench.org_id, bench.account_id, operation_id=ids[2])
    await end_period(owner, bench)
    assert await bench.numbers() == (0, 0, 0)
    assert await subscriptions.current(bench.org_id, bench.account_id) is None
    with pytest.raises(NotFound):
        await subscriptions.resume(bench.org_id, bench.account_id, operation_id=ids[3])
    assert (await subscribe(bench)).id != made.id


async def test_cancelled_now_it_leaves_only_what_open_calls_hold(bench: Bench) -> None:
    await subscribe(bench)
    call = await bench.held(40)
    ended = await bench.ledger.subscriptions.cancel(
        bench.org_id, bench.account_id, operation_id=bench.ids.next(), when="now"
    )
    assert ended.ended_at is not None
    assert await bench.numbers() == (40, 40, 0)
    await bench.settle(bench.ending(call, 10))
    assert await bench.numbers() == (0, 0, 0)


async def test_each_change_is_made_once_and_answers_alike(bench: Bench) -> None:
    subscriptions, org, account = bench.ledger.subscriptions, bench.org_id, bench.account_id
    first, second, third = (bench.ids.next() for _ in range(3))
    made = await subscriptions.subscribe(org, account, SMALL, operation_id=first)
    changed = await subscriptions.change(org, account, LARGE, operation_id=second)
    cancelled = await subscriptions.cancel(org, account, operation_id=third)
    before = await rows(bench)
    assert await subscriptions.subscribe(org, account, SMALL, operation_id=first) == msgspec.structs.replace(
        made, repeated=True
    )
    assert await subscriptions.change(org, account, LARGE, operation_id=second) == msgspec.structs.replace(
        changed, repeated=True
    )
    assert (await subscriptions.cancel(org, account, operation_id=third)).period_end == cancelled.period_end
    with pytest.raises(Conflict, match="id came before with another request; nothing was changed"):
        await subscriptions.change(org, account, SMALL, operation_id=second)
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
                bench.ledger.subscriptions.subscribe(one.org_id, one.org_id, SMALL, operation_id=operation_id)
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
            await what(org, org, operation_id=bench.ids.next())
    with pytest.raises(NotFound, match="no subscription"):
        await change(bench, SMALL)
    with pytest.raises(NotFound, match="no such account"):
        await subscriptions.subscribe(org, bench.ids.next(), SMALL, operation_id=bench.ids.next())
    await subscribe(bench)
    with pytest.raises(Conflict, match="Change its plan instead"):
        await subscribe(bench, LARGE)
    with pytest.raises(Conflict, match="not cancelled"):
        await subscriptions.resume(org, org, operation_id=bench.ids.next())
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
        await subscribe(bench, actor="a\x00")
    await bench.grant(UCR_MAX - 50)
    with pytest.raises(InvalidRequest, match="largest"):
        await subscribe(bench)
    assert await bench.numbers() == (UCR_MAX - 50, 0, 0)
