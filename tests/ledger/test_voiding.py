"""Taking credits back: a grant as a whole, or an amount; never what open reservations hold."""

import asyncio

import asyncpg
import pytest

from gateway.core.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from tests.ledger.conftest import Bench
from tests.ledger.desk import ANNA, entries_of, left_of, open_user, rows_of
from tests.ledger.test_grants import in_hours, let_expire


async def test_a_void_grant_leaves_the_balance(bench: Bench, pool: asyncpg.Pool) -> None:
    grant, other = await bench.grant(100), await bench.grant(7)
    await bench.settle(bench.ending(await bench.held(30), 30))
    voided = await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    assert (voided.taken_ucr, voided.protected_ucr, voided.balance_ucr) == (70, 0, 7)
    assert await left_of(pool, other) == 7
    assert (await rows_of(pool, bench.account_id))[-1] == ("VOID", -70)
    assert await pool.fetchval(
        "SELECT contra(ledger) FROM ledger WHERE kind = 'VOID' AND org_id = $1", bench.org_id
    ) == ("grant_source")


async def test_what_calls_hold_of_a_void_grant_is_theirs_and_leaves_as_they_end(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    grant = await bench.grant(100)
    first, second = await bench.held(30), await bench.held(20)
    voided = await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    assert (voided.taken_ucr, voided.protected_ucr) == (50, 50)
    assert await bench.numbers() == (50, 50, 0)
    await bench.grant(40, reason="new")
    young = await bench.held(40)
    await bench.settle(bench.ending(young, 40))  # burns what is new: the void grant is not there for it
    assert await left_of(pool, grant) == 50
    await bench.settle(bench.ending(first, 10))
    assert await left_of(pool, grant) == 20
    await bench.settle(bench.ending(second, 20))
    assert await bench.numbers() == (0, 0, 0)
    assert [row for row in await rows_of(pool, bench.account_id) if row[0] in {"VOID", "EXPIRY"}] == [
        ("VOID", -50),
        ("VOID", -20),
    ]


async def test_voiding_twice_changes_nothing(bench: Bench, pool: asyncpg.Pool) -> None:
    grant = await bench.grant(100)
    first = await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    again = await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    assert (again.taken_ucr, again.voided_at, again.repeated) == (0, first.voided_at, True)
    assert (await entries_of(pool, bench.org_id)).count("grant.voided") == 1


async def test_many_who_void_at_once_void_once(bench: Bench, pool: asyncpg.Pool) -> None:
    grant, key = await bench.grant(100), Idempotency("void", b"\x01")
    void = bench.ledger.desk.void
    await asyncio.gather(
        *(void(bench.org_id, grant, by=ANNA) for _ in range(6)),
        *(void(bench.org_id, grant, by=ANNA, idempotency=key) for _ in range(6)),
    )
    assert await rows_of(pool, bench.account_id) == [("GRANT", 100), ("VOID", -100)]


async def test_a_grant_of_the_future_is_voided_before_it_begins(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    grant = await bench.grant(100, effective_at=in_hours(1), expires_at=in_hours(2))
    await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    await owner.execute("UPDATE account SET next_change_at = now() WHERE org_id = $1", bench.org_id)
    assert await bench.numbers() == (0, 0, 0)
    assert await rows_of(pool, bench.account_id) == [("GRANT", 100), ("VOID", -100)]


async def test_an_expired_grant_has_nothing_to_void(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    grant = await bench.grant(100, expires_at=in_hours(1), reason="a")
    call = await bench.held(30)
    await let_expire(owner, bench, "a")
    voided = await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    assert (voided.taken_ucr, voided.protected_ucr) == (0, 30)
    await bench.settle(bench.ending(call, 10))
    assert await bench.numbers() == (0, 0, 0)


async def test_a_void_grant_does_not_expire_again(bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool) -> None:
    grant = await bench.grant(100, expires_at=in_hours(1), reason="a")
    call = await bench.held(30)
    await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    await let_expire(owner, bench, "a")
    await bench.ledger.upkeep.post_due()
    await bench.settle(bench.ending(call, 30))
    assert [kind for kind, _ in await rows_of(pool, bench.account_id)] == ["GRANT", "VOID", "CHARGE"]


async def test_only_a_grant_of_the_organisation_is_voided(bench: Bench) -> None:
    grant = await bench.grant(100)
    with pytest.raises(NotFound, match="nothing was voided"):
        await bench.ledger.desk.void(bench.ids.next(), grant, by=ANNA)
    with pytest.raises(NotFound):
        await bench.ledger.desk.void(bench.org_id, bench.ids.next(), by=ANNA)
    assert await bench.numbers() == (100, 0, 0)


async def test_an_adjustment_takes_what_is_available_and_no_more(bench: Bench, pool: asyncpg.Pool) -> None:
    first, second = await bench.grant(10, priority=1), await bench.grant(100)
    wish = await bench.held(60)
    take, id = bench.ledger.desk.take, bench.ids.next()
    with pytest.raises(InsufficientCredits, match="nothing was taken") as refused:
        await take(bench.org_id, bench.account_id, id=id, amount_ucr=51, by=ANNA)
    assert refused.value.available_ucr == 50
    taken = await take(bench.org_id, bench.account_id, id=id, amount_ucr=50, by=ANNA, reason="MANUAL_ADJUSTMENT")
    again = await take(bench.org_id, bench.account_id, id=id, amount_ucr=50, by=ANNA, reason="MANUAL_ADJUSTMENT")
    assert (taken.available_ucr, again.repeated) == (0, True)
    assert (await left_of(pool, first), await left_of(pool, second)) == (0, 60)
    assert (await rows_of(pool, bench.account_id))[-1] == ("ADJUSTMENT", -50)
    with pytest.raises(Conflict):
        await take(bench.org_id, bench.account_id, id=id, amount_ucr=49, by=ANNA)
    with pytest.raises(NotFound):
        await take(bench.ids.next(), bench.account_id, id=bench.ids.next(), amount_ucr=1, by=ANNA)
    with pytest.raises(InvalidRequest):
        await take(bench.org_id, bench.account_id, id=bench.ids.next(), amount_ucr=0, by=ANNA)
    await bench.settle(bench.ending(wish, 60))
    user = await open_user(bench, pool)
    await bench.ledger.desk.close(bench.org_id, user, by=ANNA)
    with pytest.raises(Conflict, match="closed"):
        await take(bench.org_id, user, id=bench.ids.next(), amount_ucr=1, by=ANNA)
