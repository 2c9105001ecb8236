"""Credits coming in, the order in which they burn, and what time does to them."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.core.errors import IdempotencyMismatch, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.units import UCR_MAX
from gateway.ledger.calls import Refusal, RefusalReason
from gateway.ledger.grants import Grant, TransactionType
from tests.ledger.conftest import Bench, blocked


def in_hours(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


async def remaining(pool: asyncpg.Pool, bench: Bench) -> dict[str, int]:
    rows = await pool.fetch("SELECT reason, remaining_ucr FROM credit_grant WHERE org_id = $1", bench.org_id)
    return {row["reason"]: row["remaining_ucr"] for row in rows}


async def let_expire(owner: asyncpg.Connection, bench: Bench, reason: str) -> None:
    """Moves the grant's end to this moment; what was held before is older than it."""
    await owner.execute(
        "UPDATE credit_grant SET expires_at = clock_timestamp() WHERE org_id = $1 AND reason = $2", bench.org_id, reason
    )
    await owner.execute("UPDATE account SET next_change_at = clock_timestamp() WHERE org_id = $1", bench.org_id)


async def test_grants_burn_by_priority_then_expiry_then_promo_then_age(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(10, reason="paid, no end")
    await bench.grant(10, reason="promo, no end", category="promo")
    await bench.grant(10, reason="ends late", expires_at=in_hours(48))
    await bench.grant(10, reason="ends soon", expires_at=in_hours(1))
    await bench.grant(10, reason="first", priority=0)
    order = ["first", "ends soon", "ends late", "promo, no end", "paid, no end"]
    for number, reason in enumerate(order):
        before = await remaining(pool, bench)
        await bench.settle(bench.ending(await bench.held(10), 10))
        after = await remaining(pool, bench)
        assert [name for name in after if after[name] < before[name]] == [reason], number


async def test_a_batch_of_endings_burns_in_the_same_order(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100, reason="older")
    await bench.grant(100, reason="better", priority=0)
    calls = [await bench.held(30) for _ in range(2)]
    await bench.settle(*(bench.ending(call, 30) for call in calls))
    assert await remaining(pool, bench) == {"older": 100, "better": 40}


async def test_a_charge_says_which_grants_it_burned(bench: Bench, pool: asyncpg.Pool) -> None:
    first, second = await bench.grant(10), await bench.grant(10)
    wish = await bench.held(15)
    await bench.settle(bench.ending(wish, 15))
    last = await bench.held(5)
    await bench.settle(bench.ending(last, 5))
    rows = await pool.fetch(
        "SELECT burned_grants_of(ledger), burned_ucr_of(ledger), burned_grant FROM ledger WHERE ended = 'ok'"
        " AND org_id = $1 ORDER BY version",
        bench.org_id,
    )
    assert [tuple(row) for row in rows] == [([first, second], [10, 5], None), ([second], [5], second)]


async def test_a_grant_of_the_future_cannot_be_spent_before(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(100, effective_at=in_hours(1), reason="later")
    assert await bench.numbers() == (0, 0, 0)
    assert (await bench.refused(1)).reason is RefusalReason.INSUFFICIENT
    await owner.execute("UPDATE credit_grant SET effective_at = now() WHERE org_id = $1", bench.org_id)
    await owner.execute("UPDATE account SET next_change_at = now() WHERE org_id = $1", bench.org_id)
    await bench.held(100)  # The reservation itself finds that it is time.
    assert await bench.numbers() == (100, 100, 0)


async def test_an_expired_grant_is_gone_before_anything_is_admitted(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(100, expires_at=in_hours(1), reason="a")
    await let_expire(owner, bench, "a")
    assert (await bench.refused(1)).reason is RefusalReason.INSUFFICIENT
    rows, _ = await bench.ledger.transactions(bench.org_id)
    assert [(row.kind, row.amount_ucr) for row in rows] == [("EXPIRY", -100), ("GRANT", 100)]


async def test_the_clock_is_read_after_waiting_for_the_account(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """What expired while a reservation waited for its lock is gone, although the statement had begun before."""
    await bench.grant(100, expires_at=in_hours(1), reason="a")
    async with owner.transaction():
        await owner.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", bench.org_id)
        reserving = asyncio.create_task(bench.ledger.reserve(bench.wish(10)))
        await blocked(pool)
        await let_expire(owner, bench, "a")
    answer = await reserving
    assert isinstance(answer, Refusal)
    assert answer.reason is RefusalReason.INSUFFICIENT


async def test_open_calls_protect_what_they_hold_and_alone_may_burn_it(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(100, expires_at=in_hours(1), reason="old")
    first, second = await bench.held(30), await bench.held(20)
    await let_expire(owner, bench, "old")
    assert await bench.numbers() == (50, 50, 0)
    await bench.grant(40, reason="new")
    young = await bench.held(40)
    await bench.settle(bench.ending(young, 40))
    # The younger call burned the new grant although the expired one comes first for the older.
    assert await remaining(pool, bench) == {"old": 50, "new": 0}
    await bench.settle(bench.ending(first, 10))
    # What the first no longer needs has left; the second's part stays.
    assert await remaining(pool, bench) == {"old": 20, "new": 0}
    await bench.settle(bench.ending(second, 20))
    assert await remaining(pool, bench) == {"old": 0, "new": 0}
    assert await bench.numbers() == (0, 0, 0)


async def test_a_younger_call_protects_nothing_that_had_expired(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(50, expires_at=in_hours(1), reason="old")
    older = await bench.held(50)
    await let_expire(owner, bench, "old")
    await bench.grant(100, reason="new")
    younger = await bench.held(100)
    await bench.settle(bench.release(older))
    assert await remaining(pool, bench) == {"old": 0, "new": 100}
    await bench.settle(bench.ending(younger, 100))


async def test_of_expired_grants_an_older_call_leaves_a_younger_one_what_that_may_burn(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(10, expires_at=in_hours(1), reason="first to end")
    older = await bench.held(10)
    await let_expire(owner, bench, "first to end")
    await bench.grant(10, expires_at=in_hours(2), reason="better, but later", priority=0)
    younger = await bench.held(10)
    await let_expire(owner, bench, "better, but later")
    await bench.settle(bench.ending(older, 10))
    assert await remaining(pool, bench) == {"first to end": 0, "better, but later": 10}
    await bench.settle(bench.ending(younger, 10))
    assert await bench.numbers() == (0, 0, 0)


async def test_a_new_credit_is_not_eaten_by_an_expiry_that_was_posted(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(50, expires_at=in_hours(1), reason="old")
    call = await bench.held(50)
    await let_expire(owner, bench, "old")
    await bench.refused(1)
    await bench.grant(30, reason="new")
    await bench.settle(bench.ending(call, 50))
    assert await remaining(pool, bench) == {"old": 0, "new": 30}


async def test_the_periodic_round_posts_what_is_due_on_idle_accounts(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(100, expires_at=in_hours(1), reason="a")
    await let_expire(owner, bench, "a")
    await bench.ledger.upkeep.post_due()
    assert await pool.fetchval("SELECT balance_ucr FROM account WHERE org_id = $1", bench.org_id) == 0


async def test_an_idempotency_key_grants_once_and_answers_alike(bench: Bench) -> None:
    def grant(ucr: int) -> Grant:
        return Grant(
            id=bench.ids.next(),
            org_id=bench.org_id,
            account_id=bench.account_id,
            amount_ucr=ucr,
            transaction_type=TransactionType.BONUS,
        )

    key = Idempotency("order-1", b"\x01")
    first = await bench.ledger.grant(grant(100), idempotency=key)
    again = await bench.ledger.grant(grant(100), idempotency=key)
    assert (again.id, again.balance_ucr, again.repeated) == (first.id, 100, True)
    assert await bench.numbers() == (100, 0, 0)
    with pytest.raises(IdempotencyMismatch):
        await bench.ledger.grant(grant(200), idempotency=Idempotency("order-1", b"\x02"))
    other = await bench.ledger.grant(grant(100), idempotency=Idempotency("order-2", b"\x01"))
    assert other.id != first.id


async def test_a_key_is_free_again_after_a_day(bench: Bench, owner: asyncpg.Connection) -> None:
    key = Idempotency("order-1", b"\x01")
    grants = [
        Grant(
            id=bench.ids.next(),
            org_id=bench.org_id,
            account_id=bench.account_id,
            amount_ucr=1,
            transaction_type=TransactionType.BONUS,
        )
        for _ in range(2)
    ]
    await bench.ledger.grant(grants[0], idempotency=key)
    await owner.execute("UPDATE idempotency_key SET created_at = created_at - interval '24 hours'")
    assert not (await bench.ledger.grant(grants[1], idempotency=key)).repeated


async def test_the_same_grant_again_is_the_same_grant(bench: Bench) -> None:
    grant = Grant(
        id=bench.ids.next(),
        org_id=bench.org_id,
        account_id=bench.account_id,
        amount_ucr=5,
        transaction_type=TransactionType.PURCHASE,
    )
    await bench.ledger.grant(grant)
    assert (await bench.ledger.grant(grant)).repeated
    assert await bench.numbers() == (5, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_ucr": 0},
        {"amount_ucr": -1},
        {"amount_ucr": UCR_MAX + 1},
        {"priority": -1},
        {"priority": 40_000},
        {"expires_at": in_hours(-1)},
        {"effective_at": in_hours(2), "expires_at": in_hours(1)},
        {"reason": "a\x00b"},
        {"description": "x" * 1_001},
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused(bench: Bench, changes: dict[str, object]) -> None:
    amount_ucr = changes.pop("amount_ucr", 1)
    with pytest.raises(InvalidRequest):
        await bench.grant(int(str(amount_ucr)), **changes)
    assert await bench.numbers() == (0, 0, 0)


async def test_a_balance_cannot_pass_the_largest_amount(bench: Bench) -> None:
    await bench.grant(UCR_MAX)
    with pytest.raises(InvalidRequest, match="largest"):
        await bench.grant(1)
    assert await bench.numbers() == (UCR_MAX, 0, 0)


async def test_a_grant_needs_an_account(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.grant(1, org_id=bench.ids.next())
