"""The items of a response, told in events as their pieces come.

Sources: OpenAI's reference of streaming events; the recorded streams, for the order of those that belong together.
An item ends when another begins, except a call whose arguments are not complete yet: items are known by their place, so
calls that a provider weaves into each other stay open side by side.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from gateway.core.translation.block_writer import HELD_CHARS_MAX
from gateway.core.translation.fields import Fields, Losses, UnreadableAnswer, read_arguments
from gateway.core.translation.reasoning import TEXT_KEY, goes_on, merged
from gateway.core.translation.responses.answers_from_chat import function_call, output_text, spoken
from gateway.core.translation.responses.items import goes_into, reasoning_item

Item = dict[str, Any]


class EventWriter:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._number = -1

    def write(self, type: str, **fields: Any) -> bytes:
        self._number += 1
        data = msgspec.json.encode({"type": type, **fields, "sequence_number": self._number})
        return b"event: %b\ndata: %b\n\n" % (type.encode(), data)


class _Message(msgspec.Struct, eq=False):
    index: int
    id: str
    kinds: list[str] = []
    """Of its parts; the last one is open."""
    pieces: list[str] = []
    """Of the open part."""
    annotations: list[Item] = []
    logprobs: list[Item] = []
    parts: list[Item] = []
    """Those that have ended."""


class _Reasoning(msgspec.Struct, eq=False):
    index: int
    id: str
    details: list[dict[str, Any]] = []
    """In the pieces that came."""
    last: dict[str, Any] = {}
    """What the last of them says, its text aside."""
    counts: dict[str, int] = {}
    """Texts of each kind."""
    pieces: list[str] = []
    """Of the open text."""


class _Call(msgspec.Struct, eq=False):
    call_id: str
    index: int = -1
    id: str = ""
    name: str = ""
    pieces: list[str] = []
    ended: bool = False


class ItemWriter:
    """Each method answers with the bytes of the events that it causes."""

    def __init__(self, events: EventWriter, ids: Iterator[str], losses: Losses) -> None:
        self.output: list[Item] = []
        """Those that have begun; each is whole once it has ended."""
        self._open: set[int] = set()
        self._events = events
        self._ids = ids
        self._losses = losses
        self._message: _Message | None = None
        self._reasoning: _Reasoning | None = None
        self._calls: dict[int, _Call] = {}
        self._last_call: _Call | None = None
        self._held_chars = 0

    # --- text ---------------------------------------------------------------------------------------------------------

    def say(self, text: str, logprobs: list[Item] | None = None) -> bytes:
        return self._speak("output_text", text, logprobs or []) if text else b""

    def refuse(self, text: str) -> bytes:
        return self._speak("refusal", text, []) if text else b""

    def cite(self, annotation: Item) -> bytes:
        """Of the text that is being told."""
        message = self._message
        if message is None or message.kinds[-1] != "output_text":
            self._losses.add("choices[0].message.annotations")
            return b""
        message.annotations.append(annotation)
        at = len(message.annotations) - 1
        kind = "response.output_text.annotation.added"
        return self._of_part(kind, message, annotation_index=at, annotation=annotation)

    def _speak(self, kind: str, text: str, logprobs: list[Item]) -> bytes:
        self._hold(text)
        told = b""
        message = self._message
        if message is None:
            told = self._end_others()
            id = next(self._ids)
            message = self._message = _Message(self._begin({**spoken(id, []), "status": "in_progress"}), id)
            told += self._added(message.index)
        if not message.kinds or message.kinds[-1] != kind:
            told += self._end_part(message)
            message.kinds.append(kind)
            told += self._of_part("response.content_part.added", message, part=_part(kind, "", [], []))
        message.pieces.append(text)
        if kind == "refusal":
            return told + self._of_part("response.refusal.delta", message, delta=text)
        message.logprobs += logprobs
        return told + self._of_part("response.output_text.delta", message, delta=text, logprobs=logprobs)

    def _end_part(self, message: _Message) -> bytes:
        if not message.kinds:
            return b""
        kind, text = message.kinds[-1], "".join(message.pieces)
        part = _part(kind, text, message.annotations, message.logprobs)
        if kind == "refusal":
            told = self._of_part("response.refusal.done", message, refusal=text)
        else:
            told = self._of_part("response.output_text.done", message, text=text, logprobs=message.logprobs)
        told += self._of_part("response.content_part.done", message, part=part)
        message.parts.append(part)
        message.pieces, message.annotations, message.logprobs = [], [], []
        return told

    def _end_message(self, status: str = "completed") -> bytes:
        message, self._message = self._message, None
        if message is None:
            return b""
        told = self._end_part(message)
        return told + self._end(message.index, {**spoken(message.id, message.parts), "status": status})

    def _of_part(self, type: str, message: _Message, **fields: Any) -> bytes:
        place = {"item_id": message.id, "output_index": message.index, "content_index": len(message.kinds) - 1}
        return self._events.write(type, **place, **fields)

    # --- reasoning ----------------------------------------------------------------------------------------------------

    def think(self, text: str) -> bytes:
        """Thinking of which a chat tells nothing but its text."""
        return self.think_detail({"type": "reasoning.text", "text": text, "index": -1}) if text else b""

    def think_detail(self, detail: Mapping[str, Any]) -> bytes:
        """An entry of a delta's `reasoning_details`."""
        kind = detail.get("type")
        if not isinstance(kind, str):
            return b""
        key = TEXT_KEY.get(kind)
        text = detail.get(key) if key is not None else None
        text = self._hold(text if isinstance(text, str) else "")
        rest = {name: value for name, value in detail.items() if value is not None and name != key}
        told = b""
        open_ = self._reasoning
        further = open_ is not None and goes_on(open_.last, rest)
        if open_ is None or not (further or goes_into(open_.last, rest)):
            told = self._end_others()
            id = detail.get("id") if isinstance(detail.get("id"), str) else None
            id = id or next(self._ids)
            open_ = self._reasoning = _Reasoning(self._begin({"id": id, "type": "reasoning", "summary": []}), id)
            told += self._added(open_.index)
        elif not further:
            told = self._end_thought(open_)
        open_.details.append(dict(detail))
        open_.last = {**open_.last, **rest} if further else rest
        if not text or key is None:
            return told
        if not open_.pieces:
            open_.counts[key] = open_.counts.get(key, 0) + 1
            told += self._begin_thought(open_, key)
        open_.pieces.append(text)
        said = "response.reasoning_summary_text.delta" if key == "summary" else "response.reasoning_text.delta"
        return told + self._of_thought(said, open_, key, delta=text)

    def _begin_thought(self, open_: _Reasoning, key: str) -> bytes:
        added = "response.reasoning_summary_part.added" if key == "summary" else "response.content_part.added"
        return self._of_thought(added, open_, key, part=_thought(key, ""))

    def _end_thought(self, open_: _Reasoning) -> bytes:
        if not open_.pieces:
            return b""
        key, text = TEXT_KEY[open_.last["type"]], "".join(open_.pieces)
        open_.pieces = []
        summary = key == "summary"
        said = "response.reasoning_summary_text.done" if summary else "response.reasoning_text.done"
        done = "response.reasoning_summary_part.done" if summary else "response.content_part.done"
        told = self._of_thought(said, open_, key, text=text)
        return told + self._of_thought(done, open_, key, part=_thought(key, text))

    def _end_reasoning(self) -> bytes:
        open_, self._reasoning = self._reasoning, None
        if open_ is None:
            return b""
        told = self._end_thought(open_)
        return told + self._end(open_.index, {**reasoning_item(merged(open_.details), self._ids, id=open_.id)})

    def _of_thought(self, type: str, open_: _Reasoning, key: str, **fields: Any) -> bytes:
        at = {"summary_index" if key == "summary" else "content_index": open_.counts[key] - 1}
        return self._events.write(type, item_id=open_.id, output_index=open_.index, **at, **fields)

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(self, fields: Fields) -> bytes:
        """An entry of a delta's `tool_calls`."""
        place = fields.take_integer("index") or 0
        function = fields.take_object("function")
        id = fields.take_text("id") or ""
        name = (function.take_text("name") if function is not None else None) or ""
        arguments = self._hold((function.take_text("arguments") if function is not None else None) or "")
        call = self._calls.get(place)
        if call is None or (id and call.call_id and id != call.call_id):  # some number every call 0
            call = self._calls[place] = _Call(id)
        if call.ended:
            if arguments and not arguments.isspace():
                self._losses.add("choices[0].message.tool_calls[0].function.arguments")
            return b""
        call.pieces += [arguments] if arguments else []
        if call.index >= 0:
            return self._of_call(call, arguments)
        call.name = name
        return self._begin_call(call) if name else b""  # it waits for its name

    def _begin_call(self, call: _Call) -> bytes:
        told = self._end_others()
        call.id = next(self._ids)
        call.call_id = call.call_id or call.id
        call.index = self._begin({**function_call(call.id, call.call_id, call.name, ""), "status": "in_progress"})
        self._last_call = call
        return told + self._added(call.index) + self._of_call(call, "".join(call.pieces))

    def _of_call(self, call: _Call, arguments: str) -> bytes:
        kind = "response.function_call_arguments.delta"
        return self._events.write(kind, item_id=call.id, output_index=call.index, delta=arguments) if arguments else b""

    def _end_call(self, call: _Call, status: str = "completed") -> bytes:
        call.ended = True
        told = b"" if call.pieces else self._of_call(call, "{}")
        arguments = "".join(call.pieces) or "{}"
        done = "response.function_call_arguments.done"
        told += self._events.write(done, item_id=call.id, output_index=call.index, arguments=arguments)
        made = function_call(call.id, call.call_id, call.name, arguments)
        return told + self._end(call.index, {**made, "status": status})

    # --- items --------------------------------------------------------------------------------------------------------

    def end(self, status: str) -> bytes:
        """Everything that is open. `status` is that of the last item."""
        told = [self._begin_call(call) for call in self._calls.values() if call.index < 0]
        last = len(self.output) - 1
        told.append(self._end_reasoning())
        if self._message is not None:
            told.append(self._end_message(status if self._message.index == last else "completed"))
        told += [self._end_call(call, status if call.index == last else "completed") for call in self._open_calls()]
        return b"".join(told)

    def _open_calls(self) -> list[_Call]:
        return [call for call in self._calls.values() if not call.ended and call.index >= 0]

    def _end_others(self) -> bytes:
        """Another item begins. A call ends if its arguments are whole; only the last one is asked, once."""
        told = self._end_message() + self._end_reasoning()
        call, self._last_call = self._last_call, None
        if call is not None and not call.ended:
            arguments = "".join(call.pieces)
            if arguments.strip() and read_arguments(arguments) is not None:
                told += self._end_call(call)
        return told

    @property
    def ended(self) -> list[Item]:
        return [item for index, item in enumerate(self.output) if index not in self._open]

    def _begin(self, item: Item) -> int:
        self.output.append(item)
        self._open.add(len(self.output) - 1)
        return len(self.output) - 1

    def _added(self, index: int) -> bytes:
        return self._events.write("response.output_item.added", output_index=index, item=self.output[index])

    def _end(self, index: int, item: Item) -> bytes:
        self.output[index] = item
        self._open.remove(index)
        return self._events.write("response.output_item.done", output_index=index, item=item)

    def _hold(self, text: str) -> str:
        self._held_chars += len(text)
        if self._held_chars > HELD_CHARS_MAX:
            raise UnreadableAnswer(f"The provider's answer has more than {HELD_CHARS_MAX} characters.")
        return text


def _part(kind: str, text: str, annotations: list[Item], logprobs: list[Item]) -> Item:
    return {"type": kind, kind: text} if kind == "refusal" else output_text(text, annotations, logprobs)


def _thought(key: str, text: str) -> Item:
    return {"type": "summary_text" if key == "summary" else "reasoning_text", "text": text}
