"""Whose the ids are that providers gave to what they keep: who was not handed one here cannot use it."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from gateway.core.dialect import Kept
from gateway.core.errors import LedgerUnavailable
from gateway.postgres.outage import DRIVER_ERRORS, is_outage, unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("stored")
_log = structlog.get_logger()

KEPT_S: Final = 30 * 86_400.0
"""How long OpenAI keeps a response. Who keeps one for longer has it found for so long and no longer."""
ID_CHARS_MAX: Final = 256
RESPONSE_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
"""An id is a part of an address: one that is spelled otherwise is none."""
BATCH_MAX: Final = 1_000
WAITING_MAX: Final = 100_000
"""Ids that wait for a database that does not answer; beyond it none is handed out."""
WAIT_S: Final = 2.0
"""How long an answer waits for its ids to be written down. Then it goes on, and they are written as soon as they can
be: until then the id is nobody's."""
RETRY_S: Final = 0.5
PURGED_AT_ONCE: Final = 5_000


class StoredObject(msgspec.Struct, frozen=True):
    id: str
    kind: str
    upstream: str
    """The name of the upstream that keeps it."""


class _Row(msgspec.Struct, frozen=True):
    org_id: UUID
    id: str
    kind: str
    parent_id: str
    upstream: str


class StoredObjects:
    """Ids are written together, one statement at a time, by whoever comes while one is under way.

    Made and used inside a running loop; `stop` writes what waits.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[_Row, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def remember(self, org_id: UUID, upstream: str, response_id: str, kept: Iterable[Kept]) -> None:
        """They are the organisation's. Raises LedgerUnavailable where too many wait already."""
        rows = [
            _Row(org_id, each.id, each.kind, response_id or each.id, upstream)
            for each in kept
            if 1 <= len(each.id) <= ID_CHARS_MAX and "\x00" not in each.id
        ]
        if not rows:
            return
        if len(self._waiting) + len(rows) > WAITING_MAX:
            raise LedgerUnavailable("What the provider keeps cannot be written down right now; try again shortly.")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting += [(row, done) for row in rows]
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="stored objects")
        await asyncio.wait([done], timeout=WAIT_S)

    @unavailable_in_outage
    async def find(self, org_id: UUID, ids: Sequence[str]) -> dict[str, StoredObject]:
        """Those of them that are the organisation's, by id."""
        asked = [id for id in ids if "\x00" not in id]
        rows = await self._pool.fetch(_SQL.find, org_id, asked)
        return {row["id"]: StoredObject(row["id"], row["kind"], row["upstream"]) for row in rows}

    @unavailable_in_outage
    async def forget(self, org_id: UUID, response_id: str) -> None:
        """A response, and what came with it."""
        await self._pool.execute(_SQL.forget, org_id, response_id)

    async def purge(self) -> int:
        """Those that no provider keeps any longer. Returns how many."""
        purged = 0
        while True:
            status = await self._pool.execute(_SQL.purge, PURGED_AT_ONCE)
            count = int(status.rpartition(" ")[2])
            purged += count
            if count < PURGED_AT_ONCE:
                return purged

    async def stop(self) -> None:
        """Writes what waits, if the database answers in time."""
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=WAIT_S)
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:BATCH_MAX]
                try:
                    await self._insert([row for row, _ in batch])
                except DRIVER_ERRORS as error:
                    if is_outage(error):
                        await asyncio.sleep(RETRY_S)
                        continue
                    _log.exception("stored.not_written", count=len(batch))  # they stay nobody's
                del self._waiting[: len(batch)]
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)
        finally:
            self._writer = None

    async def _insert(self, rows: Sequence[_Row]) -> None:
        columns = [[getattr(row, name) for row in rows] for name in _Row.__struct_fields__]
        await self._pool.execute(_SQL.remember, *columns, KEPT_S)
