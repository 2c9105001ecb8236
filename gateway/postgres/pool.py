"""The pool of database connections: with time limits, UTC, no JIT, and the role that may not rewrite the ledger."""

from typing import Final

import asyncpg

APP_ROLE: Final = "tollgate_app"
"""The role that migrations make, with no more rights than the application needs."""

DriverUuid: Final = asyncpg.pgproto.pgproto.UUID
"""The driver's own kind of UUID, which it hashes, prints and sends in C."""


class Connection(asyncpg.Connection):
    """A connection whose session state nobody changes, so that giving it back costs no round trip to reset it.

    What does change it (LISTEN, SET outside a transaction, session advisory locks, cursors WITH HOLD) needs a
    connection of its own, from `connect`.
    """

    def get_reset_query(self) -> str:
        return ""


async def open_pool(
    dsn: str,
    *,
    min_size: int,
    max_size: int,
    statement_timeout_s: float,
    connect_timeout_s: float,
    application_name: str = "tollgate",
) -> asyncpg.Pool:
    """A pool acting as the application role where that exists.

    The server ends a statement at `statement_timeout_s`; our own side gives up one connect timeout later, which is
    the case of a server that no longer answers at all.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        init=act_as_application,
        connection_class=Connection,
        timeout=connect_timeout_s,
        command_timeout=statement_timeout_s + connect_timeout_s,
        server_settings=_session(statement_timeout_s, application_name),
    )


async def connect(
    dsn: str, *, statement_timeout_s: float, connect_timeout_s: float, application_name: str = "tollgate"
) -> asyncpg.Connection:
    """One connection outside the pool, as the user of the DSN: for migrations, LISTEN and operators' commands."""
    return await asyncpg.connect(
        dsn,
        timeout=connect_timeout_s,
        command_timeout=statement_timeout_s + connect_timeout_s,
        server_settings=_session(statement_timeout_s, application_name),
    )


async def acts_as_application(connection: asyncpg.Connection) -> bool:
    """Whether this user may take the application's role."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_app' AND pg_has_role(oid, 'MEMBER'))"
        )
    )


async def act_as_application(connection: asyncpg.Connection) -> None:
    """SET ROLE to the application's role, if the database has it and this user may."""
    await connection.execute(
        """
        SELECT set_config('role', rolname, false)
          FROM pg_roles
         WHERE rolname = 'tollgate_app' AND pg_has_role(oid, 'MEMBER')
        """
    )


def _session(statement_timeout_s: float, application_name: str) -> dict[str, str]:
    return {
        "application_name": application_name,
        "statement_timeout": f"{round(statement_timeout_s * 1000)}ms",
        "timezone": "UTC",
        "jit": "off",
    }
