"""Connections by origin: taken, given back, aged out; never more than a number of them at once."""

import asyncio
import contextlib
import random
import re
import ssl
from collections import deque
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Final

from gateway.upstream.connection import Connection
from gateway.upstream.origin import Origin, TcpOrigin, UnixOrigin
from gateway.upstream.tls import system_trust

KEEP_ALIVE_MARGIN_S: Final = 1.0
CLOSE_S: Final = 5.0

_KEEP_ALIVE: Final = re.compile(r"timeout=(\d{1,6})")


class Pool:
    """Made and closed inside a running loop. A connection that is taken is given back, whatever became of it."""

    def __init__(self, *, connections_max: int, idle_s: float, age_max_s: float, tls: ssl.SSLContext | None) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._connections_max: Final = connections_max
        self._idle_s: Final = idle_s
        self._age_max_s: Final = age_max_s
        self._tls: Final = tls or system_trust()
        self._origins: Final[dict[tuple[bool, str, int], Origin]] = {}
        self._sockets: Final[dict[str, Origin]] = {}
        self._open: Final[set[Connection]] = set()
        self._in_use = 0
        self._waiting: Final[deque[asyncio.Future[None]]] = deque()
        """For one of those in use to be given back, in the order of their coming."""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed: asyncio.Future[None] | None = None

    def origin(self, *, tls: bool, host: str, port: int) -> Origin:
        """Where to connect to, once for all who want to go there."""
        origin = self._origins.get((tls, host, port))
        if origin is None:
            origin = self._origins[tls, host, port] = TcpOrigin(host, port, self._tls if tls else None)
        return origin

    def socket(self, path: str) -> Origin:
        """A server on this machine. Few paths are ever used; each is kept."""
        origin = self._sockets.get(path)
        if origin is None:
            origin = self._sockets[path] = UnixOrigin(path)
        return origin

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection on which nothing was received that was not asked for; None: `connect` one."""
        if self._in_use >= self._connections_max:
            return None
        connection = self._idle(origin)
        if connection is not None:
            self._in_use += 1
        return connection

    async def connect(self, origin: Origin, *, timeout_s: float) -> Connection:
        """Waits for its turn, then takes an idle connection or opens one. No byte of a request is written.

        Raises TimeoutError, or OSError when the name, the host or TLS fails.
        """
        async with asyncio.timeout(timeout_s):
            await self._turn()
            try:
                connection = self._idle(origin)
                if connection is None:
                    self._make_room()
                    connection = await self._connect(origin)
            except BaseException:
                self._pass_turn()
                raise
        return connection

    def give_back(self, connection: Connection, origin: Origin, keep_alive_hint: str = "") -> None:
        """Its call is over. It is kept where the next call is safe on it, and closed otherwise.

        The hint is how long the upstream says that it keeps an idle connection: `timeout=5, max=100`.
        """
        if connection.finish() and self._closed is None:
            now = self._loop.time()
            connection.idle_until = min(now + self._idle_s, connection.worn_out_at)
            if keep_alive_hint and (hint := _KEEP_ALIVE.search(keep_alive_hint)):
                connection.idle_until = min(connection.idle_until, now + float(hint[1]) - KEEP_ALIVE_MARGIN_S)
            if origin.tls is not None:
                connection.remember_session()
            origin.idle[connection] = None
            if self._sweep is None:
                self._sweep = self._loop.call_later(self._idle_s, self._close_stale)
        else:
            connection.abort()
        self._pass_turn()

    async def close(self) -> None:
        """Close every connection, also those in use, and wait until they are gone."""
        self._closed = self._loop.create_future()
        if self._sweep is not None:
            self._sweep.cancel()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(ConnectionError("the pool is closed"))
        for connection in self._open:
            connection.abort(ConnectionError("the pool is closed"))
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._closed

    # --- turns ------------------------------------------------------------------------------------------------------

    async def _turn(self) -> None:
        """Wait until a connection may be used; whoever came first goes first. `_pass_turn` ends it."""
        if self._in_use < self._connections_max:  # then nobody waits: turns are passed on
            self._in_use += 1
            return
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._pass_turn()  # it had come, too late
            raise

    def _pass_turn(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._in_use -= 1

    # --- connections ------------------------------------------------------------------------------------------------

    def _idle(self, origin: Origin) -> Connection | None:
        """The one used last: the others may grow old and go."""
        now = self._loop.time()
        while origin.idle:
            connection, _ = origin.idle.popitem()
            if now < connection.idle_until and connection.is_silent():
                return connection
            connection.abort()
        return None

    def _make_room(self) -> None:
        """For one more, which is counted already. Idle connections of other origins give way, old ones first."""
        if self._in_use + sum(1 for _ in self._all_idle()) > self._connections_max:
            connection, origin = next(self._all_idle())
            del origin.idle[connection]
            connection.abort()

    async def _connect(self, origin: Origin) -> Connection:
        if self._closed is not None:
            raise ConnectionError("the pool is closed")
        connection = await origin.connect(lambda: Connection(self._loop, on_lost=partial(self._lost, origin)))
        # Over TLS something may well have come: tickets for the session.
        if self._closed is not None or not (connection.is_open() if origin.tls else connection.is_silent()):
            connection.abort()
            raise ConnectionError("the pool is closed, or the peer spoke or hung up before it was asked")
        self._open.add(connection)
        age_s = self._age_max_s * random.uniform(0.9, 1.1)  # noqa: S311 - not a secret
        connection.worn_out_at = self._loop.time() + age_s
        return connection

    def _lost(self, origin: Origin, connection: Connection) -> None:
        self._open.discard(connection)
        origin.idle.pop(connection, None)
        if self._closed is not None and not self._open and not self._closed.done():
            self._closed.set_result(None)

    def _close_stale(self) -> None:
        self._sweep = None
        now = self._loop.time()
        for connection, origin in list(self._all_idle()):
            if now >= connection.idle_until:
                del origin.idle[connection]
                connection.abort()
        if any(True for _ in self._all_idle()):
            self._sweep = self._loop.call_later(self._idle_s, self._close_stale)

    def _all_idle(self) -> Iterator[tuple[Connection, Origin]]:
        for origin in chain(self._origins.values(), self._sockets.values()):
            for connection in origin.idle:
                yield connection, origin
