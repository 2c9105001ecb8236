"""The audit catches every kind of broken book, parks what it finds, and goes on from its checkpoints."""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from gateway.core.origin import ITSELF
from gateway.ledger.accounts import open_account, set_status
from gateway.ledger.audit import Audit, Violation, find_violations
from gateway.ledger.calls import RefusalReason
from gateway.ledger.options import LedgerSettings
from gateway.ops.metrics import Metrics
from tests.ledger.conftest import Bench, StartLedger, blocked, open_bench
from tests.ledger.desk import open_user

OWN_DATABASE = True

_LAST = "(SELECT id FROM ledger WHERE kind = 'CHARGE' ORDER BY version DESC LIMIT 1)"

CORRUPTIONS = {
    "a balance that no grant backs": (1, "UPDATE account SET balance_ucr = balance_ucr + 1"),
    "a grant that nobody granted": (1, "UPDATE credit_grant SET remaining_ucr = remaining_ucr + 1"),
    "a ledger row too few": (1, f"DELETE FROM ledger WHERE id = {_LAST}"),
    "an amount that was changed": (1, f"UPDATE ledger SET amount_ucr = amount_ucr - 1 WHERE id = {_LAST}"),
    "a balance after that was changed": (
        1,
        f"UPDATE ledger SET balance_after_ucr = balance_after_ucr + 1 WHERE id = {_LAST}",
    ),
    "a version that was skipped": (1, "UPDATE account SET version = version + 1"),
    "a row twice": (
        1,
        "INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at)"
        " SELECT org_id, late_id(id), account_id, version, 'GRANT', amount_ucr, balance_after_ucr, created_at"
        f" FROM ledger WHERE id = {_LAST}",
    ),
    "held without a reservation": (2, "UPDATE account SET held_ucr = held_ucr + 1"),
    "a reservation that vanished": (2, "DELETE FROM reservation"),
    "a count of open calls that is wrong": (2, "UPDATE account SET open_count = open_count + 1"),
    "a grant with more than it had": (3, "UPDATE credit_grant SET remaining_ucr = amount_ucr + 1"),
    "a future grant that burns": (3, "UPDATE credit_grant SET activated_at = NULL"),
    "open and ended at once": (4, f"UPDATE reservation SET id = {_LAST}"),
    "a late row without a sweep": (
        4,
        "INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at,"
        " ended, ref_id, numerator, lines)"
        " SELECT org_id, late_id(id), account_id, version + 1, 'LATE_CHARGE', 0, balance_after_ucr, created_at, ended,"
        f" id, numerator, lines FROM ledger WHERE id = {_LAST}",
    ),
    "a cost that is not the sum": (5, f"UPDATE ledger SET waived_ucr = 1 WHERE id = {_LAST}"),
    "lines that are not the sum": (5, f"""UPDATE ledger SET lines = '[["output", 1, 1]]' WHERE id = {_LAST}"""),
    "a charge that is not the cost": (5, f"UPDATE ledger SET amount_ucr = amount_ucr - 1 WHERE id = {_LAST}"),
    "a numerator that is not the sum": (5, f"UPDATE ledger SET numerator = numerator - 1 WHERE id = {_LAST}"),
    "a debt that nobody made": (6, "UPDATE account SET receivable_ucr = receivable_ucr + 1"),
    "an overage that is not owed": (6, f"UPDATE ledger SET overage_ucr = 1 WHERE id = {_LAST}"),
    "a row that stands against nothing": (7, f"UPDATE ledger SET kind = 'GIFT' WHERE id = {_LAST}"),
    "a transfer that arrived nowhere": (
        7,
        f"UPDATE ledger SET kind = 'TRANSFER_OUT', ended = NULL WHERE id = {_LAST}",
    ),
    "a transfer that arrived as less": (
        7,
        "INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, ref_id,"
        " created_at)"
        " SELECT org_id, v.id, account_id, version + n, v.kind, ucr, balance_after_ucr, ref, created_at"
        "   FROM ledger l, (VALUES (1, 'TRANSFER_OUT', -9, md5('a')::uuid, md5('b')::uuid),"
        "                          (2, 'TRANSFER_IN', 8, md5('b')::uuid, md5('a')::uuid)) AS v (n, kind, ucr, id, ref)"
        f" WHERE l.id = {_LAST}",
    ),
    "a VOID that took from no grant": (
        8,
        "INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at)"
        " SELECT org_id, late_id(id), account_id, version + 1, 'VOID', -1, balance_after_ucr,"
        " created_at"
        f" FROM ledger WHERE id = {_LAST}",
    ),
    "a charge that burned nothing": (8, f"UPDATE ledger SET burned_grant = NULL WHERE id = {_LAST}"),
    "a charge that burned another grant": (
        8,
        f"UPDATE ledger SET burned_grant = gen_random_uuid() WHERE id = {_LAST}",
    ),
    "expired credits that nobody has": (8, "UPDATE account SET expired_ucr = expired_ucr + 1"),
    "a transfer without its other side": (7, "UPDATE ledger SET ref_id = NULL WHERE kind = 'TRANSFER_OUT'"),
    "a transfer that arrived as more": (7, "UPDATE ledger SET amount_ucr = amount_ucr + 1 WHERE kind = 'TRANSFER_IN'"),
    "a refund of more than was charged": (9, "UPDATE ledger SET amount_ucr = amount_ucr + 1 WHERE kind = 'REFUND'"),
    "a refund of another's charge": (9, "UPDATE ledger SET ref_id = gen_random_uuid() WHERE kind = 'REFUND'"),
    "a void of a grant that is not": (9, "UPDATE credit_grant SET voided_at = NULL"),
}


@pytest.fixture
async def busy(bench: Bench) -> Bench:
    """Books with something of everything, and no constraint or trigger in the way of breaking them."""
    await bench.grant(1_000)
    await bench.settle(bench.ending(await bench.held(100), 40), bench.release(await bench.held(100)))
    await bench.settle(bench.ending(await bench.held(100), 30))
    wish = await bench.held(50)
    # The calls outlive the test's own end in good order.
    bench.calls = [wish.id]  # type: ignore[attr-defined]
    return bench


@pytest.fixture
async def varied(busy: Bench, pool: asyncpg.Pool) -> Bench:
    """And with what is done beside calls."""
    desk, user = busy.ledger.desk, await open_user(busy, pool)
    paid, moved = await busy.held(20), busy.ids.next()
    await busy.settle(busy.ending(paid, 20))
    await desk.refund(busy.org_id, charge_id=paid.id, id=busy.ids.next(), by=ITSELF)
    await desk.transfer(busy.org_id, source_id=busy.account_id, target_id=user, id=moved, amount_ucr=9, by=ITSELF)
    await desk.void(busy.org_id, await busy.grant(1, priority=90), by=ITSELF)
    return busy


async def corrupt(owner: asyncpg.Connection, statement: str) -> None:
    await owner.execute("SET session_replication_role = replica")
    for table in ("account", "credit_grant", "ledger"):
        for (name,) in await owner.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'c'", table
        ):
            await owner.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    await owner.execute(statement)


async def test_every_corruption_is_found(varied: Bench, owner: asyncpg.Connection) -> None:
    assert await varied.ledger.audit(full=True) == []
    missed = []
    for what, (invariant, statement) in CORRUPTIONS.items():
        await owner.execute("BEGIN")
        await corrupt(owner, statement)
        found = await owner.fetch("SELECT * FROM violations($1, $1, 0, 0, 0)", varied.org_id)
        await owner.execute("ROLLBACK")  # The books are sound again: what runs after every test says so.
        if invariant not in {row["invariant"] for row in found}:
            missed.append(what)
    assert missed == []


async def test_an_incremental_audit_looks_only_at_what_came_after(busy: Bench, owner: asyncpg.Connection) -> None:
    assert await busy.ledger.audit(full=False) == []
    await busy.settle(busy.ending(await busy.held(10), 5))
    assert await busy.ledger.audit(full=False) == []
    checkpoint = await owner.fetchrow("SELECT version, balance_ucr FROM audit_checkpoint")
    assert checkpoint is not None
    assert tuple(checkpoint) == (5, 925)
    await owner.execute("BEGIN")
    await corrupt(owner, "UPDATE ledger SET waived_ucr = 1 WHERE version = 3")
    count = "SELECT count(*) FROM audit_accounts($1, $1, 10, $2) WHERE invariant IS NOT NULL"
    assert await owner.fetchval(count, UUID(int=0), False) == 0
    assert await owner.fetchval(count, UUID(int=0), True) == 1
    await owner.execute("ROLLBACK")


async def test_the_audit_pages_through_all_accounts(
    start_ledger: StartLedger, bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    for _ in range(7):
        await open_account(pool, bench.ids.next(), bench.ids.next())
    ledger = await start_ledger(audit_accounts=3)
    assert await ledger.audit(full=False) == []
    assert await owner.fetchval("SELECT count(*) FROM audit_checkpoint") == 8


async def test_a_hit_parks_the_account_but_its_calls_are_settled(
    busy: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection, metrics: Metrics
) -> None:
    audit = Audit(pool=pool, settings=LedgerSettings(), metrics=metrics)
    await owner.execute("UPDATE account SET open_count = open_count + 1")
    found = await audit.audit(full=False, park=True)
    assert [violation.invariant for violation in found] == [2]
    assert metrics.registry.get_sample_value("tollgate_audit_violations_total", {"invariant": "2"}) == 1
    assert (await busy.refused(1)).reason is RefusalReason.PARKED
    (call,) = busy.calls  # type: ignore[attr-defined]
    await busy.settle(busy.ending(call, 20))
    await owner.execute("UPDATE account SET open_count = open_count - 1")
    await busy.ledger.desk.unpark(busy.org_id, busy.account_id, by=ITSELF)
    await busy.held(1)


async def test_the_audit_parks_three_accounts_and_then_only_calls(
    bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection, metrics: Metrics
) -> None:
    for _ in range(5):
        await open_bench(bench.ledger, bench.ids, pool)
    audit = Audit(pool=pool, settings=LedgerSettings(), metrics=metrics)
    await owner.execute("UPDATE account SET open_count = 1")
    assert len(await audit.audit(full=False, park=True)) == 6
    assert await owner.fetchval("SELECT count(*) FROM account WHERE parked_at IS NOT NULL") == 3
    await owner.execute("UPDATE account SET open_count = 0")


async def test_who_parks_at_once_keeps_to_one_limit(bench: Bench, pool: asyncpg.Pool) -> None:
    other = await open_bench(bench.ledger, bench.ids, pool)
    park = "SELECT park_account($1, $1, 1, $2)"
    async with pool.acquire() as first, first.transaction():
        assert await first.fetchval(park, bench.org_id, ITSELF.row())
        second = asyncio.create_task(pool.fetchval(park, other.org_id, ITSELF.row()))
        await blocked(pool)
    assert not await second


async def test_a_later_resume_of_the_organisation_does_not_unpark(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute("UPDATE account SET parked_at = now() WHERE org_id = $1", bench.org_id)
    await set_status(pool, bench.org_id, "suspended")
    await set_status(pool, bench.org_id, "active")
    assert (await bench.refused(0)).reason is RefusalReason.PARKED


async def test_the_audit_takes_its_time_though_other_statements_may_not(bench: Bench, dsn: str) -> None:
    """An account that had a million calls since the last round takes longer than any other statement may."""
    await bench.grant(10)
    limits = {"statement_timeout": "50ms"}
    locker = await asyncpg.connect(dsn)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1, server_settings=limits) as hurried:
        async with locker.transaction():
            await locker.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
            auditing = asyncio.ensure_future(_found(hurried))
            async with asyncio.timeout(10):
                while not (auditing.done() or await _waits_longer_than_others_may(locker)):
                    await asyncio.sleep(0)
        assert await auditing == []
    await locker.close()


async def _found(pool: asyncpg.Pool) -> list[Violation]:
    return [v async for page in find_violations(pool, full=True, accounts_at_once=10) for v in page]


async def _waits_longer_than_others_may(connection: asyncpg.Connection) -> bool:
    waits: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE clock_timestamp() - waitstart > interval '100 ms')"
    )
    return waits
