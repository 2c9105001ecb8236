"""What the input of a Responses request makes the provider read: whether its bytes bound it, and what it names."""

from typing import Final

import msgspec

from gateway.core.dialect import Reference
from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject, misspelled
from gateway.core.openai_responses.tools import Tools, read_tools
from gateway.core.request_body import NULL, is_set, not_yours, object_of, objects_of

ID_CHARS_MAX: Final = 256
PARTS_MAX: Final = 20_000
"""Items and content parts of one request."""

_STRING: Final = msgspec.json.Decoder(str)
_QUOTE, _BRACE, _BRACKET = b'"{['
_STORED_ID_KEYS: Final = ("file_id", "container_id")
_DECIDING_KEYS: Final = frozenset({"type", "role", "content", "output", "tools", *_STORED_ID_KEYS})
_PART_KEYS: Final = frozenset({"type", "text", "image_url", "file_data", "file_url", *_STORED_ID_KEYS})
_WHOLE: Final = frozenset(
    {
        "function_call",
        "custom_tool_call",
        "tool_search_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "compaction",
        "compaction_summary",
    }
)
"""Items whose bytes are all that is read of them."""
_EMPTY: Final = (NULL, msgspec.Raw(b'""'), msgspec.Raw(b"[]"), msgspec.Raw(b"{}"))
_RESULTS: Final = frozenset(
    {
        "function_call_output",
        "custom_tool_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "apply_patch_call_output",
        "computer_call_output",
    }
)
_TEXT_PARTS: Final = frozenset({"input_text", "output_text", "text", "refusal", "reasoning_text", "summary_text"})


class Input(msgspec.Struct, gc=False):
    items: int = 0
    parts: int = 0
    images: int = 0
    image_bytes: int = 0
    audio: bool = False
    by_reference: bool = False
    references: list[Reference] = []


def read_input(value: msgspec.Raw, tools: Tools, *, may_be_absent: bool = False) -> Input:
    """Absent it may be where there are earlier turns.

    Raises InvalidRequest for what is neither a string nor an array of items that can be read in one way only.
    """
    found = Input(items=1)
    if value == NULL and may_be_absent:
        return found
    first = memoryview(value)[0]
    if first == _QUOTE:
        return found
    if first != _BRACKET:
        raise InvalidRequest("`input` must be a string or an array.", param="input")
    items = objects_of(value, "input")
    found.items = found.parts = len(items)
    if len(items) > PARTS_MAX:
        raise InvalidRequest(f"More than {PARTS_MAX} items.", param="input")
    for at, item in enumerate(items):
        _read_item(item, f"input[{at}]", found, tools)
    return found


def _read_item(item: RawObject, param: str, found: Input, tools: Tools) -> None:
    if wrong := misspelled(item.keys() - _DECIDING_KEYS, _DECIDING_KEYS):
        raise InvalidRequest(f"Unknown key `{wrong[0][:64]}`; `{wrong[1]}` is meant?", param=param)
    _refuse_stored(item, param)
    kind = _text(item.get("type", NULL))
    if not kind:
        kind = "message" if _holds(item, "role", "content") else "item_reference"
    if kind == "message":
        _read_parts(item.get("content", NULL), f"{param}.content", found)
    elif kind == "item_reference":
        _refer(item, param, found)
    elif kind in _RESULTS:
        _read_parts(item.get("output", NULL), f"{param}.output", found)
    elif kind in ("additional_tools", "tool_search_output"):
        read_tools(item.get("tools", NULL), f"{param}.tools", tools)
    elif kind == "reasoning":
        if not _holds(item, "encrypted_content", "content"):
            _refer(item, param, found)
    elif (kind in ("compaction", "compaction_summary") and not _holds(item, "encrypted_content")) or (
        kind == "image_generation_call" and not _holds(item, "result")
    ):
        _refer(item, param, found)
    elif kind not in _WHOLE:
        found.by_reference = True  # what the provider's tools found, and what is not known yet


def _holds(item: RawObject, *keys: str) -> bool:
    """It has one of them, and not empty: its type may be left out, and what it stands for need not be in it."""
    return any(item.get(key, NULL) not in _EMPTY for key in keys)


def _refer(item: RawObject, param: str, found: Input) -> None:
    """It stands for what the provider keeps under its id."""
    found.by_reference = True
    id = _text(item.get("id", NULL))
    if not 1 <= len(id) <= ID_CHARS_MAX:
        message = f"`{param}` must have the id of an item, of 1 to {ID_CHARS_MAX} characters."
        raise InvalidRequest(message, param=f"{param}.id")
    found.references.append(Reference("item", id, f"{param}.id"))


def _read_parts(value: msgspec.Raw, param: str, found: Input) -> None:
    first = memoryview(value)[0]
    if first == _QUOTE or value == NULL:
        return
    if first == _BRACE:  # a screenshot
        _read_part(object_of(value, param), param, found)
        return
    if first != _BRACKET:
        raise InvalidRequest(f"`{param}` must be a string or an array.", param=param)
    parts = objects_of(value, param)
    found.parts += len(parts)
    if found.parts > PARTS_MAX:
        raise InvalidRequest(f"More than {PARTS_MAX} items and parts.", param=param)
    for at, part in enumerate(parts):
        _read_part(part, f"{param}[{at}]", found)


def _read_part(part: RawObject, param: str, found: Input) -> None:
    if wrong := misspelled(part.keys() - _PART_KEYS, _PART_KEYS):
        raise InvalidRequest(f"Unknown key `{wrong[0][:64]}`; `{wrong[1]}` is meant?", param=param)
    _refuse_stored(part, param)
    kind = _text(part.get("type", NULL))
    if kind in _TEXT_PARTS:
        return
    if kind in ("input_image", "computer_screenshot") and (url := _text(part.get("image_url", NULL))).startswith(
        "data:image/"
    ):
        found.images += 1
        found.image_bytes += len(url)
    elif kind == "input_audio":
        found.audio = True
    elif not _only_texts(part):
        found.by_reference = True  # an address, the pages of a packed document, what is not known yet


def _only_texts(part: RawObject) -> bool:
    """Such as one command's output in a shell's: nothing in it but what it says."""
    return not (part.keys() & {"image_url", "file_data", "file_url"}) and part.keys() <= {
        "type",
        "stdout",
        "stderr",
        "outcome",
        "logs",
    }


def _refuse_stored(fields: RawObject, param: str) -> None:
    for key in _STORED_ID_KEYS:
        if is_set(fields, key):
            raise not_yours(f"{param}.{key}")


def _text(value: msgspec.Raw) -> str:
    return _STRING.decode(value) if memoryview(value)[0] == _QUOTE else ""
