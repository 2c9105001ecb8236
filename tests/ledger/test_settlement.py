"""The end of a call: charged once, whatever comes twice, late, early or with too much (invariants 4, 5 and 6)."""

import asyncio

import asyncpg
import pytest

from gateway.ledger.accounts import open_allocation, set_status
from gateway.ledger.calls import End, Held, Refusal, RefusalReason
from tests.ledger.conftest import Bench, StartLedger, blocked, open_bench


async def kinds(pool: asyncpg.Pool, bench: Bench) -> list[tuple[str, int]]:
    rows = await pool.fetch("SELECT kind, amount_ucr FROM ledger WHERE org_id = $1 ORDER BY version", bench.org_id)
    return [(row["kind"], row["amount_ucr"]) for row in rows]


async def test_the_same_ending_again_changes_nothing(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    ending = bench.ending(await bench.held(50), 30)
    for _ in range(3):
        await bench.settle(ending)
    assert await kinds(pool, bench) == [("GRANT", 100), ("CHARGE", -30)]


async def test_another_amount_for_the_same_call_is_a_conflict_that_changes_nothing(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    await bench.grant(100)
    wish = await bench.held(50)
    await bench.settle(bench.ending(wish, 30))
    await bench.settle(bench.ending(wish, 31))
    await bench.settle(bench.release(wish))
    assert await pool.fetchval("SELECT error FROM quarantine WHERE id = $1", wish.id) == "conflict"
    assert await kinds(pool, bench) == [("GRANT", 100), ("CHARGE", -30)]
    assert await bench.numbers() == (70, 0, 0)


async def test_a_charge_after_a_release_is_a_conflict_that_changes_nothing(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    wish = await bench.held(50)
    await bench.settle(bench.release(wish))
    await bench.settle(bench.ending(wish, 30))
    assert await pool.fetchval("SELECT error FROM quarantine WHERE id = $1", wish.id) == "conflict"
    assert await kinds(pool, bench) == [("GRANT", 100), ("RELEASE", 0)]
    assert await bench.numbers() == (100, 0, 0)


async def test_a_release_that_overtakes_its_reserve_makes_the_reserve_ended(bench: Bench) -> None:
    await bench.grant(100)
    wish = bench.wish(50)
    await bench.settle(bench.release(wish))
    refusal = await bench.ledger.reserve(wish)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is RefusalReason.ENDED
    assert await bench.numbers() == (100, 0, 0)


async def test_reserving_the_same_id_twice_holds_once(bench: Bench) -> None:
    await bench.grant(100)
    wish = bench.wish(50)
    assert isinstance(await bench.ledger.reserve(wish), Held)
    again = await bench.ledger.reserve(wish)
    assert again == Held(account_id=bench.account_id, amount_ucr=50, available_ucr=50)
    assert await bench.numbers() == (100, 50, 0)


async def test_cost_above_the_reservation_takes_what_is_available_and_the_rest_is_owed(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    await bench.grant(100)
    other = await bench.held(30)
    await bench.settle(bench.ending(await bench.held(20), 90))
    assert await bench.numbers() == (30, 30, 20)  # P2: held credits of others are never touched
    assert (await bench.refused(0)).reason is RefusalReason.RECEIVABLE
    await bench.settle(bench.release(other))
    # Invariant 6: what the release freed repaid first.
    assert await bench.numbers() == (10, 0, 0)
    assert await kinds(pool, bench) == [("GRANT", 100), ("CHARGE", -70), ("RELEASE", 0), ("REPAYMENT", -20)]


async def test_what_a_batch_of_endings_frees_repays_too(bench: Bench) -> None:
    await bench.grant(100)
    others = [await bench.held(30) for _ in range(2)]
    await bench.settle(bench.ending(await bench.held(20), 90))
    assert await bench.numbers() == (60, 60, 50)
    await bench.settle(*(bench.release(other) for other in others))
    assert await bench.numbers() == (10, 0, 0)


async def test_every_credit_repays_first(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(10)
    await bench.settle(bench.ending(await bench.held(10), 100))
    assert await bench.numbers() == (0, 0, 90)
    await bench.grant(60)
    assert await bench.numbers() == (0, 0, 30)
    await bench.grant(60)
    assert await bench.numbers() == (30, 0, 0)
    await bench.held(30)


async def test_what_an_account_owes_is_bounded_and_the_rest_is_waived(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    small = await open_bench(await start_ledger(receivable_max_ucr=50), bench.ids, pool)
    await small.grant(10)
    wish = await small.held(10)
    await small.settle(small.ending(wish, 100))
    row = await pool.fetchrow("SELECT charged_ucr(ledger), overage_ucr, waived_ucr FROM ledger WHERE id = $1", wish.id)
    assert row is not None
    assert tuple(row) == (10, 50, 40)  # invariant 5: together the cost


async def test_a_cut_off_waives_what_came_after_the_cut(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    wish = await bench.held(20)
    await bench.settle(bench.ending(wish, 25, end=End.CUT_OFF, waive_above_held=True))
    assert await bench.numbers() == (80, 0, 0)
    assert await pool.fetchval("SELECT waived_ucr FROM ledger WHERE id = $1", wish.id) == 5


async def test_settling_under_another_orgs_account_leaves_the_call_open(
    bench: Bench, ids: object, pool: asyncpg.Pool
) -> None:
    other = await open_bench(bench.ledger, bench.ids, pool)
    await bench.grant(100)
    await other.grant(100)
    wish, others = await bench.held(50), await other.held(60)
    await other.settle(other.ending(wish, 50))
    assert await other.numbers() == (100, 60, 0)
    await other.settle(other.release(others))
    assert await bench.numbers() == (100, 50, 0)
    await bench.settle(bench.ending(wish, 50))
    assert await bench.numbers() == (50, 0, 0)


async def test_settling_on_another_account_of_the_org_is_a_conflict(bench: Bench, pool: asyncpg.Pool) -> None:
    second = bench.ids.next()
    await open_allocation(pool, bench.org_id, second, user_id=second)
    for account_id in (bench.account_id, second):
        await bench.grant(100, account_id=account_id)
    wish = await bench.held(50)
    await bench.held(60, account_ids=(second,))
    await bench.settle(bench.ending(wish, 50, account_id=second))
    assert await bench.numbers() == (200, 110, 0)
    await bench.settle(bench.ending(wish, 40))
    assert await bench.numbers() == (160, 60, 0)


async def test_settlement_ignores_suspension_and_parking(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    first, second = await bench.held(10), await bench.held(10)
    await set_status(pool, bench.org_id, "suspended")
    assert (await bench.refused(1)).reason is RefusalReason.SUSPENDED
    await bench.settle(bench.ending(first, 10))
    await set_status(pool, bench.org_id, "active")
    await pool.execute("UPDATE account SET parked_at = now() WHERE org_id = $1", bench.org_id)
    assert (await bench.refused(1)).reason is RefusalReason.PARKED
    await bench.settle(bench.ending(second, 10))
    assert await bench.numbers() == (80, 0, 0)


@pytest.mark.parametrize("swept_ucr", [0, 10, 30])
@pytest.mark.parametrize("real_ucr", [0, 10, 25, 30, 60, 120])
async def test_after_a_sweep_the_real_cost_posts_the_difference_once(
    bench: Bench, pool: asyncpg.Pool, swept_ucr: int, real_ucr: int
) -> None:
    await bench.grant(100)
    wish = await bench.held(50, prompt_ucr=swept_ucr)
    await sweep(bench)
    assert await bench.numbers() == (100 - swept_ucr, 0, 0)
    ending = bench.ending(wish, real_ucr) if real_ucr else bench.release(wish)
    for _ in range(2):
        await bench.settle(ending)
    assert await bench.numbers() == (max(0, 100 - real_ucr), 0, max(0, real_ucr - 100))
    late = await pool.fetch("SELECT id, kind, amount_ucr FROM ledger WHERE ref_id = $1 AND ended IS NOT NULL", wish.id)
    assert [row["kind"] for row in late] == ["LATE_CHARGE" if real_ucr >= swept_ucr else "REFUND"]
    assert all(row["id"].int >> 80 == wish.id.int >> 80 for row in late)  # the same time, so the same partition
    assert await pool.fetchval("SELECT count(*) FROM quarantine WHERE id = $1", wish.id) == 0
    # Another amount still is a conflict.
    await bench.settle(bench.ending(wish, 77))
    assert await bench.numbers() == (max(0, 100 - real_ucr), 0, max(0, real_ucr - 100))


@pytest.mark.parametrize("count", [1, 5])
async def test_what_a_call_is_tagged_with_stands_in_its_row_and_nothing_where_it_is_not(
    bench: Bench, pool: asyncpg.Pool, count: int
) -> None:
    await bench.grant(1_000)
    wishes = [await bench.held(10) for _ in range(count + 1)]
    for wish in wishes[1:]:
        bench.ledger.settle(bench.ending(wish, 10, tags='["web", "beta"]'))
    await bench.settle(bench.ending(wishes[0], 10))
    rows = await pool.fetch(
        "SELECT tags::text, tags ? 'beta' FROM ledger WHERE org_id = $1 AND ended IS NOT NULL ORDER BY id", bench.org_id
    )
    assert [tuple(row) for row in rows] == [(None, None)] + count * [('["web", "beta"]', True)]


async def test_a_swept_call_has_lost_its_tags_and_its_correction_has_them(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    wish = await bench.held(50, prompt_ucr=10, feature="chat")
    await sweep(bench)
    await bench.settle(bench.ending(wish, 30, feature="chat", tags='["web"]'))
    rows = await pool.fetch(
        "SELECT kind, feature, tags::text FROM ledger WHERE org_id = $1 AND ended IS NOT NULL ORDER BY version",
        bench.org_id,
    )
    assert [tuple(row) for row in rows] == [("CHARGE", "chat", None), ("LATE_CHARGE", "chat", '["web"]')]


async def sweep(bench: Bench) -> None:
    """As if the process had died: everything it holds is ended by the sweeper."""
    await bench.ledger.instances.stop()
    assert await bench.ledger.sweeper.end_orphans() >= 1


async def test_a_cancelled_caller_leaves_nothing_held(bench: Bench) -> None:
    await bench.grant(1_000)
    waiting = [asyncio.create_task(bench.ledger.reserve(bench.wish(10))) for _ in range(40)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(answer, Held) for answer in answers) == 20
    assert await bench.ledger.settled(bench.org_id)
    assert await bench.numbers() == (1_000, 200, 0)


async def test_a_caller_cancelled_in_flight_is_released_by_id(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(1_000)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM account WHERE org_id = $1 FOR UPDATE", bench.org_id)
        task = asyncio.create_task(bench.ledger.reserve(bench.wish(10)))
        await blocked(pool)
        task.cancel()
        await asyncio.wait([task])
    assert await bench.ledger.settled(bench.org_id)
    await bench.held(5)  # comes after the other in their line, so that one has had its way
    assert await bench.numbers() == (1_000, 5, 0)
