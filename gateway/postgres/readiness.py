"""Whether a process can work on its database."""

import asyncio
from typing import cast

import asyncpg
import structlog

from gateway.postgres.migrate import SchemaError, require_current
from gateway.postgres.outage import DRIVER_ERRORS, is_outage

log = structlog.get_logger()


async def database_trouble(pool: asyncpg.Pool, *, timeout_s: float) -> str | None:
    """What keeps this version from working on the database, in words that anyone may read; None: nothing."""
    try:
        async with asyncio.timeout(timeout_s), pool.acquire() as connection:
            # What a pool lends is a stand-in with every method of a connection.
            await require_current(cast(asyncpg.Connection, connection))
    except SchemaError as error:
        return str(error)
    except DRIVER_ERRORS as error:
        # Not the driver's words: they name hosts and users.
        if is_outage(error):
            return "does not answer"
        log.exception("database.not_usable")
        return "cannot be used; the log says why"
    return None
