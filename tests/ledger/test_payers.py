"""A call that several accounts may pay for is held whole on the first of them that can."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from gateway.ledger.accounts import open_allocation, open_restricted
from gateway.ledger.calls import Held, Refusal, RefusalReason
from tests.ledger.conftest import Bench, StartLedger, open_bench


@pytest.fixture
async def allocation(bench: Bench, pool: asyncpg.Pool) -> UUID:
    id = bench.ids.next()
    await open_allocation(pool, bench.org_id, id, user_id=bench.ids.next())
    return id


async def ask(bench: Bench, ucr: int, *payers: UUID) -> Held | Refusal:
    return await bench.ledger.reserve(bench.wish(ucr, account_ids=payers))


async def paid_by(bench: Bench, ucr: int, *payers: UUID) -> UUID:
    answer = await ask(bench, ucr, *payers)
    assert isinstance(answer, Held), answer
    assert answer.amount_ucr == ucr
    return answer.account_id


async def test_the_first_that_can_pays_all_of_it(bench: Bench, allocation: UUID) -> None:
    await bench.grant(100)
    await bench.grant(30, account_id=allocation)
    assert await paid_by(bench, 30, allocation, bench.account_id) == allocation
    assert await paid_by(bench, 10, allocation, bench.account_id) == bench.account_id
    assert await paid_by(bench, 90, bench.account_id, allocation) == bench.account_id


async def test_a_call_is_never_split(bench: Bench, allocation: UUID) -> None:
    await bench.grant(60)
    await bench.grant(60, account_id=allocation)
    answer = await ask(bench, 100, allocation, bench.account_id)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.available_ucr) == (RefusalReason.INSUFFICIENT, 60)


async def test_a_refusal_tells_of_the_one_that_came_nearest(bench: Bench, allocation: UUID, pool: asyncpg.Pool) -> None:
    """So that a smaller amount can be asked for where there is any."""
    await bench.grant(60)
    await bench.grant(5, account_id=allocation)
    for payers in ((allocation, bench.account_id), (bench.account_id, allocation)):
        answer = await ask(bench, 100, *payers)
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.available_ucr) == (RefusalReason.INSUFFICIENT, 60)
    await pool.execute("UPDATE account SET status = 'suspended' WHERE account_id = $1", bench.account_id)
    answer = await ask(bench, 100, bench.account_id, allocation)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.available_ucr) == (RefusalReason.INSUFFICIENT, 5)


async def test_the_charge_goes_to_who_holds_it(bench: Bench, allocation: UUID, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    await bench.grant(5, account_id=allocation)
    wish = bench.wish(50, account_ids=(allocation, bench.account_id))
    assert isinstance(await bench.ledger.reserve(wish), Held)
    await bench.settle(bench.ending(wish, 50))
    rows = await pool.fetch("SELECT account_id, balance_ucr FROM account WHERE org_id = $1", bench.org_id)
    assert {row["account_id"]: row["balance_ucr"] for row in rows} == {bench.account_id: 50, allocation: 5}


async def test_one_that_is_closed_to_calls_is_passed_over(bench: Bench, allocation: UUID, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    await bench.grant(100, account_id=allocation)
    await pool.execute("UPDATE account SET status = 'suspended' WHERE account_id = $1", allocation)
    assert await paid_by(bench, 10, allocation, bench.account_id) == bench.account_id
    answer = await ask(bench, 10, allocation)
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.SUSPENDED


async def test_what_would_fit_with_nothing_held_says_so_rather_than_that_credits_are_short(
    bench: Bench, allocation: UUID
) -> None:
    await bench.grant(100)
    await bench.grant(5, account_id=allocation)
    await bench.held(95)
    answer = await ask(bench, 50, allocation, bench.account_id)
    assert isinstance(answer, Refusal)
    assert (answer.reason, answer.account_id) == (RefusalReason.BUSY, bench.account_id)


async def test_a_restricted_account_is_one_more_payer(bench: Bench, pool: asyncpg.Pool) -> None:
    account = bench.ids.next()
    await open_restricted(pool, bench.org_id, account, name="for images", models=("gpt-image-1",))
    await bench.grant(100)
    await bench.grant(10, account_id=account)
    assert await paid_by(bench, 10, account, bench.account_id) == account


async def test_a_repetition_finds_its_reservation_whoever_pays(bench: Bench, allocation: UUID) -> None:
    await bench.grant(100)
    wish = bench.wish(40, account_ids=(allocation, bench.account_id))
    first = await bench.ledger.reserve(wish)
    again = await bench.ledger.reserve(wish)
    assert isinstance(first, Held)
    assert isinstance(again, Held)
    assert (again.account_id, again.amount_ucr) == (first.account_id, 40)
    assert (await bench.numbers())[1] == 40


async def test_a_credit_to_any_of_them_ends_the_memory_of_a_refusal(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    mine = await open_bench(await start_ledger(refusal_memory_s=60), bench.ids, pool)
    second = bench.ids.next()
    await open_allocation(pool, mine.org_id, second, user_id=bench.ids.next())
    assert isinstance(await ask(mine, 50, mine.account_id, second), Refusal)
    await mine.grant(50, account_id=second)
    assert await paid_by(mine, 50, mine.account_id, second) == second


async def somebody_waits_for_a_lock(owner: asyncpg.Connection) -> None:
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE '%lane%')"
    )
    async with asyncio.timeout(10):
        while not await owner.fetchval(waiting):
            await owner.execute("SELECT pg_stat_clear_snapshot()")


async def test_a_caller_who_gives_up_leaves_nothing_held_on_any_of_them(
    bench: Bench, allocation: UUID, pool: asyncpg.Pool, owner: asyncpg.Connection, dsn: str
) -> None:
    """The release knows neither whether nor where it was held, and finds it on the second account."""
    await bench.grant(100)
    locker = await asyncpg.connect(dsn)
    async with locker.transaction():
        await locker.execute("SELECT FROM account WHERE account_id = $1 FOR UPDATE", bench.account_id)
        asked = asyncio.create_task(ask(bench, 40, allocation, bench.account_id))
        await somebody_waits_for_a_lock(owner)
        asked.cancel()
        await asyncio.wait([asked])
    assert await bench.ledger.settled(bench.org_id)
    assert (await bench.numbers())[1] == 0
    ended = await pool.fetch(
        "SELECT account_id, kind, held_ucr FROM ledger WHERE org_id = $1 AND ended IS NOT NULL", bench.org_id
    )
    assert [tuple(row) for row in ended] in (
        [(bench.account_id, "RELEASE", 40)],
        [(allocation, "RELEASE", 0)],
    )
    await locker.close()


async def test_low_balance_exhaustion_and_debt_are_told_once_each(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    await pool.execute("UPDATE account SET low_balance_ucr = 50 WHERE account_id = $1", bench.account_id)

    async def told() -> list[str]:
        rows = await pool.fetch("SELECT topic FROM outbox WHERE account_id = $1 ORDER BY id", bench.account_id)
        return [row["topic"] for row in rows]

    for cost, expected in ((50, []), (1, ["low_balance"]), (9, ["low_balance"]), (40, ["low_balance", "exhausted"])):
        await bench.settle(bench.ending(await bench.held(cost), cost))
        assert await told() == expected
    await bench.settle(bench.ending(await bench.held(0), 7))
    assert await told() == ["low_balance", "exhausted", "overage"]
