"""The meter of one streamed message: what has been said so far, what was reported, and whether the stream has ended."""

from typing import Any, Final

import msgspec

from gateway.core.anthropic_messages.blocks import say
from gateway.core.anthropic_messages.usage import ReportedUsage
from gateway.core.dialect import Seen
from gateway.core.output_text import OutputText
from gateway.core.sse import SseEvent
from gateway.core.usage import Usage

_NOTHING: Final = Seen()
_CONTENT: Final = Seen(content=True)
_UNREADABLE: Final = Seen(content=True, unreadable=True)
_DONE: Final = Seen(terminal=True)
_ERROR: Final = Seen(terminal=True, error=True)
_SAID_IN: Final = ("text", "partial_json", "thinking", "content")
"""Where a delta has what it says. Signatures and citations are not billed as output."""


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    message: Any = None
    delta: Any = None
    content_block: Any = None
    usage: Any = None
    error: Any = None


_EVENT: Final = msgspec.json.Decoder(_Event)


class MessagesMeter:
    """Observes every event of a stream, in order. `n` is 1: this dialect knows one answer only."""

    __slots__ = (
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
        assert n == 1
        self._said = OutputText()
        self._reported = ReportedUsage()
        self._said_when_reported = 0
        self.done = False
        """`message_stop` came."""
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
        try:
            found = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._observe_unreadable(event, data)
        # Clients go by the event's name or by the data's type; both are an error's where one of them is.
        kind = found.type if type(found.type) is str else event.event
        if kind == "error" or event.event == "error":
            self.error = data
            return _ERROR
        if kind == "content_block_delta":
            return self._said_in(found.delta)
        if kind == "content_block_start":
            return self._content(say(found.content_block, self._said))
        if kind == "message_start":
            self._begin(found.message)
        elif kind == "message_delta":
            self._observe_delta(found)
        elif kind == "message_stop":
            self.done = True
            return _DONE
        return _NOTHING

    @property
    def finished(self) -> bool:
        """The stream has reached an end of its own: `message_stop`, or the provider's error event."""
        return self.done or self.error is not None

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
        reported. The prompt is known from the first event on."""
        reported = self._reported
        if reported.complete and not reported.covers(self._said.tokens):
            reported = ReportedUsage()  # zeros beside an answer that said something
        return reported.usage(
            prompt_tokens=prompt_tokens,
            output_tokens=self._said.tokens,
            unreported_output_tokens=self._said.tokens - self._said_when_reported,
        )

    def _content(self, bears: bool) -> Seen:
        if not bears:
            return _NOTHING
        self.visible_output = True
        return _CONTENT

    def _said_in(self, delta: Any) -> Seen:
        if type(delta) is not dict:
            return _NOTHING
        bears = False
        for name in _SAID_IN:
            if name in delta and self._said.say(delta[name]):
                bears = True
        return self._content(bears)

    def _begin(self, message: Any) -> None:
        if type(message) is not dict:
            return
        id, model = message.get("id"), message.get("model")
        if type(id) is str:
            self.provider_id = self.provider_id or id
        if type(model) is str:
            self.model = self.model or model
        self._observe_usage(message.get("usage"), final=False)

    def _observe_delta(self, found: _Event) -> None:
        reason = found.delta.get("stop_reason") if type(found.delta) is dict else None
        if type(reason) is str and reason:
            self.finish_reason = reason
        self._observe_usage(found.usage, final=True)

    def _observe_usage(self, usage: Any, *, final: bool) -> None:
        if type(usage) is not dict:
            return
        self._reported.add(usage, final=final)
        if final:
            self._said_when_reported = self._said.tokens
        tier = usage.get("service_tier")
        if type(tier) is str:
            self.service_tier = tier

    def _observe_unreadable(self, event: SseEvent, data: bytes) -> Seen:
        """Not an event of this dialect."""
        if event.event == "error":
            self.error = data
            return _ERROR
        self._said.say(data.decode("utf-8", "replace"))
        self.visible_output = True
        return _UNREADABLE
