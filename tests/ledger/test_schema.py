"""What the schema itself guarantees, whatever the code above it does."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import asyncpg
import pytest

from gateway.core.ids import first_id_at
from gateway.ops.metrics import Metrics
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate
from tests.ledger.conftest import Bench

OWN_DATABASE = True

CHANGES = ["UPDATE {} SET note = 'x'", "DELETE FROM {}", "TRUNCATE {}"]


async def partition_of(pool: asyncpg.Pool | asyncpg.Connection, id: UUID) -> str:
    return str(await pool.fetchval("SELECT tableoid::regclass::text FROM ledger WHERE id = $1", id))


@pytest.mark.parametrize("change", CHANGES)
async def test_the_ledger_is_append_only_even_for_its_owner(
    change: str, bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    partition = await partition_of(owner, await bench.grant(10))
    for table in ("ledger", partition):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await owner.execute(change.format(table))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(change.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE ledger",
        "CREATE TABLE mine ()",
        "ALTER TABLE ledger DISABLE TRIGGER ALL",
        "DELETE FROM ledger_month",
        "INSERT INTO ledger_month VALUES ('2020-01-01', gen_random_uuid(), gen_random_uuid())",
    ],
)
async def test_the_applications_role_cannot_change_the_schema(statement: str, pool: asyncpg.Pool) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(statement)


async def test_an_account_can_never_hold_more_than_it_has(bench: Bench, owner: asyncpg.Connection) -> None:
    """P1, at the lowest level there is."""
    await bench.grant(10)
    with pytest.raises(asyncpg.CheckViolationError, match="account_never_overspent"):
        await owner.execute("UPDATE account SET held_ucr = 11")
    with pytest.raises(asyncpg.CheckViolationError, match="ucr_within_bounds"):
        await owner.execute("UPDATE account SET balance_ucr = -1")


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("ledger_kind_has_its_sign", "kind = 'GIFT'"),
        ("ledger_kind_has_its_sign", "kind = 'RELEASE'"),
        ("ledger_cost_is_the_sum_rounded_up", "waived_ucr = 1"),
        ("ledger_cost_is_the_sum_rounded_up", "amount_ucr = -39"),
        ("ledger_cost_within_bounds", "kind = 'LATE_CHARGE', waived_ucr = 9007199254740991"),
        ("ledger_grants_are_said_once", "burned_ucr = '{40}'"),
    ],
)
async def test_a_row_that_contradicts_itself_is_refused(
    bench: Bench, owner: asyncpg.Connection, constraint: str, changes: str
) -> None:
    await bench.grant(100)
    wish = await bench.held(40)
    await bench.settle(bench.ending(wish, 40))
    transaction = owner.transaction()
    await transaction.start()
    await owner.execute("SET LOCAL session_replication_role = replica")  # else it is the trigger that refuses
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        await owner.execute(f"UPDATE ledger SET {changes} WHERE id = $1", wish.id)
    await transaction.rollback()


async def test_rows_go_to_the_partition_of_their_ids_month(bench: Bench, pool: asyncpg.Pool) -> None:
    wish = await bench.held(0)
    await bench.settle(bench.ending(wish, 0))
    month = datetime.fromtimestamp((wish.id.int >> 80) / 1000, UTC).strftime("ledger_%Y_%m")
    assert await partition_of(pool, wish.id) == month


async def test_ids_that_the_ledger_makes_are_in_the_order_of_their_microseconds(pool: asyncpg.Pool) -> None:
    rows = await pool.fetch(
        "SELECT new_ledger_id(timestamptz '2031-01-31 23:59:59.9971Z' + n * interval '1 microsecond') AS id,"
        " id_time(new_ledger_id(timestamptz '2031-01-31 23:59:59.9999Z')) AS at FROM generate_series(0, 5000) AS n"
    )
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids)
    assert {id.version for id in ids} == {7}
    assert {row["at"] for row in rows} == {datetime(2031, 1, 31, 23, 59, 59, 999_000, tzinfo=UTC)}


async def test_months_are_made_ahead_by_the_application_itself(bench: Bench, pool: asyncpg.Pool) -> None:
    before = await pool.fetchval("SELECT count(*) FROM ledger_month")
    assert await pool.fetchval("SELECT make_ledger_month('2031-05-17')")
    assert not await pool.fetchval("SELECT make_ledger_month('2031-05-02')")
    await bench.ledger.upkeep.make_partitions()
    assert await pool.fetchval("SELECT count(*) FROM ledger_month") == before + 1
    for change in CHANGES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(change.format("ledger_2031_05"))
    indexes = await pool.fetchval("SELECT count(*) FROM pg_indexes WHERE tablename = 'ledger_2031_05'")
    assert indexes == 5


async def test_months_are_made_while_calls_go_on(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(1_000)

    async def call() -> None:
        for _ in range(10):
            wish = await bench.held(1)
            bench.ledger.settle(bench.ending(wish, 1))

    async def months() -> None:
        for month in range(1, 9):
            await pool.fetchval("SELECT make_ledger_month(make_date(2032, $1, 1))", month)

    await asyncio.gather(call(), call(), months())
    assert await bench.ledger.settled(bench.org_id)
    assert await bench.numbers() == (980, 0, 0)


async def test_an_ending_older_than_the_oldest_month_goes_to_quarantine(
    bench: Bench, pool: asyncpg.Pool, metrics: Metrics
) -> None:
    await bench.grant(10)
    old = UUID(int=first_id_at(1_600_000_000_000).int | 7 << 76 | 1 << 63 | 1)
    await bench.settle(bench.ending(old, 5))
    assert await bench.numbers() == (10, 0, 0)
    assert await pool.fetchval("SELECT error FROM quarantine WHERE id = $1", old) == "too_old"


async def test_updates_of_hot_rows_stay_in_their_page(bench: Bench, owner: asyncpg.Connection) -> None:
    """No index hangs on what calls change, and half of every page is free: more than 95 % HOT."""
    await bench.grant(1_000_000)
    for _ in range(25):
        wishes = await asyncio.gather(*(bench.held(20) for _ in range(4)))
        for wish in wishes:
            bench.ledger.watch_spent(wish.id, lambda: 15)
        await bench.ledger.upkeep.write_watermarks()
        await bench.settle(*(bench.ending(wish, 3) for wish in wishes))
    await bench.ledger.stop(drain_s=1)
    updates = (
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname IN ('account', 'credit_grant', 'reservation') AND n_tup_upd >= 20"
    )
    async with asyncio.timeout(10):
        while len(rows := await owner.fetch(updates)) < 3:  # Sessions report their numbers when they have ended.
            await owner.execute("SELECT pg_stat_clear_snapshot()")
    for name, count, hot in rows:
        assert hot / count > 0.95, (name, count, hot)


async def test_many_databases_of_one_cluster_migrate_at_once(
    cluster: EmbeddedPostgres, owner: asyncpg.Connection
) -> None:
    """The role belongs to the cluster: whoever comes second finds it made, or being made."""
    names = [f"concurrent_{number}" for number in range(4)]
    for name in names:
        await owner.execute(f"CREATE DATABASE {name}")

    async def one(name: str) -> None:
        connection = await asyncpg.connect(cluster.dsn_of(name))
        await migrate(connection)
        assert await connection.fetchval("SELECT has_table_privilege('tollgate_app', 'ledger', 'INSERT')")
        assert not await connection.fetchval("SELECT has_table_privilege('tollgate_app', 'ledger', 'UPDATE')")
        await connection.close()

    await asyncio.gather(*map(one, names))
    for name in names:
        await owner.execute(f"DROP DATABASE {name}")


async def test_an_owner_that_may_not_create_roles_migrates_and_works(
    cluster: EmbeddedPostgres, owner: asyncpg.Connection
) -> None:
    await owner.execute("CREATE ROLE modest LOGIN")
    await owner.execute("CREATE DATABASE modest OWNER modest")
    connection = await asyncpg.connect(cluster.dsn_of("modest"), user="modest")
    await migrate(connection)
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("TRUNCATE ledger")
    await connection.close()
    await owner.execute("DROP DATABASE modest")
    await owner.execute("DROP ROLE modest")
