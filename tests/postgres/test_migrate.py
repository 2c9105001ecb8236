import asyncio
import re
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.core.idempotency import Idempotency
from gateway.postgres.migrate import (
    Functions,
    Migration,
    Schema,
    SchemaAltered,
    SchemaBehind,
    SchemaNewer,
    migrate,
    pending,
    require_current,
    shipped,
    shipped_schema,
)
from gateway.postgres.once import once

ONE = Migration(1, "0001_one", "CREATE TABLE one (a integer); INSERT INTO one VALUES (1);")
TWO = Migration(2, "0002_two", "CREATE TABLE two (a integer);")
THREE = Migration(3, "0003_three", "CREATE TABLE three (a integer);")
BROKEN = Migration(2, "0002_broken", "CREATE TABLE half (a integer); SELECT 1 / 0;")


@pytest.fixture
async def connection(empty_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close(timeout=10)


async def tables(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    return {row["relname"] for row in rows}


async def test_an_empty_database_gets_every_migration_once(connection: asyncpg.Connection) -> None:
    assert await migrate(connection, Schema([ONE, TWO])) == ["0001_one", "0002_two"]
    assert await migrate(connection, Schema([ONE, TWO])) == []
    assert await connection.fetchval("SELECT count(*) FROM one") == 1


async def test_what_came_later_is_added(connection: asyncpg.Connection) -> None:
    await migrate(connection, Schema([ONE]))
    assert await pending(connection, Schema([ONE, TWO])) == ["0002_two"]
    assert await migrate(connection, Schema([ONE, TWO])) == ["0002_two"]


async def test_a_failing_migration_leaves_no_trace_of_itself(connection: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, Schema([ONE, BROKEN]))
    assert await tables(connection) == {"one", "schema_migration", "schema_functions"}
    assert await migrate(connection, Schema([ONE, TWO])) == ["0002_two"]


async def test_a_database_of_a_newer_version_is_refused(connection: asyncpg.Connection) -> None:
    await migrate(connection, Schema([ONE, TWO]))
    with pytest.raises(SchemaNewer, match="0002_two"):
        await migrate(connection, Schema([ONE]))
    with pytest.raises(SchemaNewer):
        await pending(connection, Schema([]))


async def test_a_migration_whose_text_changed_is_refused(connection: asyncpg.Connection) -> None:
    await migrate(connection, Schema([ONE]))
    altered = Migration(1, "0001_one", ONE.sql + " ")
    with pytest.raises(SchemaAltered, match="0001_one"):
        await migrate(connection, Schema([altered, TWO]))
    assert await tables(connection) == {"one", "schema_migration", "schema_functions"}


async def test_a_schema_with_a_migration_missing_in_the_middle_is_refused(connection: asyncpg.Connection) -> None:
    await migrate(connection, Schema([ONE, THREE]))
    with pytest.raises(SchemaAltered, match="0002_two"):
        await migrate(connection, Schema([ONE, TWO, THREE]))
    assert await tables(connection) == {"one", "three", "schema_migration", "schema_functions"}


async def test_processes_that_migrate_at_once_apply_each_step_once(empty_dsn: str) -> None:
    slow = Migration(1, "0001_slow", "CREATE TABLE slow (a integer); SELECT pg_sleep(0.05);")
    connections = [await asyncpg.connect(empty_dsn) for _ in range(4)]
    applied = await asyncio.gather(*(migrate(connection, Schema([slow, TWO])) for connection in connections))
    assert sorted(name for names in applied for name in names) == ["0001_slow", "0002_two"]
    for connection in connections:
        await connection.close(timeout=10)


async def test_asking_what_is_pending_changes_nothing(connection: asyncpg.Connection) -> None:
    assert await pending(connection, Schema([ONE])) == ["0001_one"]
    assert await tables(connection) == set()


async def test_a_statement_time_limit_does_not_end_a_long_migration(connection: asyncpg.Connection) -> None:
    await connection.execute("SET statement_timeout = '10ms'")
    assert await migrate(connection, Schema([Migration(1, "0001_slow", "SELECT pg_sleep(0.1)")])) == ["0001_slow"]
    assert await connection.fetchval("SHOW statement_timeout") == "10ms"


def answering(value: int, version: tuple[int, ...]) -> Schema:
    """Two functions of which the first needs the second."""
    return Schema(
        [ONE],
        Functions(
            "CREATE OR REPLACE FUNCTION answer() RETURNS integer LANGUAGE sql AS 'SELECT later()';"
            f"CREATE OR REPLACE FUNCTION later() RETURNS integer LANGUAGE sql AS 'SELECT {value}'",
            version,
        ),
    )


async def test_functions_are_replaced_where_they_differ(connection: asyncpg.Connection) -> None:
    assert await migrate(connection, answering(1, (0, 1, 0))) == ["0001_one", "functions"]
    assert await migrate(connection, answering(1, (0, 1, 0))) == []
    assert await pending(connection, answering(2, (0, 1, 0))) == ["functions"]
    assert await connection.fetchval("SELECT answer()") == 1
    assert await migrate(connection, answering(2, (0, 1, 0))) == ["functions"]
    assert await connection.fetchval("SELECT answer()") == 2


async def test_functions_of_a_newer_version_stay(connection: asyncpg.Connection) -> None:
    await migrate(connection, answering(2, (0, 10, 0)))
    older = answering(1, (0, 9, 1))
    for step in (pending, migrate):
        with pytest.raises(SchemaNewer, match=r"0\.10\.0"):
            await step(connection, older)
    with pytest.raises(SchemaNewer):
        await migrate(connection, Schema([ONE, TWO], older.functions))
    assert "two" not in await tables(connection)
    assert await connection.fetchval("SELECT answer()") == 2


async def test_the_shipped_migrations_bring_an_empty_database_up_to_date(connection: asyncpg.Connection) -> None:
    if shipped():
        with pytest.raises(SchemaBehind):
            await require_current(connection)
    await migrate(connection)
    await require_current(connection)


async def test_a_change_is_still_made_once_where_its_key_came_before_the_upgrade(
    connection: asyncpg.Connection,
) -> None:
    class Made(msgspec.Struct):
        number: int
        repeated: bool = False

    async def change(_: object) -> Made:
        return Made(2)

    org, erased, asked = UUID(int=1), UUID(int=2), Idempotency("invoice-17", b"\x01")
    await migrate(connection, Schema([step for step in shipped() if step.number < 15]))
    await connection.execute("INSERT INTO org (org_id, name) VALUES ($1, 'Acme')", org)
    await connection.execute(
        """
        INSERT INTO org_user (org_id, user_id, external_id, name, role, erased_at)
        VALUES ($1, $2, 'x', 'erased', 'member', now())
        """,
        org,
        erased,
    )
    keep = "INSERT INTO idempotency_key (org_id, key, request_hash, answer) VALUES ($1, $2, $3, $4)"
    await connection.execute(keep, org, asked.key, asked.request_hash, '{"number": 1}')
    await connection.execute(keep, org, "anna", b"\x01", f'{{"user_id": "{erased}", "name": "Anna"}}')
    await migrate(connection)
    assert await once(connection, org, asked, change, answer=Made) == Made(1, repeated=True)
    assert not await connection.fetchval("SELECT string_agg(k::text, '') ~* 'anna' FROM idempotency_key AS k")


def test_no_shipped_migration_ends_its_own_transaction() -> None:
    # It would commit half of the step; and CONCURRENTLY cannot run inside one.
    functions = shipped_schema().functions
    assert functions is not None
    for name, sql in [*((step.name, step.sql) for step in shipped()), ("functions", functions.sql)]:
        assert not re.search(r"^\s*(COMMIT|ROLLBACK|END\s+TRANSACTION)\b|CONCURRENTLY", sql, re.M | re.I), name
