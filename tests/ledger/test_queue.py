"""The fair queue and the memory of refusals: whom waiting serves, in which order, and what is answered unasked."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from gateway.ledger.calls import Held, Refusal, RefusalReason
from gateway.ledger.items import HoldAnswer
from gateway.ledger.queue import FairQueue
from gateway.ledger.refusals import RefusalMemory
from tests.ledger.conftest import Bench, StartLedger, open_bench


@pytest.fixture
async def patient(start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool) -> Bench:
    return await open_bench(await start_ledger(queue_wait_s=20, queue_poll_s=20), bench.ids, pool)


async def in_line(bench: Bench, count: int) -> None:
    async with asyncio.timeout(10):
        while bench.ledger._reservations._queue.length(bench.account_id) < count:
            await asyncio.sleep(0)


async def test_a_call_waits_for_credits_that_others_hold_and_gets_them(patient: Bench) -> None:
    await patient.grant(100)
    first = await patient.held(80)
    waiting = asyncio.create_task(patient.ledger.reserve(patient.wish(50)))
    await in_line(patient, 1)
    await patient.settle(patient.ending(first, 30))
    assert await waiting == Held(account_id=patient.account_id, amount_ucr=50, available_ucr=20)


async def test_a_large_call_is_not_starved_by_small_ones(patient: Bench) -> None:
    await patient.grant(100)
    first = await patient.held(60)
    large = asyncio.create_task(patient.ledger.reserve(patient.wish(90)))
    await in_line(patient, 1)
    small = asyncio.create_task(patient.ledger.reserve(patient.wish(10)))
    await in_line(patient, 2)
    assert not small.done()  # It would fit right now, and so would the next, and the next.
    await patient.settle(patient.release(first))
    assert await large == Held(account_id=patient.account_id, amount_ucr=90, available_ucr=10)
    assert await small == Held(account_id=patient.account_id, amount_ucr=10, available_ucr=0)


async def test_extensions_go_first_and_the_oldest_call_before_all(patient: Bench) -> None:
    await patient.grant(100)
    old, young, other = await patient.held(10), await patient.held(10), await patient.held(80)
    order: list[str] = []

    async def wait(name: str, call: asyncio.Task[Held | Refusal]) -> None:
        assert isinstance(await call, Held)
        order.append(name)

    def extend(wish_id: object, ucr: int) -> asyncio.Task[Held | Refusal]:
        return asyncio.create_task(
            patient.ledger.extend(
                id=wish_id,  # type: ignore[arg-type]
                org_id=patient.org_id,
                account_id=patient.account_id,
                at_least_ucr=ucr,
            )
        )

    tasks = [asyncio.create_task(wait("new", asyncio.create_task(patient.ledger.reserve(patient.wish(20)))))]
    await in_line(patient, 1)
    tasks.append(asyncio.create_task(wait("young", extend(young.id, 30))))
    await in_line(patient, 2)
    tasks.append(asyncio.create_task(wait("old", extend(old.id, 30))))
    await in_line(patient, 3)
    await patient.settle(patient.release(other))
    await asyncio.gather(*tasks)
    assert order == ["old", "young", "new"]


async def test_a_credit_wakes_the_line_too(patient: Bench) -> None:
    await patient.grant(100)
    await patient.held(80)
    waiting = asyncio.create_task(patient.ledger.reserve(patient.wish(50)))
    await in_line(patient, 1)
    await patient.grant(30)
    assert isinstance(await waiting, Held)


async def test_polling_finds_credits_that_another_process_freed(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    here = await open_bench(await start_ledger(queue_wait_s=20, queue_poll_s=0.01), bench.ids, pool)
    there = Bench(await start_ledger(), bench.ids, here.org_id)
    await here.grant(100)
    first = await there.held(100)
    waiting = asyncio.create_task(here.ledger.reserve(here.wish(50)))
    await in_line(here, 1)
    await there.settle(there.release(first))
    assert isinstance(await waiting, Held)


async def test_when_the_time_is_over_the_answer_is_busy(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    mine = await open_bench(await start_ledger(queue_wait_s=0.05), bench.ids, pool)
    await mine.grant(100)
    await mine.held(80)
    refusals = await asyncio.gather(*(mine.refused(50) for _ in range(3)))
    assert {refusal.reason for refusal in refusals} == {RefusalReason.BUSY}
    assert all(1 <= refusal.retry_after_s <= 60 for refusal in refusals)


async def test_a_caller_that_gives_up_leaves_the_line(patient: Bench) -> None:
    await patient.grant(100)
    first = await patient.held(80)
    gone = asyncio.create_task(patient.ledger.reserve(patient.wish(50)))
    await in_line(patient, 1)
    next_one = asyncio.create_task(patient.ledger.reserve(patient.wish(60)))
    await in_line(patient, 2)
    gone.cancel()
    await asyncio.wait([gone])
    await patient.settle(patient.release(first))
    assert await next_one == Held(account_id=patient.account_id, amount_ucr=60, available_ucr=40)


async def test_a_full_line_answers_at_once() -> None:
    counts: list[int] = []
    queue = FairQueue(wait_s=60, poll_s=60, waiting_max=1, changed=counts.append)
    busy = HoldAnswer("busy", 0, 0, 0, uuid4())
    account = "account"

    async def attempt() -> HoldAnswer:
        return busy

    first = asyncio.create_task(queue.wait(account, busy, attempt, extends=None))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert await queue.wait(account, busy, attempt, extends=None) is busy  # type: ignore[arg-type]
    first.cancel()
    await asyncio.wait([first])
    assert counts == [1, 0]
    assert queue.line(account) is None  # type: ignore[arg-type]


async def test_a_refused_account_is_not_asked_again_for_a_moment(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool
) -> None:
    mine = await open_bench(await start_ledger(refusal_memory_s=60), bench.ids, pool)
    await mine.grant(100)
    await mine.refused(200)
    sent = batches(mine)
    assert (await mine.refused(200)).reason is RefusalReason.INSUFFICIENT
    assert (await mine.refused(5_000)).balance_ucr == 100
    assert batches(mine) == sent
    await mine.refused(150)  # Less than what was refused: that has to be asked.
    assert batches(mine) == sent + 1
    await mine.grant(500)  # And a credit changes everything.
    await mine.held(200)


def batches(bench: Bench) -> float:
    return sum(
        sample.value
        for metric in bench.ledger._reservations._metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "tollgate_ledger_batch_items_count"
    )


async def test_the_memory_of_refusals_is_bounded_and_keeps_the_smallest(bench: Bench) -> None:
    memory = RefusalMemory(memory_s=60, accounts_max=2)
    answer = HoldAnswer("insufficient", 0, 1, 2, uuid4())
    payers = [(bench.ids.next(), bench.account_id) for _ in range(3)]
    for accounts in payers:
        memory.remember(accounts, 10, answer)
        memory.remember(accounts, 20, answer)
    assert memory.recall(payers[0], 100) is None
    assert memory.recall(payers[2], 10) is answer
    assert memory.recall(payers[2], 9) is None
    memory.forget(payers[2][1])
    assert memory.recall(payers[2], 100) is None


async def test_where_nobody_may_wait_an_account_is_asked_about_each_time() -> None:
    queue = FairQueue(wait_s=60, poll_s=60, waiting_max=0, changed=lambda _: None)
    account_id = uuid4()
    busy = HoldAnswer("busy", 0, 0, 100, account_id)
    assert await queue.wait(account_id, busy, never, extends=None) == busy
    assert queue.line(account_id) is None
    queue.wake(account_id)


async def never() -> HoldAnswer:
    raise AssertionError("nobody waits, so nobody asks")
