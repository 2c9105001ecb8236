"""One call to an upstream: bytes out, a head back, then raw bytes as they come, each phase under its own clock.

aiohttp's connector, parser and stream carry it; its session is left out, and with it every retry, redirect, cookie,
decompression and header of its own. A request of which one byte may have been written is never sent again.
"""

import asyncio
import math
import re
import ssl
import weakref
from collections.abc import Iterable
from typing import Final, NoReturn, Self

from aiohttp import ClientConnectionError, ClientError, ClientRequest, ClientTimeout, EofStream, StreamReader
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawResponseMessage
from yarl import URL

from gateway.core.errors import UpstreamBroken, UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from gateway.upstream.connections import GuardedConnector, GuardedProtocol
from gateway.upstream.registry import Upstream

READ_BUFFER_BYTES: Final = 64 * 1024
"""Twice this may wait unread in an answer before its connection stops reading."""
HEADER_BYTES_MAX: Final = 16 * 1024
HEADERS_MAX: Final = 128
INTERIM_ANSWERS_MAX: Final = 8

BREAKS: Final = (ClientError, OSError, EofStream, HttpProcessingError)
"""All that aiohttp and the system raise when a connection, its timing or its framing fails."""

_KEEP_ALIVE: Final = re.compile(r"timeout=(\d{1,6})")
_FORBIDDEN: Final = ("\r", "\n", "\0")


class _Route:
    """What every call to one path of one upstream has in common, made once."""

    def __init__(self, upstream: Upstream, path: str, loop: asyncio.AbstractEventLoop) -> None:
        url = URL(upstream.base_url + path, encoded=True)
        assert not url.raw_query_string, "paths are constants of ours, without a query"
        # The connector takes from a request where to connect; it never writes it, so one serves all calls.
        self.target: Final = ClientRequest("POST", url, loop=loop, headers={})
        self.timeout: Final = ClientTimeout(
            total=None, connect=upstream.timeouts.connect_s, sock_connect=upstream.timeouts.connect_s
        )
        lines = [f"POST {url.raw_path} HTTP/1.1", f"host: {url.host_port_subcomponent}"]
        if upstream.api_key:
            lines.append(f"authorization: Bearer {upstream.api_key}")
        lines.extend(f"{name.lower()}: {value}" for name, value in upstream.headers)
        lines.append("content-type: application/json")
        lines.append("accept-encoding: identity")  # a compressed stream would blind the meter
        self.head_start: Final = "\r\n".join(lines)


class UpstreamAnswer:
    """The head of an answer, and its body to be read. Ends by its last byte, `release()` or `abort()`: always one."""

    __slots__ = (
        "_body",
        "_chunked",
        "_clock",
        "_connection",
        "_protocol",
        "_upstream",
        "content_length",
        "ended",
        "headers",
        "status",
    )

    def __init__(
        self,
        upstream: Upstream,
        connection: Connection,
        clock: "_Clock",
        message: RawResponseMessage,
        body: StreamReader,
    ) -> None:
        protocol = connection.protocol
        assert isinstance(protocol, GuardedProtocol)
        self.status: Final[int] = message.code
        self.headers: Final[list[tuple[str, str]]] = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in message.raw_headers
        ]
        """In the order of the wire, names in lower case, nothing left out."""
        self.content_length: Final[int | None] = _content_length(message)
        self.ended = False
        """It was read to its clean end."""
        self._upstream: Final = upstream.name
        self._chunked: Final = message.chunked
        self._body: Final = body
        self._clock: Final = clock
        self._protocol: Final = protocol
        self._connection: Connection | None = connection

    async def read(self, timeout_s: float) -> bytes:
        """Whatever has come, at least one byte; b"" at the clean end, and for ever after.

        Raises UpstreamTimeout when nothing comes for so long (or the call's total is over), UpstreamBroken when the
        connection broke, the framing did, or the answer was given up. What came before is handed out first.
        A cancelled read loses nothing: the answer can be read on, by whoever drains it.
        """
        body = self._body
        if self._connection is None:
            return self._after_the_end()
        if body._buffer:  # not read_nowait(): that raises a later error before it gives the bytes that preceded it
            return body._read_nowait(-1)
        try:
            if not body.at_eof():
                self._clock.start(timeout_s)
                try:
                    chunk = await body.readany()
                finally:
                    self._clock.pause()
                if chunk:
                    return chunk
        except BREAKS as error:
            self.abort()
            self._clock.explain(error, self._upstream, "broke off its answer")
        self.ended = True
        self.release()
        return b""

    def _after_the_end(self) -> bytes:
        if self.ended:
            return b""
        raise UpstreamBroken(f"The answer of `{self._upstream}` was given up before its end.", upstream=self._upstream)

    def release(self) -> None:
        """Give the connection back if it carried exactly this answer and it was read to its end; close it otherwise."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._clock.stop()
        protocol, body = self._protocol, self._body
        if body.at_eof() and protocol.answered_exactly(chunked=self._chunked, body_bytes=body.total_bytes):
            protocol.rest(_keep_alive_s(self.headers))
            connection.release()
        else:
            _close(connection)

    def abort(self) -> None:
        """Close the connection now; the upstream sees that nobody listens. Safe at any time, and twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._clock.stop()
            if self._body.exception() is None:
                self._body.set_exception(ClientConnectionError("given up by us"))  # wakes a read() that still waits
            _close(connection)


class UpstreamClient:
    """Sends calls over pooled connections. Made and closed inside a running loop."""

    def __init__(
        self, *, connections_max: int = 10_000, idle_s: float = 15.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """A connection idles at most `idle_s`: less than the providers allow, so that the race with theirs is rare.

        `tls` replaces the system's trust, for upstreams behind an authority of one's own.
        """
        self._loop: Final = asyncio.get_running_loop()
        self._connector: Final = GuardedConnector(connections_max=connections_max, idle_s=idle_s, tls=tls)
        self._routes: Final[weakref.WeakKeyDictionary[Upstream, dict[str, _Route]]] = weakref.WeakKeyDictionary()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, also those that an answer still uses."""
        await self._connector.close()

    async def send(
        self, upstream: Upstream, path: str, body: bytes, headers: Iterable[tuple[str, str]] = ()
    ) -> UpstreamAnswer:
        """POST a JSON body and wait for the answer's head; interim answers (1xx) are passed over.

        `path` is a constant of ours such as `/chat/completions`; `headers` were chosen by the relay and go as they are.
        Raises UpstreamUnreachable (nothing was sent), UpstreamTimeout, UpstreamBroken.
        """
        route = self._route(upstream, path)
        request = _request_bytes(route, body, headers)
        clock = _Clock(self._loop, upstream.timeouts.total_s)
        connection = await self._connect(upstream, route)
        try:
            protocol = connection.protocol
            assert isinstance(protocol, GuardedProtocol)
            assert protocol.transport is not None
            protocol.begin()
            protocol.set_response_params(
                read_until_eof=True,
                auto_decompress=False,
                read_bufsize=READ_BUFFER_BYTES,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                max_headers=HEADERS_MAX,
            )
            clock.guard(protocol)
            protocol.transport.write(request)
            clock.start(upstream.timeouts.first_event_s)
            message, payload = await _final_answer(protocol, upstream)
            clock.pause()
            return UpstreamAnswer(upstream, connection, clock, message, payload)
        except BREAKS as error:
            clock.stop()
            _close(connection)
            clock.explain(error, upstream.name, "closed the connection or sent no HTTP before it answered")
        except BaseException:
            clock.stop()
            _close(connection)
            raise

    def _route(self, upstream: Upstream, path: str) -> _Route:
        routes = self._routes.get(upstream)
        if routes is None:
            routes = self._routes[upstream] = {}
        route = routes.get(path)
        if route is None:
            route = routes[path] = _Route(upstream, path, self._loop)
        return route

    async def _connect(self, upstream: Upstream, route: _Route) -> Connection:
        try:
            return await self._connector.connect(route.target, [], route.timeout)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"The upstream `{upstream.name}` could not be connected to in time; nothing was sent.",
                upstream=upstream.name,
            ) from error
        except (ClientError, OSError) as error:
            raise UpstreamUnreachable(
                f"The upstream `{upstream.name}` could not be reached; nothing was sent.", upstream=upstream.name
            ) from error


class _Clock:
    """One timer for a whole call: waits move its deadline, and only a deadline that passed does anything.

    A timer for each chunk would cost more than the chunk; here it is set anew once in a timeout.
    """

    __slots__ = ("_deadline", "_ends_at", "_handle", "_loop", "_protocol", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, total_s: float) -> None:
        self._loop = loop
        self._ends_at = loop.time() + total_s
        self._deadline = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._protocol: GuardedProtocol | None = None
        self.expired = False

    def guard(self, protocol: GuardedProtocol) -> None:
        self._protocol = protocol

    def start(self, timeout_s: float) -> None:
        """From now on the wait that begins may last so long, and never past the call's total."""
        self._deadline = deadline = min(self._loop.time() + timeout_s, self._ends_at)
        handle = self._handle
        if handle is None or handle.when() > deadline:
            if handle is not None:
                handle.cancel()
            self._handle = self._loop.call_at(deadline, self._ring)

    def pause(self) -> None:
        self._deadline = math.inf

    def stop(self) -> None:
        self._deadline = math.inf
        self._protocol = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def explain(self, error: BaseException, upstream: str, what: str) -> NoReturn:
        """Raise what `error` means in our words."""
        failure: UpstreamFailed
        if self.expired:
            failure = UpstreamTimeout(f"The upstream `{upstream}` took too long.", upstream=upstream)
        else:
            failure = UpstreamBroken(f"The upstream `{upstream}` {what}.", upstream=upstream)
        raise failure from error

    def _ring(self) -> None:
        self._handle = None
        if self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline:
            self._handle = self._loop.call_at(self._deadline, self._ring)
            return
        self.expired = True
        if self._protocol is not None:
            self._protocol.set_exception(TimeoutError("the upstream took too long"))


async def _final_answer(protocol: GuardedProtocol, upstream: Upstream) -> tuple[RawResponseMessage, StreamReader]:
    for _ in range(INTERIM_ANSWERS_MAX + 1):
        message, payload = await protocol.read()
        if message.code == 101:
            raise UpstreamBroken(f"The upstream `{upstream.name}` left HTTP unasked.", upstream=upstream.name)
        if message.code >= 200:
            encoding = message.headers.get("content-encoding", "identity")
            if encoding.lower() not in ("identity", ""):
                raise UpstreamBroken(
                    f"The upstream `{upstream.name}` compressed its answer although identity was asked for.",
                    upstream=upstream.name,
                )
            return message, payload
    raise UpstreamBroken(f"The upstream `{upstream.name}` sent interim answers without end.", upstream=upstream.name)


def _request_bytes(route: _Route, body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [route.head_start]
    for name, value in headers:
        line = f"{name}: {value}"
        if any(character in line for character in _FORBIDDEN):
            raise ValueError("a header may not hold a line end")
        lines.append(line)
    lines.append(f"content-length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def _content_length(message: RawResponseMessage) -> int | None:
    if message.chunked:
        return None
    length = message.headers.get("content-length")
    return int(length) if length is not None else None


def _keep_alive_s(headers: Iterable[tuple[str, str]]) -> float | None:
    """How long the upstream says that it keeps an idle connection: `keep-alive: timeout=5, max=100`."""
    for name, value in headers:
        if name == "keep-alive" and (hint := _KEEP_ALIVE.search(value)):
            return float(hint[1])
    return None


def _close(connection: Connection) -> None:
    # Not close() alone: that would wait until a peer which does not read has taken the rest of the request.
    if connection.protocol is not None:
        connection.protocol.abort()
    connection.close()
