"""One caller's connection: the timers and caps that aiohttp leaves to us, and word to the call when it is lost."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.edge.errors import malformed_request
from gateway.edge.rooms import IDS
from gateway.ops.ids import IdSource

Handler = Callable[[web.BaseRequest], Awaitable[Any]]


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    header_s: float = 10.0
    """A request's head must be complete this long after its first byte, or after connecting."""
    keepalive_s: float = 75.0
    """An idle connection is closed after this long."""
    write_s: float = 60.0
    """A caller that takes nothing for this long is treated as gone."""
    unauthenticated_per_address_max: int = 1024
    """Connections from one address that have not yet shown a valid key."""
    header_bytes_max: int = 16 * 1024
    """One header field, and the request line."""


class Connection(RequestHandler):
    """aiohttp's protocol with a head timer. `on_lost` is called once when the peer is gone."""

    __slots__ = ("_address", "_head_timer", "_listener", "_stalled_at", "_unsent_bytes", "on_lost")

    def __init__(self, listener: "Listener", **kwargs: Any) -> None:
        super().__init__(listener, **kwargs)
        self._listener = listener
        self._head_timer: asyncio.TimerHandle | None = None
        self._address: str | None = None
        self.on_lost: Callable[[], None] | None = None
        self._stalled_at = 0.0
        """When the peer was last seen to take something; counts while writing is paused."""
        self._unsent_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else "local"
        if not self._listener.admit(address):
            self.force_close()
            return
        self._address = address
        self._await_head()

    def authenticated(self) -> None:
        """The connection has shown a valid key and no longer counts against its address."""
        if self._address is not None:
            self._listener.forget(self._address)
            self._address = None

    def connection_lost(self, exc: BaseException | None) -> None:
        self.authenticated()
        self._head_came()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        waiting = self._waiter is not None and not self._waiter.done() and not self._messages
        if waiting:
            if self._head_timer is None:
                self._await_head()
        elif self._head_timer is not None:
            self._head_came()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled_at = self._loop.time()
        self._unsent_bytes = 0

    def abort_if_stalled(self, now: float) -> None:
        """Treats a peer as gone that has left our bytes untouched for too long; one that takes a few has time again."""
        transport = self.transport
        if transport is None or not self.writing_paused:
            return
        unsent = transport.get_write_buffer_size()
        if unsent != self._unsent_bytes:
            self._unsent_bytes = unsent
            self._stalled_at = now
        elif now - self._stalled_at > self._listener.limits.write_s:
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What aiohttp itself has to say, which is that the request is no HTTP: in our words and dialect."""
        if isinstance(exc, ConnectionError):
            raise exc  # nobody is there to read it
        response = malformed_request(self._listener.ids.next())
        response.force_close()
        return response

    def _await_head(self) -> None:
        self._head_timer = self._loop.call_later(self._listener.limits.header_s, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.force_close()


class Listener(web.Server):
    """aiohttp's server, making our connections; closes those whose peer stopped reading."""

    def __init__(self, handler: Any, *, limits: ConnectionLimits, ids: IdSource, **kwargs: Any) -> None:
        super().__init__(handler, **kwargs)
        self.limits = limits
        self.ids = ids
        self._unauthenticated: Counter[str] = Counter()

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def admit(self, address: str) -> bool:
        if self._unauthenticated[address] >= self.limits.unauthenticated_per_address_max:
            return False
        self._unauthenticated[address] += 1
        return True

    def forget(self, address: str) -> None:
        self._unauthenticated[address] -= 1
        if self._unauthenticated[address] <= 0:
            del self._unauthenticated[address]

    async def close_stalled(self) -> None:
        """Ends connections whose peer stopped reading; called every second."""
        now = self._loop.time()
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.abort_if_stalled(now)


class Runner(web.AppRunner):
    """aiohttp's runner, listening with our Listener. Its own access log and decompression are off.

    `straight` names requests by method and raw path that go to their handler past the router and its middlewares:
    those cost more than the handler's own work.
    """

    def __init__(
        self,
        app: web.Application,
        limits: ConnectionLimits,
        *,
        straight: Mapping[tuple[str, str], Handler],
    ) -> None:
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=limits.keepalive_s,
            max_line_size=limits.header_bytes_max,
            max_field_size=limits.header_bytes_max,
            auto_decompress=False,
            lingering_time=2.0,
        )
        self._limits = limits
        self._straight = straight
        self.listener: Listener | None = None

    async def _make_server(self) -> Listener:
        server = await super()._make_server()
        routed, straight = server.request_handler, self._straight

        def handle(request: web.BaseRequest) -> Awaitable[Any]:
            path, _, _ = request.raw_path.partition("?")
            return straight.get((request.method, path), routed)(request)

        self.listener = Listener(
            handle, limits=self._limits, ids=self.app[IDS], request_factory=server.request_factory, **server._kwargs
        )
        return self.listener
