"""Connections that are used again only when it is proven that nothing of one call can reach the next.

aiohttp's connector pools a connection as soon as one answer is complete. A second answer sent with it, or bytes that
arrive while the connection idles, would then be read by whoever takes the connection next: another tenant. Here every
byte on the wire is accounted for, and what cannot be accounted for closes the connection.
"""

import functools
import math
import select
import ssl
from typing import Final, cast

from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

KEEP_ALIVE_MARGIN_S: Final = 1.0
LAST_CHUNK: Final = b"0\r\n\r\n"
_HEAD_END: Final = b"\r\n\r\n"


class GuardedProtocol(ResponseHandler):
    """aiohttp's client protocol with the wire's bytes counted: exactly one answer for each request, or no reuse."""

    asking: bool = False
    """A request was written and its answer is awaited or being read."""
    used: bool = False
    """It has carried an answer before."""
    doubtful: bool = False
    """Something could not be accounted for; this connection ends with the present call."""
    _wire_bytes: int = 0
    _head_bytes: int = 0
    _wire_end: bytes = b""
    _stale_at: float = math.inf

    def begin(self) -> None:
        """A request is about to be written; what arrives from here on is its answer."""
        self.asking = self.used = True
        self._wire_bytes = self._head_bytes = 0
        self._wire_end = b""

    def is_untouched(self) -> bool:
        """Whether nothing came since the last answer, not even an end of file that the loop has not read yet."""
        transport = self.transport
        if transport is None or transport.is_closing() or self.doubtful or self.should_close:
            return False
        if not self.used:
            return True  # and TLS may have sent session tickets, which are not for us
        if self._loop.time() >= self._stale_at:
            return False
        poll = select.poll()
        poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def answered_exactly(self, *, chunked: bool, body_bytes: int) -> bool:
        """Whether the whole request went out and the wire carried one answer of this size and not a byte more.

        An answer whose head came in several pieces, or with an interim answer before it, is not proven and costs a
        connection; so does a chunked one with trailers.
        """
        transport = self.transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            return False
        if self.doubtful or self.should_close:
            return False
        if chunked:
            # What may follow the last chunk and end in the same five bytes is a head (a second answer, which aiohttp
            # has then queued: should_close) or not HTTP at all (should_close too).
            return self._wire_end == LAST_CHUNK
        return self._head_bytes > 0 and self._wire_bytes == self._head_bytes + body_bytes

    def rest(self, keep_alive_s: float | None) -> None:
        """The answer is read to its end; any byte from here on closes the connection.

        It is not used again once it has idled nearly as long as the peer says that it will wait.
        """
        self.asking = False
        allowed_s = math.inf if keep_alive_s is None else keep_alive_s - KEEP_ALIVE_MARGIN_S
        self._stale_at = self._loop.time() + allowed_s

    def data_received(self, data: bytes) -> None:
        if data:  # aiohttp calls with nothing to go on parsing what it held back
            if not self.asking:
                self.doubtful = True
                if self.transport is not None:
                    self.transport.abort()
                return
            if self._wire_bytes == 0:
                head_end = data.find(_HEAD_END)
                self._head_bytes = head_end + len(_HEAD_END) if head_end >= 0 else 0
            self._wire_bytes += len(data)
            self._wire_end = data[-5:] if len(data) >= 5 else (self._wire_end + data)[-5:]
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        # aiohttp tells whoever waits for a head; a body in mid-air would hang on garbage or end cleanly on a reset.
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(exc, *cause)
        super().set_exception(exc, *cause)

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None:
            self.set_exception(exc)
        super().connection_lost(exc)


class GuardedConnector(TCPConnector):
    """aiohttp's connector over guarded protocols: a pooled connection is looked at before it is handed out."""

    def __init__(self, *, connections_max: int, idle_s: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(limit=connections_max, keepalive_timeout=idle_s, ssl=True if tls is None else tls)
        # The one door to choose the protocol's class; tests/upstream would notice if aiohttp moved it.
        self._factory = cast("functools.partial[ResponseHandler]", functools.partial(GuardedProtocol, loop=self._loop))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:  # noqa: ASYNC109
        """A connection on which nothing was ever received that was not asked for. No byte of `req` is written."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            assert isinstance(protocol, GuardedProtocol)
            if protocol.is_untouched():
                return connection
            used = protocol.used
            connection.close()
            if not used:
                raise ConnectionError("the peer spoke or hung up before it was asked")
