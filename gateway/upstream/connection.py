"""One connection to an upstream: a request out, an answer in, and proof of silence before the next."""

import asyncio
import select
from collections.abc import Callable
from typing import Final, cast

from gateway.upstream.answer_parser import AnswerBroken, AnswerParser
from gateway.upstream.clock import Clock
from gateway.upstream.tls import ResumingContext

BUFFER_BYTES_MAX: Final = 128 * 1024
"""So much of an answer may wait unread before its connection stops reading, and what one more read brings."""


class Connection(asyncio.Protocol):
    """Carries one call at a time. A byte or an end that nobody asked for closes it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, on_lost: "Callable[[Connection], object]") -> None:
        self._loop: Final = loop
        self._on_lost: Final = on_lost
        self._clock: Final = Clock(loop, self._expired)
        self._poll: Final = select.poll()
        self._transport: asyncio.Transport | None = None
        self._beneath: asyncio.Transport | None = None
        """TCP, under TLS: that does not count as unwritten what it has handed down and the peer has not taken."""
        self._answer: AnswerParser | None = None
        self._session_is_news = True
        self._waiter: asyncio.Future[None] | None = None
        self._waits_for_head = False
        self._reads = True
        self.failure: BaseException | None = None
        """Why this connection is over: TimeoutError, AnswerBroken, or what the system says."""
        self.worn_out_at = 0.0
        self.idle_until = 0.0

    # --- a call -----------------------------------------------------------------------------------------------------

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def is_silent(self) -> bool:
        """Whether nothing came unasked, not even an end of file or bytes that the loop has not read yet."""
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    def ask(self, request: bytes, *, total_s: float) -> AnswerParser:
        """Write a request. Its answer grows in what is returned; `wait` for it."""
        assert self._transport is not None
        assert self._answer is None
        answer = self._answer = AnswerParser()
        self._clock.begin(total_s)
        self._transport.write(request)
        return answer

    async def wait(self, timeout_s: float) -> None:
        """Until the answer's head is there, or more of its body, or its end, or `failure`. Cancelling loses nothing."""
        answer = self._answer
        assert answer is not None
        assert self._waiter is None
        if not self._reads:
            self._read_on()
        self._waits_for_head = answer.status == 0
        waiter = self._waiter = self._loop.create_future()
        self._clock.start(timeout_s)
        try:
            await waiter
        finally:
            self._waiter = None
            self._clock.pause()

    def finish(self) -> bool:
        """The call is over. Whether the whole request went out, its answer came exactly, and nothing is amiss."""
        answer, self._answer = self._answer, None
        transport = self._transport
        if not self._reads:
            self._read_on()
        if answer is None:
            return False
        answer.drop()
        return (
            answer.exact
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
            and (self._beneath is None or self._beneath.get_write_buffer_size() == 0)
        )

    def remember_session(self) -> None:
        """The next TLS connection to this host may resume its session. Does so once."""
        if self._session_is_news and self._transport is not None:
            self._session_is_news = False
            connected = self._transport.get_extra_info("ssl_object")
            if connected is not None and isinstance(connected.context, ResumingContext):
                connected.context.remember(connected)

    def abort(self, failure: BaseException | None = None) -> None:
        """Close now, without waiting until a peer that does not read has taken the rest of a request."""
        if self.failure is None:
            # Without its traceback, whose frames hold this connection: the collector runs rarely.
            self.failure = (failure or AnswerBroken()).with_traceback(None)
        if self._answer is not None:
            self._answer.drop()
        if self._transport is not None:
            self._transport.abort()
        self._clock.stop()
        self._wake()

    # --- what the loop calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def secured(self, transport: asyncio.Transport) -> None:
        """TLS is up, over what the connection was made with."""
        self._beneath, self._transport = self._transport, transport

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None or self.failure is not None:
            self.abort()
            return
        try:
            answer.feed(data)
        except AnswerBroken as error:
            self.abort(error)
            return
        if answer.waiting_bytes > BUFFER_BYTES_MAX and self._reads:
            assert self._transport is not None
            self._reads = False
            self._transport.pause_reading()
        waiter = self._waiter
        if waiter is not None and (answer.pieces or answer.complete or (self._waits_for_head and answer.status)):
            self._wake()

    def eof_received(self) -> None:
        if self._answer is not None and self.failure is None:
            try:
                self._answer.end_of_file()
            except AnswerBroken as error:
                self.abort(error)
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.abort(error)
        self._on_lost(self)

    # --- within -----------------------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        self._reads = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expired(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self.abort(TimeoutError("the upstream took too long"))
