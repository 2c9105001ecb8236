"""Giving back what was charged: never more than that, and to where it was taken from."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF
from gateway.ledger.operations import Refund
from tests.ledger.conftest import Bench, open_bench
from tests.ledger.desk import ANNA, entries_of, left_of, rows_of
from tests.ledger.test_grants import in_hours, let_expire


async def give_back(bench: Bench, charge_id: UUID, ucr: int | None = None, **options: object) -> Refund:
    options = {"id": bench.ids.next(), "by": ANNA, **options}
    return await bench.ledger.desk.refund(bench.org_id, charge_id=charge_id, amount_ucr=ucr, **options)  # type: ignore[arg-type]


async def charged(bench: Bench, ucr: int) -> UUID:
    wish = await bench.held(ucr)
    await bench.settle(bench.ending(wish, ucr))
    return wish.id


async def test_a_refund_goes_back_to_the_grants_that_were_burned(bench: Bench, pool: asyncpg.Pool) -> None:
    first, second = await bench.grant(10, priority=1), await bench.grant(100)
    charge = await charged(bench, 25)
    assert (await left_of(pool, first), await left_of(pool, second)) == (0, 85)
    part = await give_back(bench, charge, 18)
    assert (part.amount_ucr, part.refundable_ucr, part.balance_ucr) == (18, 7, 103)
    # What was burned last returns first.
    assert (await left_of(pool, first), await left_of(pool, second)) == (3, 100)
    rest = await give_back(bench, charge)
    assert (rest.amount_ucr, rest.refundable_ucr) == (7, 0)
    assert (await left_of(pool, first), await left_of(pool, second)) == (10, 100)
    assert await pool.fetchval("SELECT used_ucr FROM account WHERE account_id = $1", bench.account_id) == 0


async def test_a_grant_gets_back_no_more_than_was_burned_of_it(bench: Bench, pool: asyncpg.Pool) -> None:
    first, second = await bench.grant(10, priority=1), await bench.grant(100)
    charge = await charged(bench, 25)
    await charged(bench, 40)
    for _ in range(2):
        await give_back(bench, charge, 10)
    assert (await left_of(pool, first), await left_of(pool, second)) == (5, 60)


async def test_a_refund_is_taken_off_what_its_key_used(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    wish, key = await bench.held(40), bench.ids.next()
    await bench.settle(bench.ending(wish, 40, key_id=key))
    await give_back(bench, wish.id, 15)
    await pool.execute("SELECT roll_up_key_days($1, $1, 1000)", bench.org_id)
    row = await pool.fetchrow("SELECT calls, used_ucr FROM key_day WHERE key_id = $1", key)
    assert row is not None
    assert tuple(row) == (1, 25)


async def test_refunds_never_pass_the_charge(bench: Bench) -> None:
    await bench.grant(100)
    charge = await charged(bench, 40)
    await give_back(bench, charge, 30)
    with pytest.raises(InvalidRequest, match=r"left of this charge, 0\.000010 credits"):
        await give_back(bench, charge, 11)
    await give_back(bench, charge, 10)
    with pytest.raises(InvalidRequest, match=r"0\.000000 credits"):
        await give_back(bench, charge)
    assert await bench.numbers() == (100, 0, 0)


async def test_many_refunds_at_once_never_pass_the_charge(bench: Bench) -> None:
    await bench.grant(100)
    charge = await charged(bench, 40)
    results = await asyncio.gather(*(give_back(bench, charge, 7) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(result, Refund) for result in results) == 5
    assert all(isinstance(result, Refund | InvalidRequest) for result in results)
    assert await bench.numbers() == (95, 0, 0)


async def test_what_was_not_charged_is_not_refunded(bench: Bench, pool: asyncpg.Pool) -> None:
    stranger = await open_bench(bench.ledger, bench.ids, pool)
    await stranger.grant(100)
    theirs = await charged(stranger, 10)
    grant = await bench.grant(100)
    wish = await bench.held(10)
    await bench.settle(bench.release(wish))
    free = await charged(bench, 0)
    for id in (theirs, grant, wish.id, bench.ids.next()):
        with pytest.raises(NotFound, match="nothing was refunded"):
            await give_back(bench, id, 1)
    with pytest.raises(InvalidRequest):
        await give_back(bench, free)
    for ucr in (0, -1):
        with pytest.raises(InvalidRequest):
            await give_back(bench, await charged(bench, 1), ucr)
    assert await stranger.numbers() == (90, 0, 0)


async def test_what_an_expired_grant_gets_back_passes_through(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(50, expires_at=in_hours(1), reason="old")
    charge = await charged(bench, 50)
    await let_expire(owner, bench, "old")
    assert (await give_back(bench, charge)).balance_ucr == 0
    rows = await rows_of(pool, bench.account_id)
    assert rows[-2:] == [("REFUND", 50), ("EXPIRY", -50)]


async def test_what_a_void_grant_gets_back_passes_through(bench: Bench, pool: asyncpg.Pool) -> None:
    grant = await bench.grant(50)
    charge = await charged(bench, 20)
    await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    assert (await give_back(bench, charge)).balance_ucr == 0
    assert (await rows_of(pool, bench.account_id))[-3:] == [("VOID", -30), ("REFUND", 20), ("VOID", -20)]


async def test_a_refund_repays_what_is_owed_first(bench: Bench) -> None:
    await bench.grant(30)
    charge = await charged(bench, 20)
    wish = await bench.held(10)
    await bench.settle(bench.ending(wish, 15))
    assert await bench.numbers() == (0, 0, 5)
    assert (await give_back(bench, charge, 12)).balance_ucr == 7


async def test_a_swept_call_is_not_refunded_while_its_real_cost_may_come(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    wish = await bench.held(50, prompt_ucr=30)
    await pool.execute("SELECT recover_reservations($1, $1, '{}', ARRAY[$2::uuid], 10)", bench.org_id, wish.id)
    with pytest.raises(Conflict, match="real cost"):
        await give_back(bench, wish.id)
    await bench.settle(bench.ending(wish, 20))
    # The correction counts as a refund of the swept charge.
    with pytest.raises(InvalidRequest, match=r"0\.000020 credits"):
        await give_back(bench, wish.id, 21)
    await give_back(bench, wish.id, 20)
    assert await bench.numbers() == (100, 0, 0)


async def test_what_was_refunded_by_hand_does_not_come_back_again_with_the_real_cost(
    bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await bench.grant(100)
    swept = await bench.held(50, prompt_ucr=50)
    await pool.execute("SELECT recover_reservations($1, $1, '{}', ARRAY[$2::uuid], 10)", bench.org_id, swept.id)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("UPDATE ledger SET created_at = created_at - interval '25 hours' WHERE id = $1", swept.id)
    await give_back(bench, swept.id, 40)
    assert await bench.numbers() == (90, 0, 0)
    await bench.settle(bench.ending(swept, 20))
    assert await bench.numbers() == (100, 0, 0)  # of the 30 that were too much, 10 were left to give back
    row = await pool.fetchrow(
        "SELECT charged_ucr(ledger), waived_ucr FROM ledger WHERE ref_id = $1 AND ended = 'ok'", swept.id
    )
    assert row is not None
    assert tuple(row) == (10, 20)


async def test_the_same_refund_again_is_the_same_refund(bench: Bench) -> None:
    await bench.grant(100)
    charge, id = await charged(bench, 40), bench.ids.next()
    first = await give_back(bench, charge, 10, id=id)
    again = await give_back(bench, charge, 10, id=id)
    assert (again.id, again.created_at, again.repeated) == (first.id, first.created_at, True)
    with pytest.raises(Conflict):
        await give_back(bench, charge, 11, id=id)
    assert await bench.numbers() == (70, 0, 0)


async def test_one_idempotency_key_used_by_many_at_once_refunds_once(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    charge, key = await charged(bench, 40), Idempotency("refund", b"\x01")
    made = await asyncio.gather(*(give_back(bench, charge, 10, idempotency=key) for _ in range(8)))
    assert len({refund.id for refund in made}) == 1
    assert await bench.numbers() == (70, 0, 0)
    assert (await entries_of(pool, bench.org_id)).count("credits.refunded") == 1


async def test_a_closed_account_gets_nothing_back(bench: Bench) -> None:
    await bench.grant(40)
    charge = await charged(bench, 40)
    await bench.ledger.desk.close(bench.org_id, bench.account_id, by=ITSELF)
    with pytest.raises(Conflict, match="closed"):
        await give_back(bench, charge)
