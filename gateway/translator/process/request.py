"""A request of OpenAI's dialect, checked field by field before litellm sees it.

litellm takes its own arguments beside OpenAI's (addresses, credentials, callbacks), and fetches what messages refer to.
So what passes is named here; everything else is refused with its name.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_CHAT_FIELDS: Final = frozenset(
    {
        "model", "messages", "stream", "stream_options", *_LIMITS, "temperature", "top_p", "n", "stop", "seed",
        "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "user", "tools",
        "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "service_tier",
    }
)  # fmt: skip
_EMBEDDING_FIELDS: Final = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
_ALWAYS: Final = frozenset({"model", "messages", "input", "stream", "stream_options"})
_AS_ANYWAY: Final[Mapping[str, tuple[object, ...]]] = {
    "n": (1,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "parallel_tool_calls": (True,),
    "modalities": (["text"],),
    "store": (False,),
    "metadata": ({},),
    "service_tier": ("auto", "default"),
    "encoding_format": ("float",),
    "stop": ([],),
    "tools": ([],),
}
"""Values that ask for what happens without them."""
_MESSAGE_KEYS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "cache_control", "reasoning_content"}
)
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"text"}),
    "refusal": frozenset({"refusal"}),
    "image_url": frozenset({"image_url"}),
    "input_audio": frozenset({"input_audio"}),
    "file": frozenset({"file"}),
}
_IMAGE_KEYS: Final = frozenset({"url", "detail"})
_FILE_KEYS: Final = frozenset({"file_data", "filename"})
_CACHE_MARKS: Final = ({"type": "ephemeral"}, {"type": "ephemeral", "ttl": "5m"})


class BadField(Exception):
    """A field cannot be said, or is malformed; nothing was sent."""

    def __init__(self, message: str, param: str | None, *, code: str = "unsupported_parameter") -> None:
        super().__init__(f"{message} Nothing was sent to the provider.")
        self.param = param
        self.code = code


def read_fields(body: bytes, *, embedding: bool) -> dict[str, Any]:
    """The fields that are set. Raises BadField."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadField("The body is not a JSON object.", None, code="invalid_request") from None
    known = _EMBEDDING_FIELDS if embedding else _CHAT_FIELDS
    said = {}
    for name, value in fields.items():
        if value is None or value in _AS_ANYWAY.get(name, ()):
            continue
        if name not in known:
            raise _not_known(name)
        said[name] = value
    if type(said.get("model")) is not str:
        raise BadField("`model` must be a string.", "model", code="invalid_request")
    if embedding:
        return said
    _check_messages(said.get("messages"))
    _check_tools(said.get("tools", []))
    return said


def said_to(fields: dict[str, Any], supported: Collection[str]) -> dict[str, Any]:
    """The fields in names that the model's provider takes. Raises BadField for one that it has no word for."""
    said = {}
    for name, value in fields.items():
        if name in _ALWAYS or name in supported:
            said[name] = value
        elif name in _LIMITS and (other := _LIMITS[1 - _LIMITS.index(name)]) in supported:
            if other not in fields:
                said[other] = value  # the newer name, or the older, of the same limit
            elif type(value) is int and type(fields[other]) is int:
                said[other] = min(value, fields[other])
        else:
            raise BadField(f"`{name}` cannot be said to this model's provider.", name)
    if all(name in said for name in _LIMITS):
        del said["max_tokens"]  # both say the same: the gateway has lowered them
    return said


def _check_messages(messages: object) -> None:
    if type(messages) is not list or not messages:
        raise BadField("`messages` must be an array with at least one message.", "messages", code="invalid_request")
    for index, message in enumerate(messages):
        where = f"messages[{index}]"
        if type(message) is not dict:
            raise BadField(f"`{where}` must be an object.", where, code="invalid_request")
        _only(message, _MESSAGE_KEYS, where)
        content = message.get("content")
        if type(content) is list:
            for number, part in enumerate(content):
                _check_part(part, f"{where}.content[{number}]")
        elif content is not None and type(content) is not str:
            raise BadField(f"`{where}.content` must be a string or an array.", f"{where}.content")


def _check_part(part: object, where: str) -> None:
    kind = part.get("type") if type(part) is dict else None
    if type(part) is not dict or type(kind) is not str or kind not in _PARTS:
        raise BadField(f"`{where}` is of a type that cannot be said to this provider.", f"{where}.type")
    _only(part, _PARTS[kind] | {"type", "cache_control"}, where)
    if kind == "image_url":
        image = part.get("image_url")
        if type(image) is dict:
            _only(image, _IMAGE_KEYS, f"{where}.image_url")
            _check_inline(image.get("url"), f"{where}.image_url.url")
        else:
            _check_inline(image, f"{where}.image_url")
    elif kind == "file":
        file = part.get("file")
        if type(file) is not dict:
            raise BadField(f"`{where}.file` must be an object.", f"{where}.file", code="invalid_request")
        _only(file, _FILE_KEYS, f"{where}.file")
        _check_inline(file.get("file_data"), f"{where}.file.file_data")


def _check_inline(url: object, where: str) -> None:
    if type(url) is not str or not url[:5].lower() == "data:":
        raise BadField(
            f"`{where}` must hold the content itself, as a data: URL: nothing that a request names is fetched.",
            where,
            code="content_by_reference",
        )


def _check_tools(tools: object) -> None:
    if type(tools) is not list:
        raise BadField("`tools` must be an array.", "tools", code="invalid_request")
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if type(tool) is not dict or tool.get("type") != "function":
            raise BadField(f"`{where}` must be a function: no other tool can be said.", f"{where}.type")
        _only(tool, frozenset({"type", "function", "cache_control"}), where)


def _only(given: Mapping[str, object], known: Collection[str], where: str) -> None:
    for key, value in given.items():
        if key == "cache_control" and value is not None and value not in _CACHE_MARKS:
            raise BadField("A cache mark is `ephemeral`, for 5 minutes.", f"{where}.cache_control")
        if key not in known and value is not None:
            raise _not_known(f"{where}.{key[:64]}")


def _not_known(name: str) -> BadField:
    return BadField(f"`{name[:128]}` cannot be said to a provider that is translated to.", name[:128])
