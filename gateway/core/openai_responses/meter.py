"""The meter of one streamed response: what has been said so far, what was reported, and whether it has ended."""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Kept, Seen
from gateway.core.openai_chat.usage import ReportedUsage
from gateway.core.openai_responses.answer import Response, finish_reason
from gateway.core.openai_responses.items import is_told_in_pieces, say
from gateway.core.openai_responses.storage import items_kept, kept_by
from gateway.core.openai_responses.usage import report
from gateway.core.output_text import OutputText
from gateway.core.sse import SseEvent
from gateway.core.usage import Usage

_NOTHING: Final = Seen()
_CONTENT: Final = Seen(content=True)
_UNREADABLE: Final = Seen(content=True, unreadable=True)
_DONE: Final = Seen(terminal=True)
_ERROR: Final = Seen(terminal=True, error=True)
_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.cancelled"})
_BEGINNINGS: Final = frozenset({"response.created", "response.queued", "response.in_progress"})


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    response: Response | None = None
    delta: Any = None
    item: Any = None
    partial_image_b64: Any = None
    error: Any = None


_EVENT: Final = msgspec.json.Decoder(_Event)


class ResponsesMeter:
    """Observes every event of a stream, in order. `n` is 1: this dialect knows one answer only."""

    __slots__ = (
        "_items",
        "_kept",
        "_reported",
        "_said",
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
        """Piece by piece."""
        self._items = OutputText()
        """The same once more, by the items as they are at their ends: some servers send no pieces of some."""
        self._kept: list[Kept] = []
        self._reported = ReportedUsage()
        self.done = False
        """`response.completed` or another end came."""
        self.error: bytes | None = None
        """The data of the provider's own error event, or of `response.failed`."""
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
        if data.startswith(b"[DONE]"):  # of servers that took it over from chats
            self.done = True
            return _DONE
        try:
            found = _EVENT.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._observe_unreadable(event, data)
        # Clients go by the event's name or by the data's type; both are an error's where one of them is.
        kind = found.type if type(found.type) is str else event.event
        if kind.endswith(".delta"):
            return self._content(self._said.say(found.delta))
        if kind == "error" or event.event == "error" or found.error:
            self.error = data
            return _ERROR
        if kind in _ENDS:
            self._end(found.response)
            self.done = True
            return _DONE
        if kind == "response.failed":
            self._end(found.response)
            self.error = data
            return _ERROR
        if kind in _BEGINNINGS:
            self._identify(found.response)
        elif kind == "response.output_item.done":
            return self._end_of_item(found.item)
        elif kind == "response.output_item.added":
            return self._content(_calls(found.item) and say(found.item, self._said))
        elif found.partial_image_b64:
            return self._content(True)
        return _NOTHING

    @property
    def finished(self) -> bool:
        """The stream has reached an end of its own, be it an error."""
        return self.done or self.error is not None

    @property
    def estimated_output_tokens(self) -> int:
        """What was said so far, by our own count. Never falls."""
        return max(self._said.tokens, self._items.tokens)

    @property
    def usage(self) -> Usage | None:
        """As reported; None until both prompt and output were."""
        return self._reported.usage(prompt_tokens=0, output_tokens=0) if self._reported.complete else None

    def final_usage(self, prompt_tokens: int) -> Usage:
        """What to charge: the report, which comes with the last event, or `prompt_tokens` and our count."""
        reported = self._reported
        if reported.complete and not reported.covers(self.estimated_output_tokens):
            reported = ReportedUsage()  # zeros beside an answer that said something
        return reported.usage(prompt_tokens=prompt_tokens, output_tokens=self.estimated_output_tokens)

    def _content(self, said: bool) -> Seen:
        if not said:
            return _NOTHING
        self.visible_output = True
        return _CONTENT

    def take_kept(self) -> tuple[Kept, ...]:
        """What has come with an id since this was asked last."""
        kept, self._kept = tuple(self._kept), []
        return kept

    def _end_of_item(self, item: object) -> Seen:
        self._kept += items_kept([item])
        known = self.estimated_output_tokens
        at_work = say(item, self._items) and not is_told_in_pieces(item) and say(item, self._said)
        return self._content(at_work or self.estimated_output_tokens > known)

    def _end(self, response: Response | None) -> None:
        self._identify(response)
        if response is not None:
            self.finish_reason = finish_reason(response)
            report(response.usage, self._reported)
            if not self._reported.complete:
                self._say_all_of(response.output)

    def _say_all_of(self, output: object) -> None:
        """What the last event says once more counts where it is more than what came before."""
        whole = OutputText()
        for item in output if type(output) is list else ():
            say(item, whole)
        if whole.tokens > self._items.tokens:
            self._items = whole

    def _identify(self, response: Response | None) -> None:
        if response is None:
            return
        if type(response.id) is str:
            if not self.provider_id:
                self._kept += kept_by(response)
            self.provider_id = self.provider_id or response.id
        if type(response.model) is str:
            self.model = response.model
        if type(response.service_tier) is str:
            self.service_tier = response.service_tier

    def _observe_unreadable(self, event: SseEvent, data: bytes) -> Seen:
        """Not an event of this dialect."""
        if event.event == "error":
            self.error = data
            return _ERROR
        return _UNREADABLE if self._content(self._said.say(data.decode("utf-8", "replace"))).content else _NOTHING


def _calls(item: object) -> bool:
    """A tool is called: of the caller's the name has come, of the provider's the work has begun."""
    kind = item.get("type") if type(item) is dict else None
    return type(kind) is str and kind.endswith("_call")
