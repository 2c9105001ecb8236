"""The database that a command works on: DATABASE_URL's, or the embedded one of the data folder, started if need be."""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

import asyncpg

from gateway.cli.place import default_data_dir
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate, pending, require_current
from gateway.postgres.pool import connect

CONNECT_TIMEOUT_S: Final = 10.0
STATEMENT_TIMEOUT_S: Final = 60.0


@contextlib.asynccontextmanager
async def database(
    data_dir: Path | None,
    *,
    progress: Callable[[str], None],
    up_to_date: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> AsyncIterator[str]:
    """The DSN of a running database, for as long as the block lasts. A folder that is named goes before DATABASE_URL.

    `up_to_date`: the schema is this version's. An embedded database that nobody else uses is migrated for that, another
    is refused with SchemaError.
    """
    url = environ.get("DATABASE_URL")
    if url and data_dir is None:
        if up_to_date:
            await require_current_schema(url)
        yield url
        return
    folder = (data_dir or default_data_dir(environ)) / "postgres"
    server = EmbeddedPostgres(folder, progress=progress, environ=environ)
    dsn = await server.start()
    try:
        if up_to_date:
            await (require_current_schema(dsn) if server.adopted else bring_up_to_date(dsn))
        yield dsn
    finally:
        await server.stop()


async def bring_up_to_date(dsn: str) -> list[str]:
    """Applies what is pending; its names. Raises SchemaError."""
    async with connection(dsn) as owner:
        return await migrate(owner)


async def require_current_schema(dsn: str) -> None:
    """Raises SchemaError."""
    async with connection(dsn) as owner:
        await require_current(owner)


async def pending_names(dsn: str) -> list[str]:
    async with connection(dsn) as owner:
        return await pending(owner)


@contextlib.asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    owner = await connect(dsn, statement_timeout_s=STATEMENT_TIMEOUT_S, connect_timeout_s=CONNECT_TIMEOUT_S)
    try:
        yield owner
    finally:
        await owner.close(timeout=CONNECT_TIMEOUT_S)
