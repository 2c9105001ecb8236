"""Anthropic's content blocks, one after another, out of pieces that a chat sends side by side.

A block is written as its pieces come. What belongs to another block ends it, except a call whose arguments are not
complete yet: then the other block waits until the end of the answer. That happens only where a provider weaves calls
into each other; what waits is bounded.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.core.translation.fields import Fields, Losses, UnreadableAnswer, read_arguments
from gateway.core.translation.reasoning import TEXT_KEY, block_of, goes_on
from gateway.core.translation.tools import anthropic_id

HELD_CHARS_MAX: Final = 16 * 1024 * 1024
"""Of arguments, and of what waits for them."""


def event_bytes(data: Mapping[str, Any]) -> bytes:
    """One event of Anthropic's streams, named as its data is."""
    return b"event: %b\ndata: %b\n\n" % (str(data["type"]).encode(), msgspec.json.encode(data))


class _Text(msgspec.Struct, eq=False):
    pieces: list[str] = []
    """Those that wait."""
    ended: bool = False


class _Thinking(msgspec.Struct, eq=False):
    said: dict[str, Any] = {}
    """A detail without its text; {} where a chat tells only text."""
    pieces: list[str] = []
    ended: bool = False


class _Sealed(msgspec.Struct, eq=False):
    """A block that does not come in pieces."""

    made: dict[str, Any]
    ended: bool = False


class _Call(msgspec.Struct, eq=False):
    id: str
    name: str = ""
    pieces: list[str] = []
    """All of its arguments."""
    waits: bool = False
    ended: bool = False


_Block = _Text | _Thinking | _Sealed | _Call


class BlockWriter:
    """Each method answers with the bytes of the events that it causes."""

    def __init__(self, losses: Losses) -> None:
        self.answer_id = ""
        self.called = False
        self._losses = losses
        self._open: _Block | None = None
        self._index = -1
        self._waiting: list[_Block] = []
        self._weaves = False
        self._thought: dict[str, Any] = {}
        self._calls: dict[int, _Call] = {}
        self._call_count = 0
        self._held_chars = 0

    def say(self, text: str) -> bytes:
        if not text:
            return b""
        block = self._last
        if isinstance(block, _Text):
            return self._go_on(block, {"type": "text_delta", "text": text}, text)
        return self._put(_Text([self._hold(text)]))

    def cite(self, citation: dict[str, Any]) -> bytes:
        """Of the text that is being written; annotations come at its end."""
        if isinstance(self._open, _Text):
            return self._delta({"type": "citations_delta", "citation": citation})
        self._losses.add("choices[0].message.annotations")
        return b""

    def think(self, text: str) -> bytes:
        """Thinking of which a chat tells nothing but its text."""
        if not text:
            return b""
        block = self._last
        if isinstance(block, _Thinking) and not block.said:
            return self._go_on(block, {"type": "thinking_delta", "thinking": text}, text)
        return self._put(_Thinking({}, [self._hold(text)]))

    def think_detail(self, detail: Mapping[str, Any]) -> bytes:
        """An entry of a delta's `reasoning_details`."""
        key = TEXT_KEY.get(str(detail.get("type")))
        if key is None:
            made = block_of(detail)
            return b"" if made is None else self._put(_Sealed(made))
        text = detail.get(key)
        text = text if isinstance(text, str) else ""
        said = {name: value for name, value in detail.items() if value is not None and name != key}
        block = self._last
        if goes_on(self._thought, said):
            if not isinstance(block, _Thinking) or block.said is not self._thought:
                self._losses.add("choices[0].message.reasoning_details")  # its block has ended
                return b""
            self._thought |= said
            return self._go_on(block, {"type": "thinking_delta", "thinking": text}, text) if text else b""
        self._thought = said
        return self._put(_Thinking(said, [self._hold(text)]))

    def call(self, fields: Fields) -> bytes:
        """An entry of a delta's `tool_calls`."""
        place = fields.take_integer("index") or 0
        function = fields.take_object("function")
        id = fields.take_text("id") or ""
        call = self._calls.get(place)
        if call is None or (id and anthropic_id(id) != call.id):  # some number every call 0
            call = _Call(anthropic_id(id or f"{self.answer_id}_{self._call_count}"))
            self._calls[place] = call
            self._call_count += 1
            self.called = True
        name = function.take_text("name") if function is not None else None
        call.name = call.name or name or ""
        arguments = (function.take_text("arguments") if function is not None else None) or ""
        if call.ended:
            if arguments and not arguments.isspace():
                self._losses.add("choices[0].message.tool_calls[0].function.arguments")
            return b""
        if arguments:
            call.pieces.append(self._hold(arguments))
        if call is self._open:
            return self._delta({"type": "input_json_delta", "partial_json": arguments}) if arguments else b""
        if call.waits:
            return b""
        call.waits = True
        return self._put(call)

    def end(self) -> bytes:
        """Everything that is open or waits."""
        waiting, self._waiting = self._waiting, []
        written = [self._start(block) for block in waiting]
        return b"".join([*written, self._stop()])

    # --- blocks -----------------------------------------------------------------------------------------------------

    @property
    def _last(self) -> _Block | None:
        """What came last."""
        return self._waiting[-1] if self._waiting else self._open

    def _put(self, block: _Block) -> bytes:
        """Begins a block, or lets it wait: a call is open whose arguments go on, or others wait already."""
        call = self._open
        if not self._weaves and isinstance(call, _Call):  # asked once a call: it ends here, or all wait from now on
            arguments = "".join(call.pieces)
            self._weaves = not arguments.strip() or read_arguments(arguments) is None
        if self._weaves or (isinstance(block, _Call) and not block.name):
            self._weaves = True
            self._waiting.append(block)
            return b""
        return self._start(block)

    def _go_on(self, block: _Text | _Thinking, delta: dict[str, Any], text: str) -> bytes:
        if block is self._open:
            return self._delta(delta)
        block.pieces.append(self._hold(text))
        return b""

    def _hold(self, text: str) -> str:
        self._held_chars += len(text)
        if self._held_chars > HELD_CHARS_MAX:
            raise UnreadableAnswer(f"The provider's calls have more than {HELD_CHARS_MAX} characters of arguments.")
        return text

    def _start(self, block: _Block) -> bytes:
        written = self._stop()
        self._open = block
        self._index += 1
        first: dict[str, Any] | None = None
        match block:
            case _Text():
                made: dict[str, Any] = {"type": "text", "text": ""}
                first = {"type": "text_delta", "text": "".join(block.pieces)}
            case _Thinking():
                made = {"type": "thinking", "thinking": "", "signature": ""}
                first = {"type": "thinking_delta", "thinking": "".join(block.pieces)}
            case _Call():
                made = {"type": "tool_use", "id": block.id, "name": block.name, "input": {}}
                first = {"type": "input_json_delta", "partial_json": "".join(block.pieces)}
            case _Sealed():
                made = block.made
        written += event_bytes({"type": "content_block_start", "index": self._index, "content_block": made})
        if isinstance(block, _Sealed):
            return written + self._stop()
        return written + (self._delta(first) if first is not None and any(block.pieces) else b"")

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return event_bytes({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _stop(self) -> bytes:
        block, self._open = self._open, None
        if block is None:
            return b""
        block.ended = True
        signed = b""
        if isinstance(block, _Thinking) and block.said:
            signature = (block_of(block.said) or {}).get("signature")
            signed = self._delta({"type": "signature_delta", "signature": signature}) if signature else b""
        return signed + event_bytes({"type": "content_block_stop", "index": self._index})
