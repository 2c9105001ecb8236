"""Owners that die, and owners that were only believed dead: nothing is lost, nothing is charged twice."""

import asyncio

import asyncpg
import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.calls import Held, Refusal, RefusalReason
from gateway.ledger.ledger import Ledger
from gateway.ops.ids import IdSource
from tests.fakes.clock import SteppedClock
from tests.ledger.conftest import Bench, StartLedger, open_bench

OWN_DATABASE = True
HELD_UP_S = 2.0


async def declare_dead(rescuer: Ledger) -> None:
    """With a dead-time of zero one heartbeat of our own is enough to declare everyone else dead."""
    await rescuer.instances.beat()
    assert rescuer.instances.may_fence()


@pytest.fixture
async def rescuer(start_ledger: StartLedger) -> Ledger:
    return await start_ledger(dead_after_s=0.0)


async def test_a_dead_owners_calls_end_with_what_it_last_reported(
    bench: Bench, rescuer: Ledger, pool: asyncpg.Pool
) -> None:
    """P4: at least the watermark, at least the prompt, never more than was held."""
    await bench.grant(1_000)
    quiet = await bench.held(100, prompt_ucr=30)
    talked = await bench.held(100, prompt_ucr=30)
    beyond = await bench.held(100, prompt_ucr=30)
    bench.ledger.watch_spent(talked.id, lambda: 70)
    bench.ledger.watch_spent(beyond.id, lambda: 170)
    await bench.ledger.upkeep.write_watermarks()
    await declare_dead(rescuer)
    assert await rescuer.sweeper.sweep() == 3
    rows = await pool.fetch("SELECT id, charged_ucr(ledger), waived_ucr, ended FROM ledger WHERE ended IS NOT NULL")
    assert {row["id"]: (row["charged_ucr"], row["waived_ucr"] or 0, row["ended"]) for row in rows} == {
        quiet.id: (30, 0, "recovered"),
        talked.id: (70, 0, "recovered"),
        beyond.id: (100, 70, "recovered"),
    }
    assert await rescuer.sweeper.sweep() == 0


async def test_sweeping_goes_in_small_steps(bench: Bench, start_ledger: StartLedger) -> None:
    await bench.grant(1_000)
    for _ in range(7):
        await bench.held(10)
    rescuer = await start_ledger(dead_after_s=0.0, sweep_rows=3)
    await declare_dead(rescuer)
    assert await rescuer.sweeper.sweep() == 7
    assert await bench.numbers() == (930, 0, 0)


async def test_a_fenced_process_cuts_its_calls_registers_anew_and_goes_on(
    start_ledger: StartLedger, rescuer: Ledger, ids: IdSource, pool: asyncpg.Pool
) -> None:
    cut: list[str] = []
    zombie = await open_bench(await start_ledger(on_fenced=lambda: cut.append("cut")), ids, pool)
    await zombie.grant(1_000)
    old = await zombie.held(100, prompt_ucr=30)
    name = zombie.ledger.instances.id
    await declare_dead(rescuer)
    await rescuer.sweeper.sweep()
    assert cut == []
    # It still believes to live: nothing more can be held under its old name, and nothing is held twice.
    new = await zombie.held(100)
    assert cut == ["cut"]
    assert zombie.ledger.instances.id != name
    await zombie.settle(zombie.ending(old, 45), zombie.ending(new, 5))
    assert await zombie.numbers() == (950, 0, 0)


async def test_the_heartbeat_finds_out_too(start_ledger: StartLedger, rescuer: Ledger) -> None:
    cut: list[str] = []
    zombie = await start_ledger(on_fenced=lambda: cut.append("cut"))
    name = zombie.instances.id
    await declare_dead(rescuer)
    await rescuer.sweeper.sweep()
    await zombie.instances.beat()
    assert cut == ["cut"]
    assert zombie.instances.id != name
    await zombie.instances.beat()
    assert cut == ["cut"]


async def test_a_fenced_processs_stream_is_told_that_its_call_has_ended(bench: Bench, rescuer: Ledger) -> None:
    await bench.grant(1_000)
    wish = await bench.held(10)
    await declare_dead(rescuer)
    await rescuer.sweeper.sweep()
    answer = await bench.ledger.extend(id=wish.id, org_id=bench.org_id, account_id=bench.account_id, at_least_ucr=20)
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.ENDED


async def test_fencing_waits_for_a_reservation_that_is_under_way_and_then_ends_it(
    bench: Bench, rescuer: Ledger, pool: asyncpg.Pool
) -> None:
    await bench.grant(100)
    await declare_dead(rescuer)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account FOR UPDATE")
        reserving = asyncio.create_task(bench.ledger.reserve(bench.wish(10, prompt_ucr=3)))
        await waiting(pool, 1)
        sweeping = asyncio.create_task(rescuer.sweeper.sweep())
        await waiting(pool, 2)
    assert isinstance(await reserving, Held)
    assert await sweeping == 1
    assert await bench.numbers() == (97, 0, 0)


async def test_a_declaration_that_was_held_up_on_its_way_declares_nobody_dead(
    bench: Bench, start_ledger: StartLedger, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """What holds it up holds up everybody's heartbeats: when it arrives they all look silent."""
    rescuer = await start_ledger(dead_after_s=0.0, beat_s=HELD_UP_S / 4)
    async with owner.transaction():
        await declare_dead(rescuer)
        await owner.execute("LOCK TABLE fence")
        sweeping = asyncio.create_task(rescuer.sweeper.sweep())
        await waiting(pool, 1)
        await owner.execute("SELECT pg_sleep($1)", HELD_UP_S)
    assert await sweeping == 0
    assert await pool.fetchval("SELECT count(*) FROM fence WHERE fenced_at IS NOT NULL") == 0


async def waiting(pool: asyncpg.Pool, count: int) -> None:
    async with asyncio.timeout(10):
        while await pool.fetchval("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted") < count:
            await asyncio.sleep(0)


async def test_what_a_stopped_process_leaves_is_ended_without_waiting(
    start_ledger: StartLedger, rescuer: Ledger, ids: IdSource, pool: asyncpg.Pool
) -> None:
    leaving = await open_bench(await start_ledger(), ids, pool)
    await leaving.grant(100)
    await leaving.held(50, prompt_ucr=20)
    await leaving.ledger.stop(drain_s=1)
    assert await rescuer.sweeper.end_orphans() == 1
    assert (await rescuer.balance(leaving.org_id)).balance_ucr == 80


async def test_whoever_holds_the_data_folder_declares_all_others_dead_at_its_start(
    start_ledger: StartLedger, bench: Bench
) -> None:
    await bench.grant(100)
    await bench.held(50, prompt_ucr=20)
    await start_ledger(sole_owner=True)
    assert await bench.numbers() == (80, 0, 0)


async def test_living_processes_are_not_fenced(start_ledger: StartLedger, bench: Bench) -> None:
    await bench.grant(100)
    wish = await bench.held(50)
    other = await start_ledger(dead_after_s=30.0)
    await other.instances.beat()
    assert await other.sweeper.sweep() == 0
    await bench.settle(bench.ending(wish, 10))
    assert await bench.numbers() == (90, 0, 0)


async def test_only_who_beat_without_a_gap_for_the_dead_time_may_declare_others_dead(
    start_ledger: StartLedger,
) -> None:
    clock = SteppedClock()
    instances = (await start_ledger(clock=clock, beat_s=2, dead_after_s=30)).instances
    clock_of_database = [1_000.0]

    def beat(after_s: float, *, database_s: float | None = None) -> bool:
        clock.step(after_s)
        clock_of_database[0] += after_s if database_s is None else database_s
        instances._count(clock.monotonic(), clock_of_database[0])
        return instances.may_fence()

    assert not beat(0)
    assert [beat(2) for _ in range(15)] == [False] * 14 + [True]
    clock.step(7)
    assert not instances.may_fence()  # Our own last heartbeat is too old to say anything about others.
    clock.step(-7)
    # An outage of a minute: our own heartbeats stopped as well, so its end says nothing about the others.
    assert not beat(60)
    assert [beat(2) for _ in range(15)] == [False] * 14 + [True]
    # The database's clock leaps forward: everyone looks silent.
    assert not beat(2, database_s=300)
    assert [beat(2) for _ in range(15)] == [False] * 14 + [True]


async def test_ids_follow_the_databases_clock(start_ledger: StartLedger) -> None:
    clock = SteppedClock()  # Months behind.
    ledger = await start_ledger(clock=clock)
    ids = ledger.instances._ids
    await ledger.instances.beat()
    assert ledger.instances._offset_ms > 1_000_000
    assert ids._offset_ms == ledger.instances._offset_ms


async def test_a_process_that_cannot_register_anew_reserves_nothing(
    start_ledger: StartLedger, rescuer: Ledger, ids: IdSource, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    zombie = await open_bench(await start_ledger(hold_timeout_s=0.5), ids, pool)
    await zombie.grant(100)
    await declare_dead(rescuer)
    await rescuer.sweeper.sweep()
    await owner.execute("ALTER TABLE gateway_instance ADD CONSTRAINT nobody CHECK (false) NOT VALID")
    with pytest.raises(LedgerUnavailable):
        await zombie.ledger.reserve(zombie.wish(10))
    assert await zombie.ledger.settled(zombie.org_id)
    assert await zombie.numbers() == (100, 0, 0)


async def test_rows_that_memory_does_not_know_are_ended_in_the_second_pass(
    bench: Bench, owner: asyncpg.Connection
) -> None:
    await bench.grant(100)
    known, lost = await bench.held(10), await bench.held(20, prompt_ucr=5)
    del bench.ledger._reservations.open[lost.id]
    assert await bench.ledger.sweeper.reconcile() == 0  # Too young: it may still be on its way.
    await owner.execute("UPDATE reservation SET created_at = created_at - interval '1 hour'")
    assert await bench.ledger.sweeper.reconcile() == 0
    assert await bench.ledger.sweeper.reconcile() == 1
    assert await bench.numbers() == (95, 10, 0)
    await bench.settle(bench.ending(known, 10))


async def test_old_instances_are_forgotten(bench: Bench, rescuer: Ledger, owner: asyncpg.Connection) -> None:
    await declare_dead(rescuer)
    await rescuer.sweeper.sweep()
    await owner.execute("UPDATE fence SET fenced_at = fenced_at - interval '2 days'")
    await rescuer.sweeper.sweep()
    assert [row["id"] for row in await owner.fetch("SELECT id FROM gateway_instance")] == [rescuer.instances.id]
    # And for one that is forgotten but alive it is as if it had been fenced.
    await bench.grant(10)
    await bench.held(10)
