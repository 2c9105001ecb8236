"""Reservations of outside callers: held, extended, settled and released by their owner, or ended by the clock."""

import asyncio
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.core.errors import Conflict, IdempotencyMismatch, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.ledger.owned import OwnedHold, OwnedWish, Owner
from gateway.ledger.used import Used
from tests.ledger.conftest import Bench, open_bench
from tests.ledger.desk import entries_of, rows_of

ME = Origin(actor="key:me", address="192.0.2.1", reason="nightly work")


def wish(bench: Bench, ucr: int, **changes: object) -> OwnedWish:
    facts = {"id": bench.ids.next(), "account_ids": (bench.account_id,), "amount_ucr": ucr, **changes}
    return OwnedWish(**facts)  # type: ignore[arg-type]


async def hold(bench: Bench, ucr: int, **options: object) -> OwnedHold:
    [made] = await bench.ledger.owned.reserve(Owner.outside(bench.org_id), [wish(bench, ucr)], **{"by": ME, **options})  # type: ignore[arg-type]
    return made


async def let_time_pass(owner: asyncpg.Connection, id: UUID) -> None:
    await owner.execute("UPDATE reservation SET expires_at = clock_timestamp() WHERE id = $1", id)


async def test_one_is_held_found_and_settled(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    me = Owner.outside(bench.org_id)
    user = bench.ids.next()
    [made] = await bench.ledger.owned.reserve(me, [wish(bench, 60, user_id=user, model="their own")], by=ME)
    assert (made.status, made.held_ucr, made.available_ucr, made.held) == ("ok", 60, 40, True)
    found = await bench.ledger.owned.get(me, made.id)
    assert (found.held_ucr, found.user_id, found.model, found.expires_at) == (60, user, "their own", made.expires_at)
    assert (found.expires_at - found.created_at).total_seconds() == pytest.approx(600, abs=1)
    ended = await bench.ledger.owned.settle(me, made.id, cost_ucr=45, by=ME)
    assert (ended.charged_ucr, ended.balance_ucr, ended.held_ucr) == (45, 55, 0)
    row = await pool.fetchrow("SELECT kind, ended, user_id, model FROM ledger WHERE id = $1", made.id)
    assert row is not None
    assert tuple(row) == ("CHARGE", "ok", user, "their own")
    with pytest.raises(NotFound):
        await bench.ledger.owned.get(me, made.id)


async def test_one_is_settled_with_what_it_used_and_its_tags(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    made = await hold(bench, 60)
    used = msgspec.structs.replace(Used.plainly("MODEL_CALL", price_ucr=1, quantity=45), tags='["web"]')
    await bench.ledger.owned.settle_used(Owner.outside(bench.org_id), made.id, used, by=ME)
    assert await pool.fetchval("SELECT tags::text FROM ledger WHERE id = $1", made.id) == '["web"]'


async def test_a_batch_is_answered_item_by_item(bench: Bench) -> None:
    await bench.grant(100)
    me = Owner.outside(bench.org_id)
    first = wish(bench, 70)
    wishes = [
        first,
        wish(bench, 40),
        wish(bench, 101),
        wish(bench, 30),
        wish(bench, 1, account_ids=(bench.ids.next(),)),
    ]
    answers = await bench.ledger.owned.reserve(me, wishes, by=ME)
    assert [answer.status for answer in answers] == ["ok", "busy", "insufficient", "ok", "no_account"]
    assert [answer.id for answer in answers] == [each.id for each in wishes]
    again = await bench.ledger.owned.reserve(me, [first], by=ME)
    assert (again[0].status, again[0].held_ucr, again[0].held) == ("exists", 70, True)
    assert [each.id for each in await bench.ledger.owned.page(me)] == [wishes[0].id, wishes[3].id]
    assert [each.id for each in await bench.ledger.owned.page(me, after=first.id, limit=1)] == [wishes[3].id]
    for each in await bench.ledger.owned.page(me):
        await bench.ledger.owned.release(me, each.id, by=ME)
    assert await bench.numbers() == (100, 0, 0)


async def test_a_thousand_in_one_batch_and_not_one_more(bench: Bench) -> None:
    await bench.grant(1_000)
    me = Owner.outside(bench.org_id)
    answers = await bench.ledger.owned.reserve(me, [wish(bench, 1) for _ in range(1_000)], by=ME)
    assert all(answer.held for answer in answers)
    same = wish(bench, 0)
    for wishes in ([], [wish(bench, 0) for _ in range(1_001)], [same, same], [wish(bench, -1)]):
        with pytest.raises(InvalidRequest):
            await bench.ledger.owned.reserve(me, wishes, by=ME)
    assert await bench.numbers() == (1_000, 1_000, 0)


async def test_it_is_extended_in_amount_and_life(bench: Bench, owner: asyncpg.Connection) -> None:
    await bench.grant(100)
    me, made = Owner.outside(bench.org_id), await hold(bench, 10, life_s=60)
    longer = await bench.ledger.owned.extend(me, made.id, at_least_ucr=30, life_s=3_600, by=ME)
    assert (longer.status, longer.held_ucr, longer.available_ucr) == ("ok", 30, 70)
    assert made.expires_at is not None
    assert (longer.expires_at - made.expires_at).total_seconds() == pytest.approx(3_540, abs=5)
    shorter = await bench.ledger.owned.extend(me, made.id, at_least_ucr=5, life_s=1, by=ME)
    assert (shorter.held_ucr, shorter.expires_at) == (30, longer.expires_at)
    refused = await bench.ledger.owned.extend(me, made.id, at_least_ucr=101, by=ME)
    assert (refused.status, refused.held_ucr) == ("insufficient", 30)
    # Life is bounded from the beginning on, however often it is extended.
    await owner.execute("UPDATE reservation SET created_at = created_at - interval '22.5 hours' WHERE id = $1", made.id)
    last = await bench.ledger.owned.extend(me, made.id, at_least_ucr=0, life_s=86_400, by=ME)
    assert (last.expires_at - made.expires_at).total_seconds() == pytest.approx(1.5 * 3_600 - 60, abs=1)
    for life_s in (0, -1, 86_401):
        with pytest.raises(InvalidRequest):
            await hold(bench, 1, life_s=life_s)


async def test_settling_is_once_and_by_its_owner_alone(bench: Bench, pool: asyncpg.Pool) -> None:
    grant = await bench.grant(100)
    stranger = await open_bench(bench.ledger, bench.ids, pool)
    me, made = Owner.outside(bench.org_id), await hold(bench, 50)
    call, swept = await bench.held(10), await bench.held(10, prompt_ucr=0)
    await pool.execute("SELECT recover_reservations($1, $1, '{}', ARRAY[$2::uuid], 10)", bench.org_id, swept.id)
    for whose, id in (
        (Owner.outside(stranger.org_id), made.id),
        (Owner.job(bench.org_id, bench.ids.next()), made.id),
        (me, call.id),
        (me, swept.id),
        (me, grant),
        (me, bench.ids.next()),
    ):
        with pytest.raises(NotFound, match="nothing was charged"):
            await bench.ledger.owned.settle(whose, id, cost_ucr=1, by=ME)
        with pytest.raises(NotFound):
            await bench.ledger.owned.extend(whose, id, at_least_ucr=1, by=ME)
    results = await asyncio.gather(*(bench.ledger.owned.settle(me, made.id, cost_ucr=20, by=ME) for _ in range(8)))
    assert [result.repeated for result in results].count(False) == 1
    for cost in (0, 21):
        with pytest.raises(Conflict, match="nothing was charged"):
            await bench.ledger.owned.settle(me, made.id, cost_ucr=cost, by=ME)
    with pytest.raises(InvalidRequest):
        await bench.ledger.owned.settle(me, made.id, cost_ucr=-1, by=ME)
    await bench.settle(bench.release(call))
    assert await bench.numbers() == (80, 0, 0)


async def test_cost_above_what_is_held_is_overage_as_for_calls(bench: Bench) -> None:
    await bench.grant(50)
    me, made = Owner.outside(bench.org_id), await hold(bench, 50)
    ended = await bench.ledger.owned.settle(me, made.id, cost_ucr=70, by=ME)
    assert (ended.charged_ucr, ended.overage_ucr, ended.receivable_ucr) == (50, 20, 20)


async def test_it_expires_by_the_databases_clock_charged_what_was_reported(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(100)
    me = Owner.outside(bench.org_id)
    silent, told, young = [await hold(bench, 20) for _ in range(3)]
    await bench.ledger.owned.extend(me, told.id, at_least_ucr=0, spent_ucr=99, by=ME)  # more than it holds
    for each in (silent, told):
        await let_time_pass(owner, each.id)
    with pytest.raises(NotFound):
        await bench.ledger.owned.extend(me, silent.id, at_least_ucr=1, by=ME)
    await asyncio.gather(*(bench.ledger.owned.expire_due() for _ in range(4)))
    assert await bench.ledger.owned.expire_due() == 0
    assert await bench.numbers() == (80, 20, 0)
    rows = await pool.fetch(
        "SELECT kind, ended, charged_ucr(ledger) FROM ledger WHERE org_id = $1 AND ended IS NOT NULL", bench.org_id
    )
    assert sorted(tuple(row) for row in rows) == [("CHARGE", "expired", 20), ("RELEASE", "expired", 0)]
    await bench.ledger.owned.release(me, young.id, by=ME)


async def test_the_real_cost_of_an_expired_one_posts_the_difference_once(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(100)
    me = Owner.outside(bench.org_id)
    more, less = await hold(bench, 30), await hold(bench, 30)
    await bench.ledger.owned.extend(me, less.id, at_least_ucr=0, spent_ucr=25, by=ME)
    for each in (more, less):
        await let_time_pass(owner, each.id)
    await bench.ledger.owned.expire_due()
    assert await bench.numbers() == (75, 0, 0)
    for _ in range(2):
        assert (await bench.ledger.owned.settle(me, more.id, cost_ucr=40, by=ME)).charged_ucr == 40
        assert (await bench.ledger.owned.settle(me, less.id, cost_ucr=5, by=ME)).charged_ucr == 5
    with pytest.raises(Conflict):
        await bench.ledger.owned.settle(me, more.id, cost_ucr=41, by=ME)
    assert await bench.numbers() == (55, 0, 0)
    assert (await rows_of(pool, bench.account_id))[-2:] == [("LATE_CHARGE", -40), ("REFUND", 20)]


async def test_settling_and_expiring_at_once_charge_once(bench: Bench, owner: asyncpg.Connection) -> None:
    await bench.grant(1_000)
    me = Owner.outside(bench.org_id)
    holds = [await hold(bench, 20) for _ in range(12)]
    for each in holds:
        await let_time_pass(owner, each.id)
    await asyncio.gather(
        *(bench.ledger.owned.settle(me, each.id, cost_ucr=7, by=ME) for each in holds),
        *(bench.ledger.owned.expire_due() for _ in range(3)),
    )
    assert await bench.numbers() == (1_000 - 12 * 7, 0, 0)


async def test_no_sweep_touches_it(bench: Bench) -> None:
    await bench.grant(100)
    made = await hold(bench, 20)
    await bench.ledger.sweeper.fence_all_others()
    await bench.ledger.sweeper.sweep()
    await bench.ledger.sweeper.reconcile()
    await bench.ledger.sweeper.reconcile()
    assert await bench.numbers() == (100, 20, 0)
    await bench.ledger.owned.release(Owner.outside(bench.org_id), made.id, by=ME)


async def test_one_idempotency_key_used_by_many_at_once_holds_once(bench: Bench) -> None:
    await bench.grant(100)
    key = Idempotency("hold", b"\x01")
    made = await asyncio.gather(*(hold(bench, 10, idempotency=key) for _ in range(8)))
    assert len({each.id for each in made}) == 1
    assert await bench.numbers() == (100, 10, 0)
    with pytest.raises(IdempotencyMismatch):
        await hold(bench, 11, idempotency=Idempotency("hold", b"\x02"))


async def test_a_batch_of_which_nothing_was_held_leaves_its_key_free(bench: Bench) -> None:
    key = Idempotency("later", b"\x01")
    assert (await hold(bench, 10, idempotency=key)).status == "insufficient"
    await bench.grant(10)
    assert (await hold(bench, 10, idempotency=key)).status == "ok"


async def test_what_blocks_calls_blocks_these(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(10)
    await pool.execute("UPDATE account SET parked_at = now() WHERE org_id = $1", bench.org_id)
    assert (await hold(bench, 1)).status == "parked"


async def test_trying_out_says_what_holding_would_and_leaves_nothing(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    me, owned = Owner.outside(bench.org_id), bench.ledger.owned
    fits = await owned.try_out(me, wish(bench, 100))
    assert (fits.status, fits.available_ucr) == ("ok", 0)
    assert await bench.numbers() == (100, 0, 0)
    await hold(bench, 60)
    assert (await owned.try_out(me, wish(bench, 60))).status == "busy"
    assert (await owned.try_out(me, wish(bench, 101))).status == "insufficient"
    assert await rows_of(pool, bench.account_id) == [("GRANT", 100)]
    assert [each.held_ucr for each in await owned.page(me)] == [60]


async def test_what_an_outside_caller_changes_is_audited_once(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    me, owned, key = Owner.outside(bench.org_id), bench.ledger.owned, Idempotency("hold", b"\x01")
    [made] = [await hold(bench, 10, idempotency=key) for _ in range(3)][:1]
    await owned.reserve(me, [wish(bench, 10, id=made.id), wish(bench, 1_000)], by=ME)
    for _ in range(2):
        await owned.extend(me, made.id, at_least_ucr=30, life_s=3_600, idempotency=Idempotency("more", b"\x01"), by=ME)
    await owned.extend(me, made.id, at_least_ucr=30, life_s=1, by=ME)
    for _ in range(2):
        await owned.settle(me, made.id, cost_ucr=25, by=ME)
    [unused] = await owned.reserve(me, [wish(bench, 5)], by=ME)
    for _ in range(2):
        await owned.release(me, unused.id, by=ME)
    with pytest.raises(Conflict):
        await owned.settle(me, unused.id, cost_ucr=1, by=ME)
    entries = await pool.fetch(
        "SELECT * FROM audit_log WHERE org_id = $1 AND object_kind = 'reservation' ORDER BY id", bench.org_id
    )
    assert [(entry["action"], entry["object_id"]) for entry in entries] == [
        ("reservation.created", made.id),
        ("reservation.extended", made.id),
        ("reservation.settled", made.id),
        ("reservation.created", unused.id),
        ("reservation.released", unused.id),
    ]
    assert {(entry["actor"], entry["address"], entry["reason"]) for entry in entries} == {
        (ME.actor, ME.address, ME.reason)
    }
    before, after = (msgspec.json.decode(entries[1][which]) for which in ("before", "after"))
    assert (before["held_ucr"], after["held_ucr"]) == (10, 30)
    assert before["expires_at"] < after["expires_at"]
    after = msgspec.json.decode(entries[2]["after"])
    assert (after["cost_ucr"], after["charged_ucr"], after["overage_ucr"]) == (25, 25, 0)


async def test_the_real_cost_of_an_expired_one_is_audited_and_its_expiry_is_not(
    bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await bench.grant(100)
    made = await hold(bench, 10)
    await let_time_pass(owner, made.id)
    assert await bench.ledger.owned.expire_due() == 1
    for _ in range(2):
        await bench.ledger.owned.settle(Owner.outside(bench.org_id), made.id, cost_ucr=7, by=ME)
    entries = await pool.fetch("SELECT * FROM audit_log WHERE object_id = $1 ORDER BY id", made.id)
    assert [entry["action"] for entry in entries] == ["reservation.created", "reservation.settled"]
    assert msgspec.json.decode(entries[1]["before"]) == {"ended": "expired", "charged_ucr": 0}
    assert msgspec.json.decode(entries[1]["after"])["charged_ucr"] == 7


async def test_what_is_only_tried_out_leaves_no_entry(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    await bench.ledger.owned.try_out(Owner.outside(bench.org_id), wish(bench, 10))
    assert "reservation.created" not in await entries_of(pool, bench.org_id)
