"""Hears what other processes changed: LISTEN, on a connection of its own that no pooler takes away."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import asyncpg
import structlog

from gateway.postgres.outage import is_outage

log = structlog.get_logger()

_CONNECT_TIMEOUT_S: Final = 5.0


class Changes:
    """Calls `on_change(payload)` for each announcement.

    Whatever was announced while nobody listened is lost, so each new connection begins with `on_gap`. Losing one does
    not: while the database is away nothing can change either, and what is remembered has a time to live of its own.
    """

    def __init__(
        self,
        dsn: str,
        channel: str,
        *,
        on_change: Callable[[str], None],
        on_gap: Callable[[], None],
        ping_s: float,
        reconnect_s: float,
    ) -> None:
        self._dsn = dsn
        self._channel = channel
        self._on_change = on_change
        self._on_gap = on_gap
        self._ping_s = ping_s
        self._reconnect_s = reconnect_s
        self._listening: asyncio.Task[None] | None = None
        self.connected = asyncio.Event()
        """Set while announcements are heard."""

    async def start(self) -> None:
        """Begins in the background: a gateway may start while its database is away."""
        self._listening = asyncio.create_task(self._listen(), name=f"listen {self._channel}")

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except Exception as error:  # Where the loop goes on: nobody else would notice its end.
                if not is_outage(error):
                    log.exception("changes.not_heard", channel=self._channel)
            await asyncio.sleep(self._reconnect_s)

    async def _listen_once(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=_CONNECT_TIMEOUT_S, command_timeout=_CONNECT_TIMEOUT_S)
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, lambda _c, _p, _ch, payload: self._on_change(str(payload)))
            self._on_gap()
            self.connected.set()
            while not lost.is_set():
                # A connection that a firewall forgot says nothing for ever; a ping finds out.
                await connection.fetchval("SELECT 1")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._ping_s):
                        await lost.wait()
        finally:
            self.connected.clear()
            connection.terminate()
