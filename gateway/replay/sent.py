"""The provider's own books: what it sent, so that tests and benches compare it with what was charged."""

from collections import Counter, deque
from typing import Final, Literal

import msgspec

CALLS_LISTED_MAX: Final = 10_000

SentEnd = Literal["open", "complete", "broken", "client_gone", "error_event", "failed"]


class Tokens(msgspec.Struct):
    """OpenAI's counts: cached and cache_write are parts of prompt, reasoning is a part of output. cache_write_1h is a
    part of cache_write."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def add(self, other: "Tokens") -> None:
        self.prompt_tokens += other.prompt_tokens
        self.cached_tokens += other.cached_tokens
        self.cache_write_tokens += other.cache_write_tokens
        self.output_tokens += other.output_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cache_write_1h_tokens += other.cache_write_1h_tokens


class SentCall(msgspec.Struct):
    """One call. `tokens` is the usage that the whole answer has; `billed()` what of it left the house."""

    id: str
    """As in the answer: `chatcmpl-…`, `msg_…`."""
    request_id: str
    """The caller's x-request-id."""
    replay_id: str
    model: str
    status: int
    streamed: bool
    recorded: bool
    tokens: Tokens
    usage_sent: bool = False
    """The usage itself was written, so the receiver can know it."""
    written_tokens: int = 0
    """Output tokens of the events that were written whole."""
    chunks: int = 0
    """Events written (1 for an answer in one piece)."""
    end: SentEnd = "open"

    def billed(self) -> Tokens:
        """The whole usage of a complete answer (reported or not); of one cut short, the prompt and what was written."""
        if self.status >= 400 or (self.end == "open" and not self.chunks):
            return Tokens()
        if self.usage_sent or self.end == "complete":
            return self.tokens
        return Tokens(
            prompt_tokens=self.tokens.prompt_tokens,
            cached_tokens=self.tokens.cached_tokens,
            cache_write_tokens=self.tokens.cache_write_tokens,
            cache_write_1h_tokens=self.tokens.cache_write_1h_tokens,
            output_tokens=self.written_tokens,
        )


class Sums(msgspec.Struct):
    calls: int = 0
    statuses: Counter[str] = msgspec.field(default_factory=Counter)
    ends: Counter[str] = msgspec.field(default_factory=Counter)
    tokens: Tokens = msgspec.field(default_factory=Tokens)
    chunks: int = 0

    def add(self, call: SentCall) -> None:
        self.calls += 1
        self.statuses[str(call.status)] += 1
        self.ends[call.end] += 1
        self.tokens.add(call.billed())
        self.chunks += call.chunks


class SentPage(msgspec.Struct):
    """What `GET /_sent` answers."""

    total: Sums
    models: dict[str, Sums]
    open_calls: int
    calls: list[SentCall]
    """The most recent ones, oldest first."""
    calls_dropped: int


class Sent:
    """Sums for ever, single calls for the most recent."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin at zero. Calls that are open now are forgotten."""
        self._total = Sums()
        self._models: dict[str, Sums] = {}
        self._calls: deque[SentCall] = deque(maxlen=CALLS_LISTED_MAX)
        self._open: dict[int, SentCall] = {}
        self._dropped = 0

    def begin(self, call: SentCall) -> None:
        self._open[id(call)] = call

    def finish(self, call: SentCall, end: SentEnd) -> None:
        """Book a call at its end; a call that a reset forgot is not booked."""
        call.end = end
        if self._open.pop(id(call), None) is None:
            return
        self._total.add(call)
        if call.model not in self._models and len(self._models) < 1000:
            self._models[call.model] = Sums()
        if (sums := self._models.get(call.model)) is not None:
            sums.add(call)
        self._dropped += len(self._calls) == CALLS_LISTED_MAX
        self._calls.append(call)

    def page(self) -> SentPage:
        return SentPage(
            total=self._total,
            models=self._models,
            open_calls=len(self._open),
            calls=list(self._calls),
            calls_dropped=self._dropped,
        )
