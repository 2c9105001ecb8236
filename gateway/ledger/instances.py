"""Which processes live. Each has a new id at every start and beats; the database's clock says who has fallen silent.

Declaring an instance dead (fencing) is a row that its reserving shares a lock on: once it is written, that process can
hold nothing more, however alive it still is. Then its open calls can be ended without a race.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.batcher import Connect
from gateway.ledger.options import LedgerSettings
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics
from gateway.postgres.outage import DRIVER_ERRORS
from gateway.postgres.queries import load

_SQL = load("instances")
_log = structlog.get_logger()

_GAP_BEATS: Final = 3.0
"""Successive heartbeats further apart than this many intervals are a gap."""
_CLOCK_STEP_MS: Final = 250
"""A difference to the database's clock that is worth following."""


class Instances:
    """This process's registration, its heartbeat, and the right to declare others dead.

    `on_fenced` is called when this process finds itself declared dead, before it registers anew: its open calls may be
    charged by the sweeper at any moment, so they should be cut and settled.
    """

    def __init__(
        self,
        *,
        connect: Connect,
        name: str,
        settings: LedgerSettings,
        clock: Clock,
        ids: IdSource,
        metrics: Metrics,
        on_fenced: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._name = name
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._on_fenced = on_fenced
        self._offset_ms = 0
        self.id: UUID = ids.next()
        self._connection: asyncpg.Connection | None = None
        self._beating = asyncio.Lock()
        self._unbroken_since: float | None = None
        self._last: tuple[float, float] | None = None
        """The last successful beat: our monotonic seconds, the database's Unix seconds."""

    async def start(self) -> None:
        """Register; raises what the database answers."""
        async with self._beating:
            await self._register()

    async def stop(self) -> None:
        """Declare ourselves dead, so that what is left is ended by the others without waiting."""
        async with self._beating:
            try:
                await (await self._connected()).execute(_SQL.fence_self, self.id)
            except DRIVER_ERRORS as error:
                _log.warning("ledger.instance_not_ended", instance=str(self.id), error=repr(error))
            self._drop_connection()

    async def beat(self) -> None:
        """One heartbeat; finds out whether we were declared dead, and then goes on under a new id."""
        async with self._beating:
            try:
                began = self._clock.monotonic()
                row = await (await self._connected()).fetchrow(_SQL.beat, self.id)
                if row is None or row["fenced_at"] is not None:
                    await self._reincarnate()
                else:
                    self._count(began, row["beat_at"].timestamp())
            except BaseException:
                self._unbroken_since = self._last = None
                self._drop_connection()
                raise

    def may_fence(self) -> bool:
        """Whether our own heartbeats came through without a gap for as long as others must have been silent.

        Otherwise the silence may be the database's, or ours, and everyone would declare everyone dead.
        """
        since, last = self._unbroken_since, self._last
        if since is None or last is None:
            return False
        now = self._clock.monotonic()
        return now - last[0] <= self._gap_s() and now - since >= self._settings.dead_after_s

    def may_fence_until(self) -> datetime:
        """Until then, by the database's clock, our last heartbeat speaks for the line. Only where `may_fence`."""
        assert self._last is not None
        return datetime.fromtimestamp(self._last[1] + self._gap_s(), UTC)

    async def renewed(self, fenced_id: UUID, *, until: float) -> None:
        """Return when this process has another id than that. Raises LedgerUnavailable at `until` (the loop's clock)."""
        try:
            async with asyncio.timeout_at(until):
                if self.id == fenced_id:
                    await self.beat()
        except DRIVER_ERRORS:
            pass
        if self.id == fenced_id:
            raise LedgerUnavailable("This process was declared dead and cannot register anew; nothing was reserved.")

    # ----------------------------------------------------------------------------------------------------------------

    async def _reincarnate(self) -> None:
        _log.error("ledger.fenced", instance=str(self.id))
        self._metrics.fenced.inc()
        self._unbroken_since = self._last = None
        self._on_fenced()
        await self._register()

    async def _register(self) -> None:
        id = self._ids.next()
        await (await self._connected()).execute(_SQL.register, id, self._name)
        self.id = id
        _log.info("ledger.instance_registered", instance=str(id))

    def _count(self, began: float, database_s: float) -> None:
        now = self._clock.monotonic()
        if self._last is not None:
            ours, theirs = now - self._last[0], database_s - self._last[1]
            # A database clock that was set forward makes everybody look silent: that is a gap as well.
            if ours > self._gap_s() or abs(theirs - ours) > self._gap_s():
                self._unbroken_since = None
        if self._unbroken_since is None:
            self._unbroken_since = now
        self._last = (now, database_s)
        offset_ms = round(database_s * 1000) - self._clock.unix_ms() + round((now - began) * 500)
        if abs(offset_ms - self._offset_ms) >= _CLOCK_STEP_MS:
            self._offset_ms = offset_ms
            self._ids.correct(offset_ms)

    def _gap_s(self) -> float:
        return _GAP_BEATS * self._settings.beat_s

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
