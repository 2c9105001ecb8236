"""Group commit: one bad item stops no other, order is kept, and crossing batches do not deadlock."""

import asyncio
import random
from collections import Counter

import asyncpg
import msgspec
import pytest

from gateway.core.errors import InvalidRequest, LedgerUnavailable, NotFound
from gateway.core.units import UCR_MAX
from gateway.ledger.accounts import open_allocation
from gateway.ledger.calls import End, Held
from gateway.ledger.items import ending_row
from gateway.ops.metrics import Metrics
from gateway.postgres.queries import load
from tests.ledger.conftest import Bench, StartLedger, blocked, no_deadlock, open_bench


async def test_a_poisoned_wish_is_refused_alone(bench: Bench) -> None:
    await bench.grant(100_000)
    wishes = [bench.wish(10) for _ in range(60)]
    wishes[17] = bench.wish(10, model="gpt\x004")
    wishes[41] = bench.wish(10, pins=b"{not json")
    answers = await asyncio.gather(*map(bench.ledger.reserve, wishes), return_exceptions=True)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, InvalidRequest)] == [17, 41]
    assert sum(isinstance(answer, Held) for answer in answers) == 58
    assert await bench.numbers() == (100_000, 580, 0)


@pytest.mark.parametrize("ucr", [-1, 2**63 - 1, 2**70])
async def test_amounts_that_are_none_are_refused(bench: Bench, ucr: int) -> None:
    await bench.grant(100)
    with pytest.raises(InvalidRequest):
        await bench.ledger.reserve(bench.wish(ucr, learned_ucr=ucr, prompt_ucr=0))
    assert await bench.numbers() == (100, 0, 0)


async def test_ids_far_from_the_ledgers_clock_are_refused_at_reserve(bench: Bench) -> None:
    await bench.grant(100)
    for minutes in (-6, 6):
        id = type(bench.org_id)(int=bench.ids.next().int + (minutes * 60_000 << 80))
        with pytest.raises(InvalidRequest, match="five minutes"):
            await bench.ledger.reserve(bench.wish(1, id=id))
    near = type(bench.org_id)(int=bench.ids.next().int + (4 * 60_000 << 80))
    await bench.held(1, id=near)


async def test_there_must_be_an_account(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.ledger.reserve(bench.wish(0, account_ids=(bench.ids.next(),)))


@pytest.mark.parametrize(
    "poison",
    [
        {"model": "gpt\x004"},
        {"model": "\ud800"},
        {"lines": b"not json"},
        {"tags": "not json"},
        {"prompt_tokens": 2**80},
        {"status": 40_000},
        {"numerator": 5},
        {"duration_ms": 2**62},
    ],
)
async def test_a_poisoned_ending_posts_its_money_and_keeps_its_payload(
    bench: Bench, pool: asyncpg.Pool, metrics: Metrics, poison: dict[str, object]
) -> None:
    await bench.grant(100_000)
    wishes = [await bench.held(10) for _ in range(9)]
    endings = [bench.ending(wish, 7) for wish in wishes]
    endings[4] = msgspec.structs.replace(endings[4], **poison)
    await bench.settle(*endings)
    assert await bench.numbers() == (100_000 - 63, 0, 0)
    assert await pool.fetchval("SELECT count(*) FROM quarantine WHERE org_id = $1", bench.org_id) == 1
    assert metrics.registry.get_sample_value("tollgate_quarantined_endings_total") == 1
    assert await pool.fetchval("SELECT lines->0->>0 FROM ledger WHERE id = $1", wishes[4].id) == "stripped"


@pytest.mark.parametrize("cost_ucr", [-5, UCR_MAX + 1, 2**70])
async def test_an_ending_whose_cost_is_no_amount_is_ended_like_a_dead_process(
    bench: Bench, pool: asyncpg.Pool, cost_ucr: int
) -> None:
    await bench.grant(1_000)
    wish = await bench.held(100, prompt_ucr=30)
    await bench.settle(bench.ending(wish, cost_ucr))
    assert await bench.numbers() == (970, 0, 0)
    assert await pool.fetchval("SELECT ended FROM ledger WHERE id = $1", wish.id) == "recovered"


async def test_an_account_that_does_not_exist_sends_an_ending_to_quarantine(bench: Bench, pool: asyncpg.Pool) -> None:
    ending = bench.ending(bench.ids.next(), 7, account_id=bench.ids.next())
    await bench.settle(ending)
    assert await pool.fetchval("SELECT count(*) FROM quarantine WHERE id = $1", ending.id) == 1


async def test_settlements_come_before_extensions_before_wishes(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    first, second = await bench.held(60), await bench.held(40)
    async with pool.acquire() as connection, connection.transaction():
        # Everything below gathers behind this lock and travels in one batch.
        await connection.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", bench.org_id)
        opener = asyncio.create_task(bench.ledger.reserve(bench.wish(0)))
        await blocked(pool)
        wish = asyncio.create_task(bench.ledger.reserve(bench.wish(30)))
        extension = asyncio.create_task(
            bench.ledger.extend(id=second.id, org_id=bench.org_id, account_id=bench.account_id, at_least_ucr=70)
        )
        await asyncio.sleep(0)
        bench.ledger.settle(bench.ending(first, 0))
    assert isinstance(await opener, Held)
    assert await extension == Held(account_id=bench.account_id, amount_ucr=70, available_ucr=30)
    assert await wish == Held(account_id=bench.account_id, amount_ucr=30, available_ucr=0)


async def test_what_is_settled_and_extended_in_one_batch_ends_once(bench: Bench, pool: asyncpg.Pool) -> None:
    """A stream asks for more just before its end."""
    await bench.grant(100)
    first, second = await bench.held(20), await bench.held(20)
    answers = await pool.fetchrow(
        load("ledger").post_batch,
        *(bench.org_id, bench.ledger.instances.id, 0),
        [ending_row(bench.ending(wish, 10)) for wish in (first, second)],
        [(second.id, bench.account_id, 40)],
        [],
    )
    assert answers is not None
    assert [row["status"] for row in answers["settlements"]] == ["settled", "settled"]
    assert [row["status"] for row in answers["extensions"]] == ["ended"]


async def test_a_batch_locks_its_accounts_in_the_order_of_their_ids(bench: Bench, pool: asyncpg.Pool) -> None:
    accounts = [bench.ids.next() for _ in range(20)]
    for account_id in accounts:
        await open_allocation(pool, bench.org_id, account_id, user_id=account_id)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account WHERE account_id = $1 FOR UPDATE", accounts[0])
        wish = asyncio.create_task(bench.ledger.reserve(bench.wish(0, account_ids=tuple(reversed(accounts)))))
        await blocked(pool)
        free = "SELECT FROM account WHERE account_id = ANY ($1) FOR UPDATE SKIP LOCKED"
        assert len(await pool.fetch(free, accounts)) == 19  # waiting for the first, it has none of the others yet
    assert isinstance(await wish, Held)


async def test_crossing_batches_over_many_accounts_do_not_deadlock(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    """Two processes and every kind of operation over the same accounts of one organisation, in random order."""
    chance = random.Random(7)
    accounts = [bench.ids.next() for _ in range(5)]
    for account_id in accounts:
        await open_allocation(pool, bench.org_id, account_id, user_id=account_id)
        await bench.grant(10_000, account_id=account_id)
    other = Bench(await start_ledger(), bench.ids, bench.org_id)

    async def caller(side: Bench) -> None:
        for _ in range(15):
            account_id = chance.choice(accounts)
            wish = side.wish(chance.randrange(1, 300), account_ids=(account_id,))
            if not isinstance(await side.ledger.reserve(wish), Held):
                continue
            match chance.randrange(4):
                case 0:
                    await side.ledger.extend(
                        id=wish.id, org_id=side.org_id, account_id=account_id, at_least_ucr=chance.randrange(600)
                    )
                case 1:
                    await side.grant(10, account_id=account_id)
                case 2:
                    await side.ledger.balance(side.org_id)
            side.ledger.settle(side.ending(wish, chance.randrange(400), account_id=account_id))

    with no_deadlock():
        await asyncio.gather(*(caller(side) for side in (bench, other) for _ in range(12)))
        assert await bench.ledger.settled(bench.org_id)
        assert await other.ledger.settled(bench.org_id)
    assert (await bench.numbers())[1] == 0


async def test_a_cold_organisation_does_not_wait_for_a_hot_ones_lock(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    """A batch holds one organisation, and that one keeps one of two lanes, however much it has waiting."""
    ledger = await start_ledger(lanes=2)
    hot = await open_bench(ledger, bench.ids, pool)
    await hot.grant(10)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", hot.org_id)
        waiting = [asyncio.create_task(ledger.reserve(hot.wish(1)))]
        await blocked(pool)
        waiting += [asyncio.create_task(ledger.reserve(hot.wish(1))) for _ in range(3)]
        await asyncio.sleep(0)
        for _ in range(4):
            cold = await open_bench(ledger, bench.ids, pool)
            await cold.grant(10)
            await cold.held(1)
        assert not any(task.done() for task in waiting)
    assert all(isinstance(answer, Held) for answer in await asyncio.gather(*waiting))


async def test_an_organisation_that_has_too_much_waiting_is_refused_alone(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    ledger = await start_ledger(lanes=2, holds_waiting_max=3)
    hot, cold = await open_bench(ledger, bench.ids, pool), await open_bench(ledger, bench.ids, pool)
    await hot.grant(10)
    await cold.grant(10)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", hot.org_id)
        waiting = [asyncio.create_task(ledger.reserve(hot.wish(1)))]
        await blocked(pool)
        waiting += [asyncio.create_task(ledger.reserve(hot.wish(1))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailable, match="Too many"):
            await ledger.reserve(hot.wish(1))
        await cold.held(1)
    assert all(isinstance(answer, Held) for answer in await asyncio.gather(*waiting))


async def test_the_answers_of_a_large_batch_are_spread_over_several_turns_of_the_loop(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    ledger = await start_ledger(batch_max=200)
    mine = await open_bench(ledger, bench.ids, pool)
    await mine.grant(1_000)
    turn = 0
    answered: list[int] = []

    async def count_turns() -> None:
        nonlocal turn
        while True:
            await asyncio.sleep(0)
            turn += 1

    async def call() -> None:
        await mine.held(1)
        answered.append(turn)

    await mine.held(1)  # What the batch below must wait for is there: prices, a connection.
    turns = asyncio.create_task(count_turns())
    await asyncio.gather(*(call() for _ in range(180)))
    turns.cancel()
    assert len(answered) == 180
    assert max(Counter(answered).values()) <= 50


async def test_an_account_that_somebody_keeps_locked_does_not_stop_its_lane(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    ledger = await start_ledger(lanes=1)
    stuck, free = await open_bench(ledger, bench.ids, pool), await open_bench(ledger, bench.ids, pool)
    await stuck.grant(10)
    await free.grant(10)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", stuck.org_id)
        waiting = asyncio.create_task(ledger.reserve(stuck.wish(1)))
        await blocked(pool)
        await free.settle(free.ending(await free.held(5), 5))
        assert not waiting.done()
    assert isinstance(await waiting, Held)


async def test_stopping_answers_who_is_under_way(start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool) -> None:
    mine = await open_bench(await start_ledger(), bench.ids, pool)
    await mine.grant(100)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", mine.org_id)
        sent = asyncio.create_task(mine.ledger.reserve(mine.wish(10)))
        await blocked(pool)
        queued = asyncio.create_task(mine.ledger.reserve(mine.wish(10)))
        await asyncio.sleep(0)
        await mine.ledger.stop(drain_s=0)
        for task in (sent, queued):
            with pytest.raises(LedgerUnavailable, match="stopping"):
                await task
    await bench.ledger.sweeper.end_orphans()


async def test_stopping_drains_what_was_handed_over(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    mine = await open_bench(await start_ledger(), bench.ids, pool)
    await mine.grant(100)
    wishes = [await mine.held(10) for _ in range(5)]
    for wish in wishes:
        mine.ledger.settle(mine.ending(wish, 3, end=End.CANCELLED))
    assert await mine.ledger.stop(drain_s=5) == 0
    assert (await bench.ledger.balance(mine.org_id)).balance_ucr == 85
