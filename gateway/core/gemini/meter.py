"""The meter of one streamed answer: what has been said so far, what was reported, and whether the stream has ended."""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Seen
from gateway.core.gemini.chunk import Chunk, parts_of, say
from gateway.core.gemini.usage import ReportedUsage
from gateway.core.output_text import OutputText
from gateway.core.sse import SseEvent
from gateway.core.usage import Usage

_NOTHING: Final = Seen()
_CONTENT: Final = Seen(content=True)
_UNREADABLE: Final = Seen(content=True, unreadable=True)
_ERROR: Final = Seen(terminal=True, error=True)
_CHUNK: Final = msgspec.json.Decoder(Chunk)
_NO_REASON: Final = ("", "FINISH_REASON_UNSPECIFIED")


class GenerateMeter:
    """Observes every event of a stream, in order. `n` is the number of candidates asked for."""

    __slots__ = (
        "_blocked",
        "_finished_candidates",
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
        self._finished_candidates: set[Any] = set()
        self._blocked = False
        self.done = False
        """Never: this dialect has no event that nothing follows."""
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
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._observe_unreadable(event, data)
        content = self.add(chunk)
        if chunk.error or event.event == "error":
            self.error = data
            return Seen(content=True, terminal=True, error=True) if content else _ERROR
        return _CONTENT if content else _NOTHING

    def add(self, chunk: Chunk) -> bool:
        """Whether it bears content."""
        content = False
        if type(chunk.candidates) is list:
            for candidate in chunk.candidates:
                for part in parts_of(candidate):
                    content |= say(part, self._said)
                if type(candidate) is dict and (reason := candidate.get("finishReason")):
                    self._finish(candidate, reason)
        if content:
            self.visible_output = True
        if chunk.prompt_feedback is not None:
            self._observe_feedback(chunk.prompt_feedback)
        if not self.provider_id and type(chunk.response_id) is str:
            self.provider_id = chunk.response_id
        if not self.model and type(chunk.model_version) is str:
            self.model = chunk.model_version
        if type(chunk.usage_metadata) is dict:
            self._observe_usage(chunk.usage_metadata)
        return content

    @property
    def finished(self) -> bool:
        """The stream has reached an end of its own: a reason on every candidate, a prompt that was blocked, or the
        provider's error event."""
        return self._blocked or self.error is not None or len(self._finished_candidates) >= self._n

    @property
    def estimated_output_tokens(self) -> int:
        """What was said so far, by our own count. Never falls."""
        return self._said.tokens

    @property
    def output_tokens(self) -> int:
        """What was said so far, as far as it is known: the last report and what has come since, or our own count."""
        reported = self._reported.output_tokens
        return self._said.tokens if not reported else reported + self._said.tokens - self._said_when_reported

    @property
    def usage(self) -> Usage | None:
        """As reported; None until the prompt was, and what came with it."""
        if not self._reported.covers(self._said.tokens):
            return None
        return self._reported.usage(prompt_tokens=0, output_tokens=0)

    def final_usage(self, prompt_tokens: int) -> Usage:
        """What to charge: the report and what came after it, `prompt_tokens` and our count where nothing was
        reported."""
        return self._reported.usage(
            prompt_tokens=prompt_tokens,
            output_tokens=self._said.tokens,
            unreported_output_tokens=self._said.tokens - self._said_when_reported,
        )

    def _finish(self, candidate: dict[str, Any], reason: object) -> None:
        if type(reason) is str and reason not in _NO_REASON:
            self.finish_reason = reason
            index = candidate.get("index")
            self._finished_candidates.add(index if type(index) is int else 0)

    def _observe_feedback(self, feedback: object) -> None:
        reason = feedback.get("blockReason") if type(feedback) is dict else None
        if type(reason) is str and reason:
            self._blocked = True
            self.finish_reason = self.finish_reason or reason

    def _observe_usage(self, usage: dict[str, Any]) -> None:
        self._reported.add(usage)
        self._said_when_reported = self._said.tokens
        tier = usage.get("serviceTier")
        if type(tier) is str:
            self.service_tier = tier.lower()

    def _observe_unreadable(self, event: SseEvent, data: bytes) -> Seen:
        """Not a chunk of this dialect."""
        if event.event == "error":
            self.error = data
            return _ERROR
        self._said.say(data.decode("utf-8", "replace"))
        self.visible_output = True
        return _UNREADABLE
