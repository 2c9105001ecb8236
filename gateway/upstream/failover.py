"""Targets in order, until one reaches the commit point: its first content-bearing event, or its whole answer.

Up to that point nothing has been sent to the caller, so the next target may be tried. A 200 proves little: providers
answer 200, a ping, and then an overloaded error. So events are held back until one bears content.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from gateway.core.dialect import DialectName, Meter, NewMeter, Seen
from gateway.core.errors import UpstreamBroken, UpstreamFailed, UpstreamRejectedCredential
from gateway.core.sse import SseEvent, SseParser, SseTooLong
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.pairs import StreamTranslator
from gateway.upstream.client import UpstreamAnswer, UpstreamClient
from gateway.upstream.registry import Upstream

HELD_BACK_BYTES_MAX = 64 * 1024
WHOLE_BYTES_MAX = 1024 * 1024
"""Up to this size an answer is read to its end before the caller gets a byte: headers can then say the charge."""
TRANSLATED_BYTES_MAX = 32 * 1024 * 1024
"""Up to this size, where it is to be translated."""

_OUR_CREDENTIAL = frozenset({401, 402, 403})
_TRY_ANOTHER = frozenset({408, 409, 429})


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One target with the very bytes that would be sent to it, and the dialect that they are in."""

    upstream: Upstream
    dialect: DialectName
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    new_meter: NewMeter
    choices: int = 1
    """How many answers it asks for."""
    strip_usage_chunk: bool = False
    """We asked for the usage chunk and the caller did not."""
    translated: bool = False
    """The caller speaks another one, so a whole answer is needed whole."""
    translator: StreamTranslator | None = None
    """Of a stream, if so."""


class Opened(msgspec.Struct, eq=False):
    """An answer at its commit point: a stream has `parser` and `meter`, another has `whole` or the first part of it."""

    answer: UpstreamAnswer
    attempt_index: int
    strip_usage_chunk: bool
    whole: bytes | None = None
    parser: SseParser | None = None
    meter: Meter | None = None
    held_back: list[tuple[SseEvent, Seen]] = []
    """Up to the first event that bears content."""
    translator: StreamTranslator | None = None
    """Where the caller speaks another dialect: it has read what was held back."""
    translated: bytes = b""
    """What was held back, in the words of the caller."""
    unmetered: list[SseEvent] = []
    """What came in one piece with it."""
    ended: bool = False
    """The upstream has ended its answer."""
    began: bool = False
    """At least one byte of the body has come."""


class Opening:
    """The search for a target that answers. Its state outlives a cancellation, so that what came can be charged."""

    def __init__(
        self,
        client: UpstreamClient,
        *,
        stream: bool,
    ) -> None:
        self._client = client
        self._stream = stream
        self._last_index = 0
        self.opened: Opened | None = None
        """The attempt under way."""
        self.attempt_index = 0
        self.unwanted = False
        """The caller left: the attempt under way may end, no other is made."""

    async def run(self, attempts: Iterable[Attempt], *, count: int) -> Opened:
        """Raises the last target's UpstreamFailed when none answered. Each attempt is drawn when its turn comes, since
        its body may be large."""
        self._last_index = count - 1
        for index, attempt in enumerate(attempts):
            self.attempt_index = index
            self.opened = None
            try:
                opened = await self._try(attempt, index)
            except UpstreamFailed:
                self._abandon()
                if self._is_last:
                    raise
            except BaseException:
                self._abandon()
                raise
            else:
                if opened is not None:
                    return opened
                self._abandon()
        raise AssertionError("the last target either answers or raises")

    @property
    def _is_last(self) -> bool:
        return self.unwanted or self.attempt_index == self._last_index

    def _abandon(self) -> None:
        if self.opened is not None:
            self.opened.answer.release()

    async def _try(self, attempt: Attempt, index: int) -> Opened | None:
        """None: this target's answer is not worth relaying while another target is left."""
        name = attempt.upstream.name
        first_by = asyncio.get_running_loop().time() + attempt.upstream.timeouts.first_event_s
        answer = await self._client.send(
            attempt.upstream, attempt.path, attempt.body, attempt.headers, dialect=attempt.dialect
        )
        opened = self.opened = Opened(answer, index, attempt.strip_usage_chunk)
        status = answer.status
        if status in _OUR_CREDENTIAL:
            raise UpstreamRejectedCredential(
                "The provider refused the gateway's credential; nothing was charged.", upstream=name
            )
        if status < 400 and not 200 <= status < 300:
            raise UpstreamBroken("The provider answered with a redirect; nothing was charged.", upstream=name)
        if not self._is_last and (status in _TRY_ANOTHER or status >= 500):
            return None
        if self._stream and status == 200 and _is_event_stream(answer):
            return await self._until_content(attempt, opened, first_by)
        await self._read_whole(attempt, opened, first_by)
        return opened

    async def _until_content(self, attempt: Attempt, opened: Opened, first_by: float) -> Opened | None:
        """Comments keep a connection alive, not the wait for the first event: that goes by one clock.

        A stream that cannot be read before it says anything is none: nobody has seen it, so another may be asked.
        """
        parser = opened.parser = SseParser()
        meter = opened.meter = attempt.new_meter(n=attempt.choices)
        opened.translator = attempt.translator
        loop = asyncio.get_running_loop()
        held_bytes = 0
        while True:
            chunk = await opened.answer.read(max(0.0, first_by - loop.time()))
            if chunk:
                opened.began = True
                events = parse(parser, chunk, attempt.upstream)
            else:
                opened.ended = True
                events = last_event(parser)
            committed = False
            for at, event in enumerate(events, 1):
                seen = meter.observe(event)
                if seen.error and not self._is_last:
                    return None
                if seen.unreadable and event.data:
                    raise _unreadable(attempt, "The provider's stream begins with what is no event of its dialect")
                if attempt.translator is not None:
                    try:
                        opened.translated += attempt.translator.feed(event)
                    except UnreadableAnswer as error:
                        raise _unreadable(attempt, str(error).rstrip(".")) from None
                opened.held_back.append((event, seen))
                if seen.content or seen.terminal:
                    committed = True
                    opened.unmetered = events[at:]
                    break
            held_bytes += len(chunk)
            if opened.ended and not committed and not meter.finished:
                raise UpstreamBroken(
                    "The provider closed the stream before it said anything; nothing was charged.",
                    upstream=attempt.upstream.name,
                )
            if committed or opened.ended or held_bytes > HELD_BACK_BYTES_MAX:
                return opened

    async def _read_whole(self, attempt: Attempt, opened: Opened, first_by: float) -> None:
        idle_s = attempt.upstream.timeouts.idle_s
        timeout_s = max(0.0, first_by - asyncio.get_running_loop().time())
        answer = opened.answer
        parts: list[bytes] = []
        size = 0
        size_max = TRANSLATED_BYTES_MAX if attempt.translated else WHOLE_BYTES_MAX
        while not answer.ended and size <= size_max:
            chunk = await answer.read(timeout_s)
            timeout_s = idle_s
            parts.append(chunk)
            size += len(chunk)
        opened.ended = answer.ended and size <= size_max  # else the turn hands it on in pieces
        opened.whole = b"".join(parts)


def _unreadable(attempt: Attempt, what: str) -> UpstreamBroken:
    return UpstreamBroken(f"{what}; nothing was charged.", upstream=attempt.upstream.name)


def _is_event_stream(answer: UpstreamAnswer) -> bool:
    return any(
        name == "content-type" and value.lower().startswith("text/event-stream") for name, value in answer.headers
    )


def parse(parser: SseParser, chunk: bytes, upstream: Upstream) -> list[SseEvent]:
    """Feeds the parser; an event without end becomes the upstream's fault."""
    try:
        return parser.feed(chunk)
    except SseTooLong as error:
        raise UpstreamBroken(f"The provider's stream is malformed: {error}.", upstream=upstream.name) from error


def last_event(parser: SseParser) -> list[SseEvent]:
    """What the end of the stream completes: some leave out the empty line after their last event.

    One that was cut short is none: its half would be a decoding error in every SDK.
    """
    tail = parser.tail
    if not tail:
        return []
    events = parser.feed(b"\n\n")
    return [SseEvent(tail, event.data, event.event) for event in events[:1] if event.data and _is_whole(event.data)]


def _is_whole(data: bytes) -> bool:
    if data.startswith(b"[DONE]"):
        return True
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
