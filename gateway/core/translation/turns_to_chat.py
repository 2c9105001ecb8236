"""Anthropic's turns as the messages of a chat: each result is a message of its own, and so is each system prompt."""

from typing import Any, Final

import msgspec

from gateway.core.translation.fields import Fields
from gateway.core.translation.media import file_part, image_part
from gateway.core.translation.reasoning import detail_of, readable_text
from gateway.core.translation.turns_to_messages import TOOL_ERROR

_NEUTRAL: Final = {"is_error": (b"false",), "caller": (b'{"type":"direct"}', b'{"type": "direct"}')}
THINKING: Final = ("thinking", "redacted_thinking")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

Part = dict[str, Any]
Message = dict[str, Any]


class ChatMessages:
    """Add the turns in order; `messages` is what came of them. `extended` as in ChatTarget."""

    def __init__(self, *, extended: bool) -> None:
        self._extended = extended
        self.messages: list[Message] = []

    def add_system(self, holder: Fields, key: str) -> None:
        """`system` of the request, or the `content` of a system turn."""
        content = holder.take_content(key)
        if parts := [{"type": "text", "text": content}] if isinstance(content, str) and content else []:
            self._append("system", parts)
        elif not isinstance(content, str):
            self._append("system", self._parts(content))

    def add(self, turn: Fields) -> None:
        """Raises InvalidRequest."""
        role = turn.required("role", turn.take_text("role"))
        match role:
            case "user":
                self._add_user(turn)
            case "assistant":
                self._add_assistant(turn)
            case "system":
                self.add_system(turn, "content")
            case _:
                raise turn.invalid("role", "must be user, assistant or system")
        turn.close()

    def _append(self, role: str, parts: list[Part]) -> None:
        if parts:
            self.messages.append({"role": role, "content": _content(parts)})

    # --- a user's turn ----------------------------------------------------------------------------------------------

    def _add_user(self, turn: Fields) -> None:
        content = turn.take_content("content")
        if isinstance(content, str):
            self._append("user", [{"type": "text", "text": content}] if content else [])
            return
        kinds = [block.take_text("type") or "" for block in content]
        beside: list[Part] = []
        for kind, block in zip(kinds, content, strict=True):
            if kind == "tool_result":
                beside += self._add_result(block)
        said = [block for kind, block in zip(kinds, content, strict=True) if kind != "tool_result"]
        self._append("user", beside + self._parts(said, [kind for kind in kinds if kind != "tool_result"]))

    def _add_result(self, block: Fields) -> list[Part]:
        """What the tool message cannot hold: a plain chat takes nothing but text there."""
        call = block.required("tool_use_id", block.take_text("tool_use_id") or None)
        content = block.take_content("content")
        if isinstance(content, str):
            parts: list[Part] = [{"type": "text", "text": content}] if content else []
        else:
            parts = self._parts(content)
        block.ignore_if(_NEUTRAL)
        if block.take_flag("is_error"):
            parts = _marked_as_error(parts)
        held = parts if self._extended else [part for part in parts if part["type"] == "text"]
        beside = [] if self._extended else [part for part in parts if part["type"] != "text"]
        if self._extended and held and (mark := block.take("cache_control")) is not None:
            held[-1]["cache_control"] = mark
        block.close()
        self.messages.append({"role": "tool", "tool_call_id": call, "content": _content(held) if held else ""})
        return beside

    def _parts(self, blocks: list[Fields], kinds: list[str] | None = None) -> list[Part]:
        """`kinds`: the blocks' types, where they are taken already."""
        if kinds is None:
            kinds = [block.take_text("type") or "text" for block in blocks]
        return [part for kind, block in zip(kinds, blocks, strict=True) for part in self._read_block(kind, block)]

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
        mark = block.take("cache_control") if self._extended else None
        block.close()
        if part is not None and mark is not None:
            part["cache_control"] = mark
        return [] if part is None else [part]

    def _pieces_of(self, block: Fields) -> list[Part] | None:
        """Of a document that is made of blocks."""
        source = block.required("source", block.peek_object("source"))
        if source.take_text("type") != "content":
            return None
        content = source.take_content("content")
        parts: list[Part] = [{"type": "text", "text": content}] if isinstance(content, str) else self._parts(content)
        source.close()
        block.ignore("source", "title")
        if self._extended and parts and (mark := block.take("cache_control")) is not None:
            parts[-1]["cache_control"] = mark
        block.close()
        return parts

    # --- the model's turn -------------------------------------------------------------------------------------------

    def _add_assistant(self, turn: Fields) -> None:
        content = turn.take_content("content")
        if isinstance(content, str):
            self._append("assistant", [{"type": "text", "text": content}] if content else [])
            return
        parts: list[Part] = []
        calls: list[dict[str, Any]] = []
        thought: list[dict[str, Any]] = []
        for block in content:
            kind = block.take_text("type") or "text"
            if kind == "tool_use":
                calls.append(read_call(block))
            elif kind in THINKING and self._extended:
                thought.append(read_thinking(kind, block))
            else:
                parts += self._read_block(kind, block)
        message: Message = {"role": "assistant", "content": _content(parts) if parts else None}
        message |= _said_of_thinking(thought)
        if calls:
            message["tool_calls"] = calls
        if parts or len(message) > 2:
            self.messages.append(message)


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
