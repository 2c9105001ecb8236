import asyncpg
import pytest

from gateway.postgres.pool import APP_ROLE, connect, open_pool


async def test_connections_are_in_utc_without_jit_and_with_a_statement_timeout(pool: asyncpg.Pool) -> None:
    row = await pool.fetchrow(
        """
        SELECT current_setting('timezone') AS tz, current_setting('jit') AS jit,
               current_setting('statement_timeout') AS t
        """
    )
    assert row is not None
    assert dict(row) == {"tz": "UTC", "jit": "off", "t": "10s"}


async def test_the_server_ends_a_statement_that_takes_too_long(dsn: str) -> None:
    pool = await open_pool(dsn, min_size=1, max_size=1, statement_timeout_s=0.05, connect_timeout_s=10)
    with pytest.raises(asyncpg.QueryCanceledError):
        await pool.execute("SELECT pg_sleep(10)")
    assert await pool.fetchval("SELECT 1") == 1
    await pool.close()


async def test_the_pool_acts_as_the_application_role_where_that_exists(dsn: str, owner: asyncpg.Connection) -> None:
    exists = await owner.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", APP_ROLE)
    if not exists:
        await owner.execute(f"CREATE ROLE {APP_ROLE} NOLOGIN")
    pool = await open_pool(dsn, min_size=1, max_size=1, statement_timeout_s=1, connect_timeout_s=10)
    for _ in range(2):  # The role outlasts giving the connection back.
        assert await pool.fetchval("SELECT current_user") == APP_ROLE
    await pool.close()
    if not exists:
        await owner.execute(f"DROP ROLE {APP_ROLE}")


async def test_a_connection_outside_the_pool_acts_as_the_schemas_owner(dsn: str) -> None:
    connection = await connect(dsn, statement_timeout_s=1, connect_timeout_s=10)
    assert await connection.fetchval("SELECT current_user") == "tollgate"
    await connection.close(timeout=10)


async def test_a_transaction_left_open_by_mistake_does_not_reach_the_next_user(dsn: str) -> None:
    pool = await open_pool(dsn, min_size=1, max_size=1, statement_timeout_s=1, connect_timeout_s=10)
    async with pool.acquire() as connection:
        await connection.execute("BEGIN; CREATE TEMP TABLE left_open ()")
    assert await pool.fetchval("SELECT to_regclass('left_open') IS NULL")
    await pool.close()
