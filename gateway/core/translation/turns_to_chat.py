"""Anthropic's turns as the messages of a chat: each result is a message of its own, and so is each system prompt."""

from collections.abc import Collection
from typing import Any, Final

from gateway.core.translation.fields import Fields
from gateway.core.translation.media import file_part, image_part
from gateway.core.translation.reasoning import detail_of, readable_text
from gateway.core.translation.turns_to_messages import TOOL_ERROR

_NEUTRAL: Final = {"is_error": (b"false",), "caller": (b'{"type":"direct"}', b'{"type": "direct"}')}
THINKING: Final = ("thinking", "redacted_thinking")
_IN_RESULTS: Final = ("text", "image", "document", "tool_reference")
_IN_DOCUMENTS: Final = ("text", "image")

Part = dict[str, Any]
Message = dict[str, Any]


class ChatMessages:
    """Add the turns in order, then take what came of them. `extended` and `in_order` as in ChatTarget.

    Neighbours of one role are one turn to Anthropic. To a chat they would be more: results must follow the calls that
    they answer, and nothing may come between.
    """

    def __init__(self, *, extended: bool, in_order: bool = False) -> None:
        self._extended = extended
        self._in_order = in_order
        self._place = 0
        self._messages: list[Message] = []
        self._role = ""
        self._parts: list[Part] = []
        self._results: list[Message] = []
        self._beside: list[Part] = []
        self._thought: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []

    def add_system(self, holder: Fields, key: str) -> None:
        """`system` of the request, or the `content` of a system turn."""
        self._end_turn()
        self._parts += self._read_content(holder.take_content(key))
        self._end_turn()

    def add(self, turn: Fields) -> None:
        """Raises InvalidRequest."""
        role = turn.required("role", turn.take_text("role"))
        if role != self._role:
            self._end_turn()
            self._role = role
        match role:
            case "user" | "assistant":
                parts = self._read_content(turn.take_content("content"))
                self._parts += parts  # those of a new message, where one was begun meanwhile
            case "system":
                self.add_system(turn, "content")
            case _:
                raise turn.invalid("role", "must be user, assistant or system")
        turn.close()

    def end(self) -> list[Message]:
        self._end_turn()
        return self._messages

    def _end_turn(self) -> None:
        """Writes what was gathered of the turn."""
        self._messages += self._results
        parts = self._beside + self._parts
        if self._role == "assistant":
            message: Message = {"role": "assistant", "content": _content(parts) if parts else None}
            message |= _said_of_thinking(self._thought)
            if self._calls:
                message["tool_calls"] = self._calls
            if parts or len(message) > 2:
                self._messages.append(message)
        elif parts:
            self._messages.append({"role": self._role or "system", "content": _content(parts)})
        self._role = ""
        self._place = 0
        self._parts, self._results, self._beside, self._thought, self._calls = [], [], [], [], []

    def _read_content(self, content: str | list[Fields]) -> list[Part]:
        """The parts; calls, results and thinking go where they belong."""
        if isinstance(content, str):
            self._keep_order("text")
            return [{"type": "text", "text": content}] if content else []
        parts: list[Part] = []
        for block in content:
            kind = block.take_text("type") or "text"
            if place_of(kind) < self._place and self._in_order and self._role == "assistant":
                self._parts += parts
                parts = []
            self._keep_order(kind)
            if kind == "tool_use" and self._role == "assistant":
                self._calls.append(read_call(block))
            elif kind in THINKING and self._role == "assistant" and self._extended:
                self._thought.append(read_thinking(kind, block))
            elif kind == "tool_result" and self._role == "user":
                self._add_result(block)
            else:
                parts += self._read_block(kind, block)
        return parts

    def _keep_order(self, kind: str) -> None:
        """Begins a message of its own where one message would say this before what came before it."""
        if not self._in_order or self._role != "assistant":
            return
        if place_of(kind) < self._place:
            self._end_turn()
            self._role = "assistant"
        self._place = place_of(kind)

    def _add_result(self, block: Fields) -> None:
        """A plain chat takes nothing but text in a tool message; the rest is said beside it."""
        call = block.required("tool_use_id", block.take_text("tool_use_id") or None)
        parts = self._read_pieces(block.take_content("content"), _IN_RESULTS)
        block.ignore_if(_NEUTRAL)
        if block.take_flag("is_error"):
            parts = _marked_as_error(parts)
        held = parts if self._extended else [part for part in parts if part["type"] == "text"]
        self._beside += [] if self._extended else [part for part in parts if part["type"] != "text"]
        if not self._extended:
            block.leave("cache_control")
        elif held and (mark := block.take("cache_control")) is not None:
            held[-1]["cache_control"] = mark
        block.close()
        self._results.append({"role": "tool", "tool_call_id": call, "content": _content(held) if held else ""})

    def _read_pieces(self, content: str | list[Fields], kinds: Collection[str]) -> list[Part]:
        """`kinds` may stand there; none of them leads deeper."""
        if isinstance(content, str):
            return [{"type": "text", "text": content}] if content else []
        parts: list[Part] = []
        for piece in content:
            kind = piece.take_text("type") or "text"
            if kind in kinds:
                parts += self._read_block(kind, piece)
            else:
                piece.lose_all(kind)
        return parts

    def _read_block(self, kind: str, block: Fields) -> list[Part]:
        part: Part | None
        match kind:
            case "text":
                block.ignore("citations")  # of an answer that is handed back; they say nothing to the model
                text = block.required("text", block.take_text("text"))
                part = {"type": "text", "text": text} if text else None
            case "tool_reference":
                part = {"type": "text", "text": block.required("tool_name", block.take_text("tool_name"))}
            case "tool_addition":
                return []  # of a tool that a chat has from the start
            case "image":
                part = image_part(block)
            case "document":
                if (pieces := self._pieces_of(block)) is not None:
                    return pieces
                part = file_part(block, urls=self._extended)
            case _:
                block.lose_all(kind)
                return []
        if not self._extended:
            block.leave("cache_control")
        mark = block.take("cache_control")
        block.close()
        if part is not None and mark is not None:
            part["cache_control"] = mark
        return [] if part is None else [part]

    def _pieces_of(self, block: Fields) -> list[Part] | None:
        """Of a document that is made of blocks."""
        source = block.required("source", block.peek_object("source"))
        if source.take_text("type") != "content":
            return None
        parts = self._read_pieces(source.take_content("content"), _IN_DOCUMENTS)
        source.close()
        block.ignore("source", "title")
        if not self._extended:
            block.leave("cache_control")
        elif parts and (mark := block.take("cache_control")) is not None:
            parts[-1]["cache_control"] = mark
        block.close()
        return parts


def place_of(kind: str) -> int:
    """Where a block of an assistant stands in a chat message."""
    return 0 if kind in THINKING else 2 if kind == "tool_use" else 1


def _content(parts: list[Part]) -> str | list[Part]:
    """Text alone needs no part."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _marked_as_error(parts: list[Part]) -> list[Part]:
    if parts and parts[0]["type"] == "text":
        return [{**parts[0], "text": TOOL_ERROR + parts[0]["text"]}, *parts[1:]]
    return [{"type": "text", "text": TOOL_ERROR}, *parts]


def read_call(block: Fields) -> dict[str, Any]:
    """A tool_use block, its type aside, as a tool call."""
    id = block.required("id", block.take_text("id") or None)
    name = block.required("name", block.take_text("name"))
    arguments = block.required("input", block.take("input"))
    if bytes(arguments)[:1] != b"{":
        raise block.invalid("input", "must be an object")
    block.ignore_if(_NEUTRAL)
    block.close()
    return {"id": id, "type": "function", "function": {"name": name, "arguments": bytes(arguments).decode()}}


def read_thinking(kind: str, block: Fields) -> dict[str, Any]:
    """A thinking or redacted_thinking block, as it is."""
    read = {"type": kind}
    for key in ("thinking", "signature", "data"):
        if (text := block.take_text(key)) is not None:
            read[key] = text
    block.close()
    return read


def _said_of_thinking(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    details = [detail_of(block, index) for index, block in enumerate(blocks)]
    said: dict[str, Any] = {}
    if text := readable_text(details):
        said["reasoning_content"] = text
    if any(len(detail) > 3 for detail in details):  # more than a type, an index and the text
        said["reasoning_details"] = details
    return said
