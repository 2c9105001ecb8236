"""A streamed answer on its way through: it meters the bytes as they pass, grows the reservation, cuts off."""

import asyncio
from typing import Final

from gateway.core.errors import InsufficientCredits, LedgerUnavailable, TollgateError, UpstreamBroken, UpstreamFailed
from gateway.core.pricing import affordable_output_tokens, most
from gateway.core.reservation import Mode, Quote, Terms
from gateway.core.sse import SseEvent
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.pairs import Translation
from gateway.core.usage import Usage
from gateway.ledger.calls import End
from gateway.relay.call import Call
from gateway.relay.catalogue import Target
from gateway.relay.keeping import Keeper
from gateway.relay.reservation import Reservation
from gateway.upstream.failover import Opened, last_event, parse

AFTER_DONE_S: Final = 1.0
"""How long an upstream may take to end its body after `[DONE]` before the connection is given up."""

UPSTREAM_ERROR_EVENT: Final = "upstream_error_event"
"""In the log line of a stream that the provider itself ended with an error event, which was relayed."""
LIMIT_SLACK: Final = 4
"""Our count of tokens may be off by this factor before an upstream is taken to ignore the limit it was sent."""


class StreamTurn:
    """One turn of a streamed chat, from its commit point on. `close` it on every way out."""

    def __init__(
        self,
        call: Call,
        reservation: Reservation,
        target: Target,
        opened: Opened,
        *,
        translation: Translation | None = None,
        keeper: Keeper | None = None,
        quote: Quote,
        terms: Terms,
        output_max: int,
        strip_usage_chunk: bool,
        first_slice_tokens: int,
        drain_s: float,
    ) -> None:
        assert opened.parser is not None
        assert opened.meter is not None
        self.call = call
        self.target = target
        self.reservation = reservation
        self.status = opened.answer.status
        self.upstream_headers = opened.answer.headers
        self._opened = opened
        self._keeper = keeper
        self._answer = opened.answer
        self._parser = opened.parser
        self.meter = opened.meter
        self._translator = opened.translator
        self._translation = translation
        self._usage_told = translation is None
        self._strip = strip_usage_chunk and self._translator is None  # a translator wants the usage
        self._timeouts = target.upstream.timeouts
        self._slice = first_slice_tokens * quote.choices
        self._drain_s = drain_s
        self._terms = terms
        self._messages = quote.choices
        self._prompt_tokens = terms.prompt_expected
        self._output_max = output_max
        self._covered_tokens = self._tokens_covered()
        self._failure: TollgateError | None = None
        """Raised once what was paid for has been delivered."""
        self._task = asyncio.current_task()
        self._drain_timer: asyncio.TimerHandle | None = None
        reservation.watch_spent(self._spent_ucr)
        call.on_gone = self._client_gone
        if call.gone:
            self._drain()  # he left before the first event, and the opening decided to read on

    @property
    def available_ucr(self) -> int:
        """What the account had left for other calls when this one last reserved."""
        return self.reservation.available_ucr

    def __aiter__(self) -> "StreamTurn":
        return self

    async def __anext__(self) -> bytes:
        """The next bytes for the caller. After UpstreamFailed or InsufficientCredits only `close` is left."""
        if self._opened.held_back:
            piece = await self._pass_what_opened()
            if piece:
                if self._keeper is not None:
                    await self._keeper.hear(self.meter)
                return piece
        while True:
            if self._failure is not None:
                raise self._failure
            if self._opened.ended:
                self._end_of_answer()
                raise StopAsyncIteration
            chunk = await (self._read_after_done() if self.meter.done else self._answer.read(self._timeouts.idle_s))
            piece = await self._pass(chunk) if chunk else self._pass_tail()
            if piece:
                if self._keeper is not None:
                    await self._keeper.hear(self.meter)
                return piece

    async def _read_after_done(self) -> bytes:
        try:
            return await self._answer.read(AFTER_DONE_S)
        except UpstreamFailed:
            self._answer.abort()  # the answer was whole; only the connection is lost
            return b""

    async def _pass_what_opened(self) -> bytes:
        """What was held back until the first content, and what came in one piece with it."""
        opened = self._opened
        out = [opened.translated]
        if self._translator is None:
            out = [event.raw for event, seen in opened.held_back if not (seen.usage_only and self._strip)]
        opened.held_back = []
        if self.meter.estimated_output_tokens > self._covered_tokens:
            await self._grow()
        await self._meter(opened.unmetered, out)
        return b"".join(out)

    async def _pass(self, chunk: bytes) -> bytes:
        """What of this chunk may be relayed now: whole events, their bytes untouched."""
        parser = self._parser
        whole = parser.at_boundary
        out: list[bytes] = []
        whole &= await self._meter(parse(parser, chunk, self.target.upstream), out)
        return chunk if whole and parser.at_boundary and self._translator is None else b"".join(out)

    async def _meter(self, events: list[SseEvent], out: list[bytes]) -> bool:
        """Meters events and puts those that are paid for into `out`. False: not all of them."""
        meter = self.meter
        complete = True
        for event in events:
            seen = meter.observe(event)
            if seen.usage_only and self._strip:
                complete = False
                continue
            if meter.estimated_output_tokens > self._covered_tokens:
                try:
                    await self._grow()
                except TollgateError as error:
                    self._failure = error
                    return False
            try:
                out.append(self._said(event))
            except UpstreamBroken as error:
                self._failure = error
                return False
        self._after_events()
        return complete

    def _pass_tail(self) -> bytes:
        """The upstream has ended."""
        self._opened.ended = True
        out = [
            self._said(event)
            for event in last_event(self._parser)
            if not (self.meter.observe(event).usage_only and self._strip)
        ]
        if self._translator is not None:
            if self.meter.finished:
                out.append(self._tell_usage())
            out.append(self._translator.close())
        self._after_events()
        return b"".join(out)

    def _said(self, event: SseEvent) -> bytes:
        """What the caller is told of an event: the event itself, or what it is in the caller's dialect."""
        if self._translator is None:
            return event.raw
        try:
            told = self._tell_usage() if self.meter.done else b""
            return told + self._translator.feed(event)
        except UnreadableAnswer as error:
            raise UpstreamBroken(
                f"{error} What was delivered is charged.", upstream=self.target.upstream.name
            ) from None

    def _tell_usage(self) -> bytes:
        """Our count, which is charged, before the end of a stream that lacks the provider's."""
        if self._usage_told:
            return b""
        self._usage_told = True
        assert self._translation is not None
        assert self._translator is not None
        event = self._translation.counted_event(self._usage()) if self.meter.usage is None else None
        return b"" if event is None else self._translator.feed(event)

    def _after_events(self) -> None:
        meter = self.meter
        if meter.done or meter.error is not None:
            # Ended before the caller sees the last bytes, so that a balance he reads next includes this call.
            self._settle_complete()

    # --- credits while it flows -------------------------------------------------------------------------------------

    def _tokens_covered(self) -> int:
        """How many output tokens may pass before the reservation must grow."""
        if self.reservation.size.mode is Mode.PROGRESSIVE:
            return self._affordable_tokens()
        # The upstream is bound by a limit that is paid for; our own count, being an estimate, must not end it early.
        return self._output_max * LIMIT_SLACK + LIMIT_SLACK

    def _affordable_tokens(self) -> int:
        """Output tokens that what is held pays for."""
        terms, held_ucr = self._terms, self.reservation.held_ucr
        return affordable_output_tokens(terms.prices, terms.prompt_bound, held_ucr, messages=self._messages)

    def _most_ucr(self, output_tokens: int) -> int:
        return most(self._terms.prices, self._terms.prompt_bound, output_tokens, messages=self._messages)

    def _spent_ucr(self) -> int:
        tokens = self.meter.estimated_output_tokens
        return most(self._terms.prices, self._prompt_tokens, tokens, messages=self._messages) if tokens else 0

    async def _grow(self) -> None:
        """Holds enough for what has come and a slice more, or cuts the stream off."""
        so_far = self.meter.estimated_output_tokens
        wanted = so_far + self._slice
        if wanted < self._output_max or so_far > self._output_max:
            wanted_ucr = self._most_ucr(wanted)
        else:
            wanted_ucr = self._most_ucr(self._output_max)
        needed_ucr = self._most_ucr(so_far)
        if self.call.gone:
            return  # draining: the charge is settled at the end, nothing more is delivered
        try:
            held = await self.reservation.hold_at_least(needed_ucr=needed_ucr, wanted_ucr=wanted_ucr)
        except LedgerUnavailable:
            self._cut_off()
            raise LedgerUnavailable(
                "The ledger cannot be reached to hold more credits while the answer is streaming; it ends here. "
                "What was delivered is charged, nothing more."
            ) from None
        if not held:
            self._cut_off()
            raise InsufficientCredits(
                "The organisation's credits ran out while the answer was streaming; it ends here. "
                "What was delivered is charged, nothing more.",
                available_ucr=self.reservation.available_ucr,
                required_ucr=needed_ucr,
            )
        self._covered_tokens = max(self._affordable_tokens(), so_far)

    def _cut_off(self) -> None:
        self._answer.abort()
        self.reservation.charge(
            End.CUT_OFF,
            self._usage(),
            self.target,
            said=self.meter,
            waive_above_held=True,
        )

    # --- the end ----------------------------------------------------------------------------------------------------

    def _usage(self) -> Usage:
        usage = self.meter.final_usage(self._terms.prompt_tokens(by_caller=self.call.gone))
        if usage.estimated and usage.output_tokens > self._output_max:
            # More than the limit it was sent cannot have been billed; our estimate ran high.
            usage = Usage(
                prompt_tokens=usage.prompt_tokens,
                output_tokens=self._output_max,
                reasoning_tokens=usage.reasoning_tokens,
                estimated=True,
            )
        return usage

    def _settle_complete(self) -> None:
        meter = self.meter
        self.call.finish_reason = meter.finish_reason
        if meter.error is not None and meter.usage is None and not meter.visible_output:
            self.reservation.release(End.ERROR, self.target)
            return
        usage = self._usage()
        if meter.error is not None:
            self.call.error_code = UPSTREAM_ERROR_EVENT
        if self.call.gone:
            end = End.CANCELLED
        elif usage.estimated:
            end = End.ESTIMATED  # also after the provider's own error event: what it says is that we counted
        else:
            end = End.ERROR if meter.error is not None else End.OK
        self.reservation.charge(end, usage, self.target, said=meter)

    def _end_of_answer(self) -> None:
        self._answer.release()
        if self.reservation.ended:
            return
        if not self.meter.finished:
            raise UpstreamBroken(
                "The provider closed the stream before its end; what was delivered is charged.",
                upstream=self.target.upstream.name,
            )
        self._settle_complete()

    def close(self) -> None:
        """Ends the call if it has not ended: the caller left, the upstream failed, or the process is stopping."""
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        self.call.on_gone = None
        if self.reservation.ended:
            if not self._opened.ended:
                self._answer.abort()
            return
        self._answer.abort()
        self.call.finish_reason = self.meter.finish_reason
        self.reservation.charge(
            End.CANCELLED if self.call.gone else End.ERROR,
            self._usage(),
            self.target,
            said=self.meter,
        )

    # --- the caller leaves ------------------------------------------------------------------------------------------

    def _client_gone(self) -> None:
        """Stop, unless the provider bills in full anyway: then read on for its usage, and send nothing more."""
        assert self._task is not None
        if self.reservation.ended or not self._drains():
            self._task.cancel()
        else:
            self._drain()

    def _drain(self) -> None:
        assert self._task is not None
        self._drain_timer = asyncio.get_running_loop().call_later(self._drain_s, self._task.cancel)

    def _drains(self) -> bool:
        if self._drain_s <= 0:
            return False
        hidden_so_far = self.target.hides_reasoning and not self.meter.visible_output
        return self.target.upstream.on_disconnect == "drain" or hidden_so_far or self._terms.prompt_unknown
