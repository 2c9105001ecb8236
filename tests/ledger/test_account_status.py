"""Suspending, resuming, parking and closing accounts."""

import asyncio

import asyncpg
import pytest

from gateway.core.errors import Conflict, NotFound
from gateway.core.origin import ITSELF
from gateway.ledger.audit import Audit
from gateway.ledger.calls import RefusalReason
from gateway.ledger.options import LedgerSettings
from gateway.ops.metrics import Metrics
from tests.ledger.conftest import Bench, open_bench
from tests.ledger.desk import ANNA, balance_of, entries_of, open_for_models, open_user, rows_of
from tests.ledger.subscribing import SMALL
from tests.ledger.test_grants import in_hours


async def status_of(pool: asyncpg.Pool, bench: Bench) -> dict[str, str]:
    found = await pool.fetch("SELECT kind, status FROM account WHERE org_id = $1", bench.org_id)
    return {row["kind"]: row["status"] for row in found}


async def test_one_account_is_suspended_and_resumed(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(10, account_id=user)
    desk = bench.ledger.desk
    assert not (await desk.suspend(bench.org_id, user, by=ANNA)).repeated
    assert (await desk.suspend(bench.org_id, user, by=ANNA)).repeated
    assert (await bench.refused(1, account_ids=(user,))).reason is RefusalReason.SUSPENDED
    assert await status_of(pool, bench) == {"pool": "active", "user": "suspended"}
    await desk.resume(bench.org_id, user, by=ANNA)
    wish = await bench.held(1, account_ids=(user,))
    await bench.settle(bench.ending(wish, 1, account_id=user))
    assert await entries_of(pool, bench.org_id) == ["credits.granted", "account.suspended", "account.resumed"]
    with pytest.raises(NotFound):
        await desk.suspend(bench.ids.next(), user, by=ANNA)


async def test_what_a_users_account_has_left_goes_back_to_the_pool(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(30, account_id=user, priority=4)
    later = await bench.grant(5, account_id=user, effective_at=in_hours(1))
    assert (await bench.ledger.desk.close(bench.org_id, user, by=ANNA)).closed == (user,)
    assert await bench.numbers() == (30, 0, 0)
    assert await rows_of(pool, bench.account_id) == [("TRANSFER_IN", 30)]
    assert await pool.fetchval("SELECT account_id FROM credit_grant WHERE id = $1", later) == bench.account_id
    assert await pool.fetchval("SELECT next_change_at IS NOT NULL FROM account WHERE account_id = $1", bench.org_id)
    again = await bench.ledger.desk.close(bench.org_id, user, by=ANNA)
    assert (again.closed, again.repeated) == ((), True)
    assert (await bench.refused(1, account_ids=(user,))).reason is RefusalReason.SUSPENDED
    for change in (bench.ledger.desk.suspend, bench.ledger.desk.resume):
        with pytest.raises(Conflict, match="closed"):
            await change(bench.org_id, user, by=ANNA)
    with pytest.raises(Conflict, match="closed"):
        await bench.grant(1, account_id=user)


async def test_a_subscription_ends_with_its_account_and_a_quota_does_not_become_the_pools(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    user, subscriptions = await open_user(bench, pool), bench.ledger.subscriptions
    await bench.grant(10, account_id=user)
    await subscriptions.subscribe(bench.org_id, user, SMALL, operation_id=bench.ids.next(), kind="quota", by=ANNA)
    await bench.ledger.desk.close(bench.org_id, user, by=ANNA)
    assert await balance_of(pool, bench.account_id) == 10
    assert await rows_of(pool, user) == [("GRANT", 10), ("GRANT", 100), ("EXPIRY", -100), ("TRANSFER_OUT", -10)]
    assert await subscriptions.current(bench.org_id, user) is None


async def test_nothing_is_closed_while_something_is_open_or_owed(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(10, account_id=user)
    wish = await bench.held(0, account_ids=(user,))
    for account in (user, None):
        with pytest.raises(Conflict, match="open"):
            await bench.ledger.desk.close(bench.org_id, account, by=ANNA, forfeit=True)
    await bench.settle(bench.ending(wish, 12, account_id=user))
    for account in (user, None):
        with pytest.raises(Conflict, match="owed"):
            await bench.ledger.desk.close(bench.org_id, account, by=ANNA, forfeit=True)
    assert await status_of(pool, bench) == {"pool": "active", "user": "active"}
    with pytest.raises(NotFound):
        await bench.ledger.desk.close(bench.ids.next(), user, by=ANNA)


async def test_a_parked_account_is_not_closed(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE account SET parked_at = now() WHERE org_id = $1", bench.org_id)
    with pytest.raises(Conflict, match="parked"):
        await bench.ledger.desk.close(bench.org_id, bench.account_id, by=ANNA)
    await bench.ledger.desk.unpark(bench.org_id, bench.account_id, by=ANNA)
    await bench.ledger.desk.close(bench.org_id, bench.account_id, by=ANNA)


@pytest.mark.parametrize("kind", ["pool", "restricted"])
async def test_what_has_nowhere_to_go_must_be_forfeited(kind: str, bench: Bench, pool: asyncpg.Pool) -> None:
    account = bench.account_id if kind == "pool" else await open_for_models(bench, pool)
    await bench.grant(10, account_id=account)
    await bench.grant(5, account_id=account, effective_at=in_hours(1))
    with pytest.raises(Conflict, match="forfeited"):
        await bench.ledger.desk.close(bench.org_id, account, by=ANNA)
    await bench.ledger.desk.close(bench.org_id, account, by=ANNA, forfeit=True)
    assert await balance_of(pool, account) == 0
    assert [row[0] for row in await rows_of(pool, account)] == ["GRANT", "VOID", "GRANT", "VOID"]


async def test_a_users_credits_without_a_pool_must_be_forfeited(bench: Bench, pool: asyncpg.Pool) -> None:
    user = await open_user(bench, pool)
    await bench.grant(10, account_id=user)
    await bench.ledger.desk.close(bench.org_id, bench.account_id, by=ANNA)
    with pytest.raises(Conflict, match="forfeited"):
        await bench.ledger.desk.close(bench.org_id, user, by=ANNA)
    await bench.ledger.desk.close(bench.org_id, user, by=ANNA, forfeit=True)
    assert await balance_of(pool, user) == 0


async def test_an_organisations_accounts_are_closed_together_or_not_at_all(bench: Bench, pool: asyncpg.Pool) -> None:
    stranger = await open_bench(bench.ledger, bench.ids, pool)
    user = await open_user(bench, pool)
    await bench.grant(10, account_id=user)
    with pytest.raises(Conflict, match="forfeited"):
        await bench.ledger.desk.close(bench.org_id, None, by=ANNA)
    assert await status_of(pool, bench) == {"pool": "active", "user": "active"}
    closed = await bench.ledger.desk.close(bench.org_id, None, by=ANNA, forfeit=True)
    assert set(closed.closed) == {bench.account_id, user}
    assert await status_of(pool, stranger) == {"pool": "active"}


async def test_closing_and_reserving_at_once_leaves_nothing_held_on_a_closed_account(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    user = await open_user(bench, pool)
    await bench.grant(100, account_id=user)
    wishes = [bench.wish(1, account_ids=(user,)) for _ in range(10)]
    close = bench.ledger.desk.close
    await asyncio.gather(
        *(bench.ledger.reserve(wish) for wish in wishes),
        *(close(bench.org_id, user, by=ANNA) for _ in range(4)),
        return_exceptions=True,
    )
    await bench.settle(*(bench.ending(wish, 1, account_id=user) for wish in wishes))
    row = await pool.fetchrow("SELECT status, balance_ucr, held_ucr FROM account WHERE account_id = $1", user)
    assert row is not None
    assert row["held_ucr"] == 0
    assert (row["status"] == "closed") == (row["balance_ucr"] == 0)


async def test_parking_is_told_and_written_down_and_unparking_too(
    bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection, metrics: Metrics
) -> None:
    audit = Audit(pool=pool, settings=LedgerSettings(parked_max=1_000), metrics=metrics)
    await owner.execute("UPDATE account SET open_count = open_count + 1 WHERE org_id = $1", bench.org_id)
    await audit.audit(full=False, park=True)
    told = await pool.fetchrow("SELECT topic, payload FROM outbox WHERE org_id = $1", bench.org_id)
    assert told is not None
    assert told["topic"] == "parked"
    assert "invariant 2" in told["payload"]
    await owner.execute("UPDATE account SET open_count = open_count - 1 WHERE org_id = $1", bench.org_id)
    assert not (await bench.ledger.desk.unpark(bench.org_id, bench.account_id, by=ANNA)).repeated
    assert (await bench.ledger.desk.unpark(bench.org_id, bench.account_id, by=ANNA)).repeated
    assert await entries_of(pool, bench.org_id) == ["account.parked", "account.unparked"]
    with pytest.raises(NotFound):
        await bench.ledger.desk.unpark(bench.org_id, bench.ids.next(), by=ITSELF)
