"""Periods follow each other, each once, whoever looks and however late, on the clocks of any time zone."""

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.ledger.accounts import bring_up_to_date
from gateway.ops.ids import IdSource
from tests.ledger.conftest import Bench, StartLedger, open_bench
from tests.ledger.subscribing import LARGE, ROLLING, SMALL, age, end_period, rows, subscribe
from tests.simulation.subscription_model import boundary

ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Asia/Kathmandu"]
"""Ordinary ones, odd ones, and one that lost a day: all of them with rules that have been the same for long."""


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
        with capture_logs() as logs:
            await asyncio.gather(*(ledger.upkeep.post_due() for ledger in (bench.ledger, other) for _ in range(2)))
        assert logs == []  # each waits for the other, and nobody falls into the net
        assert await bench.numbers() == (100, 0, 0)
        grants = "SELECT count(*) FROM credit_grant WHERE org_id = $1"
        assert await pool.fetchval(grants, bench.org_id) == 1 + round
        resets = "SELECT count(*) FROM outbox WHERE org_id = $1 AND topic = 'plan_reset'"
        assert await pool.fetchval(resets, bench.org_id) == round


async def test_a_periods_grant_cannot_be_made_twice_whatever_the_code_does(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool, ids: IdSource
) -> None:
    other = await open_bench(bench.ledger, ids, pool)
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
        await bring_up_to_date(pool, bench.org_id)
    # One account that cannot be posted stops no other.
    await subscribe(other)
    await end_period(owner, other)
    await bench.ledger.upkeep.post_due()
    assert await pool.fetchval("SELECT count(*) FROM credit_grant WHERE org_id = $1", other.org_id) == 2
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
