"""Credits that go from one account of an organisation to another: all of them, once, as what they were."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import Conflict, IdempotencyMismatch, InsufficientCredits, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF
from gateway.ledger.operations import Transfer
from tests.ledger.conftest import Bench, no_deadlock, open_bench
from tests.ledger.desk import ANNA, balance_of, entries_of, left_of, open_for_models, open_user, rows_of
from tests.ledger.test_grants import in_hours


async def move(bench: Bench, source_id: UUID, target_id: UUID, ucr: int, **options: object) -> Transfer:
    options = {"id": bench.ids.next(), "by": ANNA, **options}
    return await bench.ledger.desk.transfer(
        bench.org_id,
        source_id=source_id,
        target_id=target_id,
        amount_ucr=ucr,
        **options,  # type: ignore[arg-type]
    )


async def test_a_transfer_is_two_rows_that_refer_to_each_other(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    made = await move(bench, bench.account_id, user, 30)
    assert (made.source.balance_ucr, made.target.balance_ucr) == (70, 30)
    assert await rows_of(pool, bench.account_id) == [("GRANT", 100), ("TRANSFER_OUT", -30)]
    assert await rows_of(pool, user) == [("TRANSFER_IN", 30)]
    [pair] = await pool.fetch(
        "SELECT o.id, i.ref_id, o.actor, i.actor AS also FROM ledger o JOIN ledger i ON i.id = o.ref_id"
        " WHERE o.kind = 'TRANSFER_OUT' AND o.org_id = $1",
        bench.org_id,
    )
    assert tuple(pair) == (made.id, made.id, "anna", "anna")


async def test_credits_keep_priority_category_and_end_and_say_where_they_come_from(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    user = await open_user(bench, pool)
    until = in_hours(5)
    first = await bench.grant(10, priority=3, category="promo", expires_at=until)
    second = await bench.grant(100, priority=9)
    await move(bench, bench.account_id, user, 25)
    made = await pool.fetch(
        "SELECT kind, source_id, amount_ucr, remaining_ucr, priority, category, expires_at FROM credit_grant"
        " WHERE account_id = $1 ORDER BY priority",
        user,
    )
    assert [tuple(row) for row in made] == [
        ("transfer_in", first, 10, 10, 3, "promo", until),
        ("transfer_in", second, 15, 15, 9, "paid", None),
    ]
    assert (await left_of(pool, first), await left_of(pool, second)) == (0, 85)
    assert await pool.fetchval("SELECT next_change_at FROM account WHERE account_id = $1", user) == until


async def test_nothing_moves_out_of_what_is_held(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    wish = await bench.held(80)
    with pytest.raises(InsufficientCredits, match="nothing was transferred") as refused:
        await move(bench, bench.account_id, user, 21)
    assert (refused.value.available_ucr, refused.value.required_ucr) == (20, 21)
    await move(bench, bench.account_id, user, 20)
    assert await bench.numbers() == (100, 80, 0)
    await bench.settle(bench.ending(wish, 80))


async def test_what_arrives_repays_what_is_owed_first(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    wish = await bench.held(0, account_ids=(user,))
    await bench.settle(bench.ending(wish, 12, account_id=user))
    made = await move(bench, bench.account_id, user, 20)
    assert (made.target.balance_ucr, made.target.receivable_ucr) == (8, 0)


async def test_what_arrives_wakes_a_call_that_waits(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    await bench.refused(10, account_ids=(user,))
    await move(bench, bench.account_id, user, 10)
    wish = await bench.held(10, account_ids=(user,))
    await bench.settle(bench.ending(wish, 10, account_id=user))


async def test_a_restricted_account_only_receives(bench: Bench, pool: asyncpg.Pool) -> None:
    restricted = await open_for_models(bench, pool)
    await bench.grant(100)
    await move(bench, bench.account_id, restricted, 40)
    with pytest.raises(Conflict, match="only receives"):
        await move(bench, restricted, bench.account_id, 1)
    assert await balance_of(pool, restricted) == 40


async def test_transfers_that_make_no_sense_are_refused(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    user = await open_user(bench, pool)
    stranger = await open_bench(bench.ledger, bench.ids, pool)
    with pytest.raises(InvalidRequest):
        await move(bench, user, user, 1)
    for ucr in (0, -1):
        with pytest.raises(InvalidRequest):
            await move(bench, bench.account_id, user, ucr)
    for source, target in ((bench.account_id, stranger.account_id), (stranger.account_id, user)):
        with pytest.raises(NotFound):
            await move(bench, source, target, 1)
    await pool.execute("UPDATE account SET parked_at = now() WHERE account_id = $1", user)
    with pytest.raises(Conflict, match="parked"):
        await move(bench, bench.account_id, user, 1)
    await pool.execute("UPDATE account SET parked_at = NULL WHERE account_id = $1", user)
    await bench.ledger.desk.close(bench.org_id, user, by=ITSELF)
    with pytest.raises(Conflict, match="closed"):
        await move(bench, bench.account_id, user, 1)
    assert await bench.numbers() == (100, 0, 0)


async def test_the_same_transfer_again_is_the_same_transfer(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    id = bench.ids.next()
    first = await move(bench, bench.account_id, user, 30, id=id)
    again = await move(bench, bench.account_id, user, 30, id=id)
    assert (again.id, again.created_at, again.repeated) == (first.id, first.created_at, True)
    for source, target, ucr in ((bench.account_id, user, 31), (user, bench.account_id, 30)):
        with pytest.raises(Conflict, match="id"):
            await move(bench, source, target, ucr, id=id)
    assert await balance_of(pool, user) == 30


async def test_a_transfer_is_in_the_audit_log_and_a_refused_one_is_not(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    with pytest.raises(InsufficientCredits):
        await move(bench, bench.account_id, user, 101)
    await move(bench, bench.account_id, user, 10)
    assert await entries_of(pool, bench.org_id) == ["credits.granted", "credits.transferred"]


async def test_one_idempotency_key_used_by_many_at_once_moves_once(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100)
    key = Idempotency("same", b"\x01")
    made = await asyncio.gather(*(move(bench, bench.account_id, user, 10, idempotency=key) for _ in range(12)))
    assert len({transfer.id for transfer in made}) == 1
    assert [transfer.repeated for transfer in made].count(False) == 1
    assert await balance_of(pool, user) == 10
    with pytest.raises(IdempotencyMismatch):
        await move(bench, bench.account_id, user, 11, idempotency=Idempotency("same", b"\x02"))


async def test_a_refused_change_leaves_its_key_free(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    key = Idempotency("later", b"\x01")
    with pytest.raises(InsufficientCredits):
        await move(bench, bench.account_id, user, 10, idempotency=key)
    await bench.grant(10)
    assert not (await move(bench, bench.account_id, user, 10, idempotency=key)).repeated


async def test_transfers_that_cross_each_other_and_calls_never_deadlock(bench: Bench, pool: asyncpg.Pool) -> None:
    accounts = [bench.account_id, await open_user(bench, pool), await open_user(bench, pool)]
    for account in accounts:
        await bench.grant(1_000, account_id=account)

    async def to_and_fro(source: UUID, target: UUID) -> None:
        for _ in range(8):
            await move(bench, source, target, 1)

    async def call(account: UUID) -> None:
        for _ in range(8):
            wish = await bench.held(5, account_ids=(account,))
            bench.ledger.settle(bench.ending(wish, 2, account_id=account))

    pairs = [(a, b) for a in accounts for b in accounts if a != b]
    with no_deadlock():
        await asyncio.gather(*(to_and_fro(*pair) for pair in pairs), *map(call, accounts))
        assert await bench.ledger.settled(bench.org_id)
    assert sum([await balance_of(pool, account) for account in accounts]) == 3_000 - 3 * 8 * 2
