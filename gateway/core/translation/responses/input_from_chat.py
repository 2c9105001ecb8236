"""The messages of a chat as the input of a Responses request: a call and its result are items of their own."""

from itertools import count
from typing import Any, Final

from gateway.core.errors import InvalidRequest
from gateway.core.translation.fields import Fields
from gateway.core.translation.reasoning import read_details
from gateway.core.translation.responses.items import reasoning_items, takes_back

_SAID_OF_ANSWERS: Final = ("annotations", "index")
"""Clients hand whole answers back; these say nothing to the model."""
_NEUTRAL: Final = {"prefix": (b"false",), "refusal": (b'""',), "tool_calls": (b"[]",), "name": (b'""',)}
_UNSEALED: Final = "is reasoning that the provider of this model has not encrypted, which it does not take back"
_PLACES: Final = ("https://", "http://")
_BREAKPOINT: Final = "prompt_cache_breakpoint"
_EXPLICIT: Final = {"mode": "explicit"}

Item = dict[str, Any]


class InputItems:
    """Add the messages in order, then take what came of them."""

    def __init__(self, *, cache_breakpoints: bool) -> None:
        self._cache_breakpoints = cache_breakpoints
        self._instructions: str | None = None
        self._items: list[Item] = []
        self._ids = (f"rs_{number}" for number in count())

    def add(self, message: Fields) -> None:
        """Raises InvalidRequest."""
        role = message.required("role", message.take_text("role"))
        message.ignore_if(_NEUTRAL)
        message.ignore(*_SAID_OF_ANSWERS)
        match role:
            case "system" | "developer" | "user":
                if parts := self._read_parts(message.take_content("content")):
                    self._add_said(role, _content(parts))
            case "assistant":
                self._add_assistant(message)
            case "tool":
                call = message.required("tool_call_id", message.take_text("tool_call_id") or None)
                parts = self._read_parts(message.take_content("content"))
                output = _content(parts) if parts else ""
                self._items.append({"type": "function_call_output", "call_id": call, "output": output})
            case _:
                raise message.invalid("role", "must be system, developer, user, assistant or tool")
        message.close()

    def end(self) -> tuple[str | None, list[Item]]:
        """`instructions` and `input`. Raises InvalidRequest where nobody has said anything."""
        if not self._items and self._instructions is not None:
            return None, [{"role": "system", "content": self._instructions}]
        if not self._items:
            raise InvalidRequest("`messages` holds nothing to answer; nothing was sent.", param="messages")
        return self._instructions, self._items

    def _add_said(self, role: str, content: str | list[Item]) -> None:
        first = not self._items and self._instructions is None
        if role == "system" and first and isinstance(content, str):
            self._instructions = content
        else:
            self._items.append({"role": role, "content": content})

    def _read_parts(self, content: str | list[Fields]) -> list[Item]:
        if isinstance(content, str):
            return [{"type": "input_text", "text": content}] if content else []
        found = [_read_part(part, cache_breakpoints=self._cache_breakpoints) for part in content]
        return [part for part in found if part is not None]

    def _add_assistant(self, message: Fields) -> None:
        details = read_details(message)
        if any(not takes_back(detail) for detail in details):
            message.lose("reasoning_details", why=_UNSEALED)
        self._items += reasoning_items([detail for detail in details if takes_back(detail)], self._ids)
        for key in ("reasoning_content", "reasoning"):  # the same once more, for readers
            if message.take_text(key) and not details:
                message.lose(key, why=_UNSEALED)
        said = _read_said(message.take_content("content"))
        if refusal := message.take_text("refusal"):
            said.append({"type": "refusal", "refusal": refusal})
        if said:
            alone = said[0] if len(said) == 1 and said[0]["type"] == "output_text" else None
            self._items.append({"role": "assistant", "content": said if alone is None else alone["text"]})
        for call in message.take_objects("tool_calls"):
            if (item := _read_call(call)) is not None:
                self._items.append(item)


def _content(parts: list[Item]) -> str | list[Item]:
    """Text alone needs no part."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return parts


def _read_said(content: str | list[Fields]) -> list[Item]:
    """What an assistant said. A mark for the cache has no place there."""
    said: list[Item] = []
    for part in [content] if isinstance(content, str) else content:
        if isinstance(part, str):
            said += [{"type": "output_text", "text": part, "annotations": []}] if part else []
            continue
        kind = part.take_text("type") or "text"
        if kind == "text":
            if text := part.required("text", part.take_text("text")):
                said.append({"type": "output_text", "text": text, "annotations": []})
        elif kind == "refusal":
            said.append({"type": kind, kind: part.required(kind, part.take_text(kind))})
        else:
            part.lose_all(kind)
        part.leave("cache_control", _BREAKPOINT)
        part.close()
    return said


def _read_part(part: Fields, *, cache_breakpoints: bool) -> Item | None:
    kind = part.take_text("type") or "text"
    made: Item | None
    match kind:
        case "text":
            text = part.required("text", part.take_text("text"))
            made = {"type": "input_text", "text": text} if text else None
        case "image_url":
            made = _image(part)
        case "file":
            made = _file(part)
        case "document_url":  # Mistral's
            made = _input_file(part.take_text("document_name"), part.required(kind, part.take_text(kind)))
        case _:
            part.lose_all(kind)
            return None
    if not cache_breakpoints:
        part.leave("cache_control")
    asked = part.take("cache_control")
    mark: Any = part.take(_BREAKPOINT)
    if mark is None and asked is not None:
        mark = _EXPLICIT
    part.close()
    if made is not None and mark is not None:
        made[_BREAKPOINT] = mark
    return made


def _image(part: Fields) -> Item:
    value = part.take_text_or_object("image_url")
    if not isinstance(value, Fields):
        return {"type": "input_image", "image_url": part.required("image_url", value), "detail": "auto"}
    url, detail = value.required("url", value.take_text("url")), value.take_text("detail")
    value.close()
    return {"type": "input_image", "image_url": url, "detail": detail or "auto"}


def _file(part: Fields) -> Item | None:
    """None where it was lost: a file id is another provider's."""
    file = part.required("file", part.take_object("file"))
    name, data = file.take_text("filename"), file.take_text("file_data")
    if data is None and "file_id" not in file:
        raise file.invalid("file_data", "is required")
    file.close()
    if data is None:
        return None
    return _input_file(name, data)


def _input_file(name: str | None, data: str) -> Item:
    if data.startswith(_PLACES):  # a URL is not taken together with a name
        return {"type": "input_file", "file_url": data}
    return {"type": "input_file", "filename": name or "document.pdf", "file_data": data}


def _read_call(call: Fields) -> Item | None:
    kind = call.take_text("type") or "function"
    if kind != "function":
        call.lose_all(kind)
        return None
    id = call.required("id", call.take_text("id") or None)
    function = call.required("function", call.take_object("function"))
    name = function.required("name", function.take_text("name"))
    arguments = function.take_text("arguments") or "{}"
    call.ignore(*_SAID_OF_ANSWERS)
    function.close()
    call.close()
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}
