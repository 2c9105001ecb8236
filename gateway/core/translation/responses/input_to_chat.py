"""The input of a Responses request as the messages of a chat: what a model thought, said and called is one message."""

from collections.abc import Collection
from typing import Any, Final

import msgspec

from gateway.core.translation.fields import Fields
from gateway.core.translation.reasoning import readable_text
from gateway.core.translation.responses.items import details_handed_back

_ROLES: Final = ("user", "system", "developer", "assistant")
_OF_ITEMS: Final = ("id", "status", "phase", "created_by")
"""They name or mark an item and say nothing to another provider's model."""
_SPOKEN: Final = ("input_text", "output_text", "text", "refusal")
_INPUT: Final = ("input_text", "input_image", "input_file")
_AUTO_DETAIL: Final = {"detail": (b'"auto"',)}
_PLACES: Final = ("https://", "http://")
_UNTITLED: Final = "document.pdf"
_DIRECT: Final = {"caller": (b'{"type":"direct"}', b'{"type": "direct"}'), "async": (b"false",)}
_ANY: Final = msgspec.json.Decoder(dict[str, Any])

Part = dict[str, Any]
Message = dict[str, Any]


class InputMessages:
    """Add the items in order, then take what came of them. `extended` and `in_order` as in ChatTarget."""

    def __init__(self, *, extended: bool, in_order: bool) -> None:
        self._extended = extended
        self._in_order = in_order
        self._messages: list[Message] = []
        self._thought: list[dict[str, Any]] = []
        self._said: list[Part] = []
        self._refused: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._beside: list[Part] = []
        """Of results: images and files that a plain chat takes from nobody but a user."""

    def add_text(self, role: str, text: str) -> None:
        self._end_turn()
        if text:
            self._messages.append({"role": role, "content": text})

    def add(self, item: Fields) -> None:
        """Raises InvalidRequest."""
        kind = item.take_text("type") or "message"
        match kind:
            case "message":
                self._add_message(item)
            case "reasoning":
                self._add_reasoning(item)
            case "function_call":
                self._end_results()
                self._calls.append(read_call(item))
            case "function_call_output":
                self._add_result(item)
            case "tool_search_call" | "tool_search_output" if _is_the_servers(item):
                return  # a chat has every tool from the start
            case _:
                item.lose_all(kind)
                return
        item.close()

    def end(self) -> list[Message]:
        self._end_turn()
        return self._messages

    def _add_message(self, item: Fields) -> None:
        role = item.required("role", item.take_text("role"))
        if role not in _ROLES:
            raise item.invalid("role", f"must be {', '.join(_ROLES)}")
        item.ignore(*_OF_ITEMS)
        if role != "assistant":
            self._end_turn()
            if parts := _read_parts(item.take_content("content"), _INPUT):
                self._messages.append({"role": role, "content": _content(parts)})
            return
        self._end_results()
        if self._in_order and self._calls:
            self._end_turn()
        for part in _read_parts(item.take_content("content"), _SPOKEN):
            if part["type"] == "refusal":
                self._refused.append(part["refusal"])
            else:
                self._said.append(part)

    def _add_reasoning(self, item: Fields) -> None:
        self._end_results()
        if not self._extended:
            item.lose_all("reasoning")
            return
        if self._in_order and (self._said or self._refused or self._calls):
            self._end_turn()
        read = {"id": item.take_text("id"), "encrypted_content": item.take_text("encrypted_content")}
        summary, content = item.take_objects("summary"), item.take_objects("content")
        texts = {
            key: [_read_thought(part) for part in parts] for key, parts in (("summary", summary), ("content", content))
        }
        self._thought += details_handed_back({**read, **texts}, len(self._thought))
        item.ignore(*_OF_ITEMS)

    def _add_result(self, item: Fields) -> None:
        call = item.required("call_id", item.take_text("call_id") or None)
        parts = _read_parts(item.take_content("output"), _INPUT)
        item.ignore(*_OF_ITEMS, "name", "namespace")
        item.ignore_if(_DIRECT)
        self._end_assistant()
        held = parts if self._extended else [part for part in parts if part["type"] == "text"]
        self._beside += [] if self._extended else [part for part in parts if part["type"] != "text"]
        self._messages.append({"role": "tool", "tool_call_id": call, "content": _content(held) if held else ""})

    def _end_turn(self) -> None:
        self._end_assistant()
        self._end_results()

    def _end_results(self) -> None:
        if self._beside:
            self._messages.append({"role": "user", "content": self._beside})
            self._beside = []

    def _end_assistant(self) -> None:
        message: Message = {"role": "assistant", "content": _content(self._said) if self._said else None}
        if self._refused:
            message["refusal"] = "".join(self._refused)
        if text := readable_text(self._thought):
            message["reasoning_content"] = text
        if self._thought:
            message["reasoning_details"] = self._thought
        if self._calls:
            message["tool_calls"] = self._calls
        if self._said or len(message) > 2:
            self._messages.append(message)
        self._thought, self._said, self._refused, self._calls = [], [], [], []


def read_call(item: Fields) -> dict[str, Any]:
    """A function_call, its type aside, as a tool call."""
    id = item.required("call_id", item.take_text("call_id") or None)
    name = item.required("name", item.take_text("name"))
    arguments = item.take_text("arguments") or ""
    item.ignore(*_OF_ITEMS)
    item.ignore_if({**_DIRECT, "namespace": (msgspec.json.encode(name),)})  # of a tool that was looked for
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _is_the_servers(item: Fields) -> bool:
    return bytes(item.peek("execution") or b"") == b'"server"'


def _read_thought(part: Fields) -> dict[str, Any]:
    read = {"text": part.take_text("text")}
    part.ignore("type")
    part.close()
    return read


def _content(parts: list[Part]) -> str | list[Part]:
    """Text alone needs no part."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _read_parts(content: str | list[Fields], kinds: Collection[str]) -> list[Part]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    found = [_read_part(part, kinds) for part in content]
    return [part for part in found if part is not None]


def _read_part(part: Fields, kinds: Collection[str]) -> Part | None:
    kind = part.take_text("type") or ""
    made: Part | None
    match kind:
        case "refusal" if kind in kinds:
            made = {"type": "refusal", "refusal": part.required("refusal", part.take_text("refusal"))}
        case "input_text" | "output_text" | "text":
            text = part.required("text", part.take_text("text"))
            part.ignore("annotations", "logprobs")  # of an answer that is handed back
            made = {"type": "text", "text": text} if text else None
        case "input_image" if kind in kinds:
            made = _image(part)
        case "input_file" if kind in kinds:
            made = _file(part)
        case _:
            part.lose_all(kind)
            return None
    mark = part.take("prompt_cache_breakpoint")
    part.close()
    if made is not None and mark is not None:
        made["prompt_cache_breakpoint"] = mark
    return made


def _image(part: Fields) -> Part | None:
    """None where it was lost: a file id is another provider's."""
    part.ignore_if(_AUTO_DETAIL)
    url, detail = part.take_text("image_url"), part.take_text("detail")
    if url is None:
        if "file_id" not in part:
            raise part.invalid("image_url", "is required")
        part.lose("file_id")
        return None
    return {"type": "image_url", "image_url": {"url": url, **({"detail": detail} if detail else {})}}


def _file(part: Fields) -> Part | None:
    part.ignore_if(_AUTO_DETAIL)
    data, url = part.take_text("file_data"), part.take_text("file_url")
    name = part.take_text("filename")
    if data is None and url is None:
        if "file_id" not in part:
            raise part.invalid("file_data", "is required")
        part.lose("file_id")
        return None
    return {"type": "file", "file": {"filename": name or _UNTITLED, "file_data": data if data is not None else url}}
