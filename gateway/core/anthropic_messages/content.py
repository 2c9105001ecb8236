"""What the messages and the system prompt make the provider read: whether their bytes bound it, and what they name."""

from itertools import chain
from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject, misspelled
from gateway.core.request_body import NULL, not_yours, object_of, objects_of

BLOCKS_MAX: Final = 20_000
"""Of one request, with those inside others."""
DEPTH_MAX: Final = 4

_STRING: Final = msgspec.json.Decoder(str)
_QUOTE, _BRACE, _BRACKET = b'"{['
_MESSAGE_KEYS: Final = frozenset({"role", "content"})
_DECIDING_KEYS: Final = frozenset({"type", "source", "content", "file_id", "text", "tool_references"})
_KNOWN_KEYS: Final = _DECIDING_KEYS | {
    "cache_control",
    "citations",
    "data",
    "id",
    "input",
    "is_error",
    "name",
    "signature",
    "thinking",
    "title",
    "tool_use_id",
}
_WHOLE: Final = frozenset(
    {"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use", "compaction"}
)
"""Blocks whose bytes are all that is read of them."""
_HOLDING: Final = frozenset(
    {
        "tool_result",
        "mcp_tool_result",
        "search_result",
        "web_search_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "advisor_tool_result",
    }
)
"""Blocks that may have others inside, and are else all there."""


class Content(msgspec.Struct, gc=False):
    count: int = 0
    """Messages."""
    blocks: int = 0
    images: int = 0
    image_bytes: int = 0
    tool_references: int = 0
    """Each has the provider read the definition of a tool once more."""
    by_reference: bool = False


def read_messages(array: msgspec.Raw) -> Content:
    """Raises InvalidRequest for what is not a non-empty array of messages that can be read in one way only."""
    messages = objects_of(array, "messages")
    if not messages:
        raise InvalidRequest("`messages` must not be empty.", param="messages")
    unknown = set(chain.from_iterable(messages)) - _MESSAGE_KEYS
    if found := misspelled(unknown, _MESSAGE_KEYS):
        raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param="messages")
    content = Content(count=len(messages))
    for at, message in enumerate(messages):
        _read_text_or_blocks(message.get("content", NULL), f"messages[{at}].content", content, 0)
    return content


def read_system(system: msgspec.Raw, content: Content) -> None:
    """Adds what the system prompt makes the provider read."""
    if system != NULL:
        _read_text_or_blocks(system, "system", content, 0)


def _read_text_or_blocks(value: msgspec.Raw, param: str, content: Content, depth: int) -> None:
    first = memoryview(value)[0]
    if first == _QUOTE:
        return
    if first != _BRACKET:
        raise InvalidRequest(f"`{param}` must be a string or an array.", param=param)
    if depth > DEPTH_MAX:
        raise InvalidRequest(f"`{param}` is nested too deeply.", param=param)
    blocks = objects_of(value, param)
    content.blocks += len(blocks)
    if content.blocks > BLOCKS_MAX:
        raise InvalidRequest(f"More than {BLOCKS_MAX} content blocks.", param=param)
    for at, block in enumerate(blocks):
        _read_block(block, f"{param}[{at}]", content, depth)


def _read_block(block: RawObject, param: str, content: Content, depth: int) -> None:
    unknown = block.keys() - _KNOWN_KEYS
    if unknown and (found := misspelled(unknown, _DECIDING_KEYS)):
        raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param=param)
    if block.get("file_id", NULL) != NULL:
        raise not_yours(f"{param}.file_id")
    kind = _text(block.get("type", NULL))
    if kind in _WHOLE:
        return
    if kind in ("image", "document"):
        _read_source(kind, block.get("source", NULL), param, content, depth)
    elif kind in _HOLDING:
        inner = block.get("content", NULL)
        if memoryview(inner)[0] == _BRACKET:
            _read_text_or_blocks(inner, f"{param}.content", content, depth + 1)
    elif kind in ("tool_reference", "tool_addition", "tool_search_tool_result"):
        content.tool_references += _references_in(block)
    elif kind not in ("web_search_result", "tool_removal"):
        content.by_reference = True  # fetched pages with documents in them, and what is not known yet


def _read_source(kind: str, source: msgspec.Raw, param: str, content: Content, depth: int) -> None:
    param = f"{param}.source"
    fields = object_of(source, param)
    if found := misspelled(fields.keys() - _SOURCE_KEYS, _SOURCE_KEYS):
        raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param=param)
    if fields.get("file_id", NULL) != NULL:
        raise not_yours(f"{param}.file_id")
    way = _text(fields.get("type", NULL))
    if way == "base64" and kind == "image":
        content.images += 1
        content.image_bytes += len(memoryview(fields.get("data", NULL)))
    elif way == "content":
        _read_text_or_blocks(fields.get("content", NULL), f"{param}.content", content, depth + 1)
    elif way != "text":
        content.by_reference = True  # an address, or the pages of a packed document


def _references_in(block: RawObject) -> int:
    """As many as the words are there, which may be a few too many."""
    return 1 + sum(bytes(value).count(b"tool_reference") for value in block.values())


def _text(value: msgspec.Raw) -> str:
    return _STRING.decode(value) if memoryview(value)[0] == _QUOTE else ""


_SOURCE_KEYS: Final = frozenset({"type", "data", "media_type", "url", "file_id", "content"})
