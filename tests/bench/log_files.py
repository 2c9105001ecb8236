"""A server's log files made before anything is measured, as on a server that has run for a day.

PostgreSQL makes a log file (16 MiB) when it first needs one, and fills it with zeros while every commit waits: 60 ms on
a quick disk. After a checkpoint it writes to used ones again: as many as `min_wal_size` says and its load has needed.
"""

from typing import Final

import asyncpg

_SHARE_IN_ADVANCE: Final = 0.9
"""Of `min_wal_size`: what is above it is deleted at the checkpoint."""


async def make_log_files(connection: asyncpg.Connection) -> None:
    """Fill as many log files as the server keeps, then have them ready to be written again. A superuser's right."""
    kept = await connection.fetchval("SELECT setting::int FROM pg_settings WHERE name = 'min_wal_size'")
    file_mb = await connection.fetchval(
        "SELECT setting::bigint / 1048576 FROM pg_settings WHERE name = 'wal_segment_size'"
    )
    for _ in range(int(kept / file_mb * _SHARE_IN_ADVANCE)):
        await connection.execute("SELECT pg_logical_emit_message(true, 'tollgate', ''); SELECT pg_switch_wal()")
    await connection.execute("CHECKPOINT")
    await connection.execute("CHECKPOINT")
