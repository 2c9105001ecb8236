"""The tools of a Responses request: who runs them, and what they name that is stored at the provider."""

from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject, misspelled
from gateway.core.request_body import NULL, is_set, not_yours, object_of, objects_of

HIDDEN_BYTES: Final = 8_192
"""Of tools that the provider describes itself and the caller runs: a shell, patches, a screen."""
DEPTH_MAX: Final = 2
_SEEN_BY_CALLER: Final = frozenset({"", "function", "custom", "namespace", "tool_search"})
_DESCRIBED_BY_PROVIDER: Final = frozenset(
    {"local_shell", "apply_patch", "computer", "computer_use_preview", "computer_use"}
)
_DECIDING_KEYS: Final = frozenset(
    {"type", "tools", "vector_store_ids", "container", "environment", "execution", "model", "file_ids"}
)
_STRING: Final = msgspec.json.Decoder(str)
_EMPTY: Final = msgspec.Raw(b"[]")
_QUOTE: Final = b'"'[0]


class Tools(msgspec.Struct, gc=False):
    count: int = 0
    hosted: bool = False
    """The provider may run some itself, which read and bill beyond what is sent."""
    pictures: bool = False
    """It may draw, which is billed apart from text."""
    hidden_bytes: int = 0
    """What descriptions that are not in the body weigh at most."""


def read_tools(array: msgspec.Raw, param: str, tools: Tools, depth: int = 0) -> None:
    """Adds what is in the array. Raises InvalidRequest for what is no array of objects, each key once, and for what is
    stored at the provider."""
    if array == NULL:
        return
    if depth > DEPTH_MAX:
        raise InvalidRequest(f"`{param}` is nested too deeply.", param=param)
    for at, tool in enumerate(objects_of(array, param)):
        tools.count += 1
        where = f"{param}[{at}]"
        if found := misspelled(tool.keys() - _DECIDING_KEYS, _DECIDING_KEYS):
            raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param=where)
        _read_tool(tool, where, tools, depth)


def _read_tool(tool: RawObject, param: str, tools: Tools, depth: int) -> None:
    if tool.get("vector_store_ids", NULL) not in (NULL, _EMPTY):
        raise not_yours(f"{param}.vector_store_ids")
    for key in ("container", "environment", "input_image_mask"):
        if is_set(tool, key):
            _refuse_stored(tool[key], f"{param}.{key}")
    kind = _text(tool.get("type", NULL), f"{param}.type")
    if is_set(tool, "tools"):
        read_tools(tool["tools"], f"{param}.tools", tools, depth + 1)
    if kind in _DESCRIBED_BY_PROVIDER:
        tools.hidden_bytes += HIDDEN_BYTES
    elif kind == "image_generation":
        tools.hosted = tools.pictures = True
    elif kind not in _SEEN_BY_CALLER or _text(tool.get("execution", NULL), f"{param}.execution") == "server":
        tools.hosted = True


def _refuse_stored(container: msgspec.Raw, param: str) -> None:
    """A container by its id is of whoever made it, and so are files; a new one is nobody's yet."""
    if memoryview(container)[0] == _QUOTE:
        if _STRING.decode(container) != "auto":
            raise not_yours(param)
        return
    fields = object_of(container, param)
    for key in ("id", "container_id", "file_id"):
        if is_set(fields, key):
            raise not_yours(f"{param}.{key}")
    for key in ("file_ids", "skills"):
        if fields.get(key, NULL) not in (NULL, _EMPTY):
            raise not_yours(f"{param}.{key}")


def _text(value: msgspec.Raw, param: str) -> str:
    if value == NULL:
        return ""
    try:
        return _STRING.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{param}` must be a string.", param=param) from None
