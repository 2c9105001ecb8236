"""The meter of one streamed chat or completion: what has been said and reported so far, and whether it has ended."""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Seen
from gateway.core.openai_chat.usage import ReportedUsage, usage_objects
from gateway.core.output_text import OutputText
from gateway.core.sse import SseEvent
from gateway.core.usage import Usage

_NOTHING: Final = Seen()
_CONTENT: Final = Seen(content=True)
_UNREADABLE: Final = Seen(content=True, unreadable=True)
_USAGE_ONLY: Final = Seen(usage_only=True)
"""`choices: []` and a usage: the chunk that include_usage causes."""
_DONE: Final = Seen(terminal=True)
"""`[DONE]`, which may come after an error as well."""
_ERROR: Final = Seen(terminal=True, error=True)


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: Any = None
    message: Any = None
    text: Any = None
    """In place of a delta, in the older dialect of completions."""
    finish_reason: Any = None
    usage: Any = None
    """Where Moonshot puts it unasked, in the chunk that ends the choice."""


class _Chunk(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class ChatMeter:
    """Observes every event of a stream, in order. `n` is the number of choices asked for."""

    __slots__ = (
        "_finished_choices",
        "_n",
        "_reported",
        "_said",
        "_said_when_reported",
        "done",
        "error",
        "finish_reason",
        "model",
        "provider_id",
        "service_tier",
        "visible_output",
    )

    def __init__(self, *, n: int = 1) -> None:
        self._n = n
        self._said = OutputText()
        self._reported = ReportedUsage()
        self._said_when_reported = 0
        self._finished_choices: set[Any] = set()
        self.done = False
        """`[DONE]` came."""
        self.error: bytes | None = None
        """The data of the provider's own error event."""
        self.visible_output = False
        """Something that is billed has been seen, not only waited for."""
        self.finish_reason = ""
        self.provider_id = ""
        self.model = ""
        self.service_tier = ""

    def observe(self, event: SseEvent) -> Seen:
        data = event.data
        if data is None:
            return _NOTHING
        if data.startswith(b"[DONE]"):
            self.done = True
            return _DONE
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._observe_unreadable(event, data)
        content = False
        for choice in chunk.choices or ():
            if choice.delta and type(choice.delta) is dict and self._said.add(choice.delta):
                content = True
            if choice.finish_reason or choice.message or choice.text:
                content |= self._observe_rest_of(choice)
        if content:
            self.visible_output = True
        if not self.provider_id or not self.model:
            self._identify(chunk)
        if chunk.service_tier is not None and type(chunk.service_tier) is str:
            self.service_tier = chunk.service_tier
        if chunk.usage is not None or chunk.x_groq is not None:
            self._observe_report(chunk)
        if chunk.error or event.event == "error":
            self.error = data
            return Seen(content=True, terminal=True, error=True) if content else _ERROR
        if content:
            return _CONTENT
        return _USAGE_ONLY if chunk.choices == [] and chunk.usage is not None else _NOTHING

    @property
    def finished(self) -> bool:
        """The stream has reached an end of its own: `[DONE]`, the provider's error event, or a finish reason on every
        choice (some end without `[DONE]`; some send `[DONE]` and never a finish reason)."""
        return self.done or self.error is not None or len(self._finished_choices) >= self._n

    @property
    def estimated_output_tokens(self) -> int:
        """What was said so far, by our own count. Never falls."""
        return self._said.tokens

    @property
    def output_tokens(self) -> int:
        """What was said so far, as far as it is known: the last report and what has come since, or our own count."""
        reported = self._reported.output_tokens
        return self._said.tokens if reported is None else reported + self._said.tokens - self._said_when_reported

    @property
    def usage(self) -> Usage | None:
        """As reported; None until both prompt and output were."""
        return self._reported.usage(prompt_tokens=0, output_tokens=0) if self._reported.complete else None

    def final_usage(self, prompt_tokens: int) -> Usage:
        """What to charge: the report and what came after it, `prompt_tokens` and our count where nothing was
        reported."""
        reported = self._reported
        if reported.complete and not reported.covers(self._said.tokens):
            reported = ReportedUsage()  # zeros beside an answer that said something
        return reported.usage(
            prompt_tokens=prompt_tokens,
            output_tokens=self._said.tokens,
            unreported_output_tokens=self._said.tokens - self._said_when_reported,
        )

    def _observe_rest_of(self, choice: _Choice) -> bool:
        if type(choice.finish_reason) is str and choice.finish_reason:
            self.finish_reason = choice.finish_reason
            self._finished_choices.add(choice.index if type(choice.index) is int else 0)
        if choice.text and not choice.delta:
            content = self._said.say(choice.text)
        else:
            content = type(choice.message) is dict and self._said.add(choice.message)
        if type(choice.usage) is dict and self._n == 1:  # of several choices, each has but its own
            self._reported.add(choice.usage)
            self._said_when_reported = self._said.tokens
        return content

    def _observe_report(self, chunk: _Chunk) -> None:
        for fields in usage_objects(chunk.usage, chunk.x_groq):
            self._reported.add(fields)
            self._said_when_reported = self._said.tokens

    def _identify(self, chunk: _Chunk) -> None:
        if type(chunk.id) is str:
            self.provider_id = self.provider_id or chunk.id
        if type(chunk.model) is str:
            self.model = self.model or chunk.model

    def _observe_unreadable(self, event: SseEvent, data: bytes) -> Seen:
        """Not a chunk of this dialect."""
        if event.event == "error":
            self.error = data
            return _ERROR
        self._said.add({"content": data.decode("utf-8", "replace")})
        self.visible_output = True
        return _UNREADABLE
