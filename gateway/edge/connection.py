"""One caller's connection: plain requests served straight, the timers and caps that aiohttp leaves to us, and word to
the call when it is lost.

A plain inference request goes from the socket to its handler in one step. With the first request of any other form or
path the connection is aiohttp's and stays so: its parser alone then knows where one request ends and the next begins.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import structlog
from aiohttp import ClientConnectionResetError, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from gateway.edge.errors import INTERNAL, NO_HTTP, from_http, is_api, unrouted_response
from gateway.edge.plain_request import Content, PlainHead, PlainRequest, read_plain
from gateway.ops.ids import IdSource

log = structlog.get_logger()

Request = web.BaseRequest | PlainRequest
Handler = Callable[[Request], Awaitable[Any]]
Routes = Mapping[tuple[str, str], Handler]
"""By method and path as they are spelled on the wire, or a path with `{model}` in the place of the model's name."""

EARLY_BYTES_MAX: Final = 64 * 1024
"""Of requests that come before the one under way is answered; then the connection is not read until it is."""
LINE_BYTES_KEPT: Final = 256
"""Of a request's beginning, to tell by its path in which dialect it is answered where it turns out to be no HTTP."""
LINGER_S: Final = 2.0
"""How long the rest of a body that was refused may still come: closing at once would reset the connection, and the
answer with it."""

_CALL_OF_MODEL: Final = re.compile(r"(/v1(?:beta)?/models)/.+(:[A-Za-z]+)")
"""A path that names a model, and after the last colon what is asked of it."""
_FOR_API: Final = re.compile(rb"[\r\n]*[^ \r\n]+ +(?:[A-Za-z]+://[^/ ]*)?/api(?:[/?# \r\n]|\Z)")


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
    """aiohttp's protocol with a head timer and a straight way. `on_lost` is called once when the peer is gone."""

    __slots__ = (
        "_address",
        "_aiohttp_reads",
        "_body",
        "_early",
        "_head",
        "_head_timer",
        "_line",
        "_listener",
        "_outgoing",
        "_serving",
        "_stalled_at",
        "_unsent_bytes",
        "on_lost",
    )

    def __init__(self, listener: "Listener", **kwargs: Any) -> None:
        super().__init__(listener, **kwargs)
        self._listener = listener
        self._head_timer: asyncio.TimerHandle | None = None
        self._address: str | None = None
        self.on_lost: Callable[[], None] | None = None
        self._stalled_at = 0.0
        """When the peer was last seen to take something; counts while writing is paused."""
        self._unsent_bytes = 0
        self._aiohttp_reads = False
        """Some byte of this connection went to aiohttp's parser; from then on all do."""
        self._line = b""
        """How the request began that aiohttp reads."""
        self._head: PlainHead | None = None
        """Of the last plain request."""
        self._serving: asyncio.Task[None] | None = None
        """The plain request under way."""
        self._body: Content | None = None
        """Its body, while some of it is missing."""
        self._early = b""
        """What came after it and before its answer."""
        self._outgoing: list[bytes] = []

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
        self._outgoing.clear()
        self.authenticated()
        self._head_came()
        super().connection_lost(exc)
        if self._body is not None:
            self._body.break_off()
        if self.on_lost is not None:
            self.on_lost()

    def data_received(self, data: bytes) -> None:
        if self._aiohttp_reads:
            if self._head_timer is not None:
                self._line += data[: LINE_BYTES_KEPT - len(self._line)]
            elif self._awaits_request():
                self._line = data[:LINE_BYTES_KEPT]
            super().data_received(data)
            if self._awaits_request():
                if self._head_timer is None:
                    self._await_head()
            elif self._head_timer is not None:
                self._head_came()
            return
        if self._body is not None:
            data = self._body.feed(data)
            if self._body.is_eof():
                self._body = None
        if not data:
            return
        if self._serving is None:
            self._begin(data)
            return
        self._early += data
        if len(self._early) > EARLY_BYTES_MAX:
            self._pause_transport_reading()

    def _awaits_request(self) -> bool:
        """aiohttp has seen no whole head since it answered the last request."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    # --- the straight way -------------------------------------------------------------------------------------------

    def _begin(self, data: bytes) -> None:
        """The first bytes of a request, while none is under way."""
        if self._force_close or self._close:
            return
        listener = self._listener
        plain = read_plain(data, self, head_bytes_max=listener.limits.header_bytes_max, last=self._head)
        handler = listener.straight_handler(plain[0]) if plain is not None else None
        if plain is None or handler is None:
            self.flush()  # aiohttp writes by itself, and must not overtake
            self._aiohttp_reads = True
            self.data_received(data)
            return
        if self._head_timer is not None:
            self._head_came()
        request, self._early = plain
        self._head = request.head
        self._body = None if request.content.is_eof() else request.content
        self._serving = self._loop.create_task(self._serve(handler, request))

    async def _serve(self, handler: Handler, request: PlainRequest) -> None:
        """One plain request to its end; then the connection is free for the next, or closed."""
        reusable = False
        try:
            answer = await handler(request)
            if not answer.prepared:
                await answer.prepare(request)
                await answer.write_eof()
            reusable = answer.keep_alive and (self._body is None or await self._rest_came(self._body))
        except ConnectionError:
            pass  # nobody is there to read it
        except asyncio.CancelledError:
            if self.transport is not None:
                raise
        except Exception:
            log.exception("request.failed")
        finally:
            self._serving = None
            if reusable and not (self._close or self._force_close):
                self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
                if self._early:
                    self._begin_early()
            else:
                self.force_close()

    def _begin_early(self) -> None:
        early, self._early = self._early, b""
        self._begin(early)
        if len(early) > EARLY_BYTES_MAX >= len(self._early) and not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    async def _rest_came(self, body: Content) -> bool:
        self.flush()
        try:
            async with asyncio.timeout(LINGER_S):
                while await body.readany():
                    pass
        except TimeoutError:
            return False
        return True

    def send(self, data: bytes) -> None:
        """Writes for a handler. Raises ClientConnectionResetError if the peer is gone.

        On the straight way what several calls have to say in one turn of the loop is written in one go, since a write
        costs the more the colder its code is, and an idle reader is woken but once.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the caller is gone")
        if self._serving is None:
            transport.write(data)
            return
        if not self._outgoing:
            self._listener.flush_soon(self)
        self._outgoing.append(data)

    async def drained(self) -> None:
        """Waits while the peer takes less than is written. Raises ClientConnectionResetError if it is gone."""
        if self.writing_paused:
            await self._drain_helper()

    def flush(self) -> None:
        """Writes what `send` gathered."""
        if self._outgoing:
            data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
            self._outgoing.clear()
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(data)

    def force_close(self) -> None:
        self.flush()
        super().force_close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 — aiohttp's signature
        """Gives the plain request under way its time as well, then cancels it."""
        self._force_close = True
        serving = self._serving
        if serving is not None:
            await asyncio.wait([serving], timeout=timeout)
            serving.cancel()
            await asyncio.wait([serving], timeout=timeout)
        await super().shutdown(timeout)

    def _process_keepalive(self) -> None:
        if self._serving is not None:  # aiohttp sees an idle connection
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    # --- the timers -------------------------------------------------------------------------------------------------

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
        """What aiohttp itself has to say, which is that the request is no HTTP: in our words and dialects."""
        if isinstance(exc, ConnectionError):
            raise exc  # nobody is there to read it
        if isinstance(exc, HttpProcessingError):
            error, problem = NO_HTTP, _FOR_API.match(self._line) is not None
        else:
            log.error("request.failed", method=request.method, path=request.path[:200], exc_info=exc)
            error, problem = INTERNAL, is_api(request.path)
        response = unrouted_response(error, id=self._listener.ids.next(), problem=problem)
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

    def __init__(
        self,
        routed: Callable[[web.BaseRequest], Awaitable[Any]],
        *,
        straight: Routes,
        limits: ConnectionLimits,
        ids: IdSource,
        **kwargs: Any,
    ) -> None:
        super().__init__(self._handle, **kwargs)
        self._routed = routed
        self._straight = straight
        self._unflushed: list[Connection] = []
        self.limits = limits
        self.ids = ids
        self._unauthenticated: Counter[str] = Counter()

    def __call__(self) -> RequestHandler:
        return Connection(self, loop=self._loop, **self._kwargs)

    def straight_handler(self, request: Request) -> Handler | None:
        """That of an inference route, which is called past the application's router and its middlewares."""
        path, _, _ = request.raw_path.partition("?")
        handler = self._straight.get((request.method, path))
        if handler is None and (call := _CALL_OF_MODEL.fullmatch(path)) is not None:
            return self._straight.get((request.method, f"{call[1]}/{{model}}{call[2]}"))
        return handler

    def _handle(self, request: web.BaseRequest) -> Awaitable[Any]:
        handler = self.straight_handler(request)
        return self._answered(request) if handler is None else handler(request)

    async def _answered(self, request: web.BaseRequest) -> Any:
        """aiohttp refuses some requests before any middleware, such as those that expect what nobody knows."""
        try:
            return await self._routed(request)
        except web.HTTPException as failure:
            error = from_http(failure, request)
            return unrouted_response(error, id=self.ids.next(), problem=is_api(request.path))

    def flush_soon(self, connection: Connection) -> None:
        """After the callbacks that are ready by now."""
        if not self._unflushed:
            self._loop.call_soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed, self._unflushed = self._unflushed, []
        for connection in unflushed:
            connection.flush()

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
