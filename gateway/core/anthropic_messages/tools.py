"""The tools of a Messages request: who runs them, and what of their description is not in the body."""

from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import misspelled
from gateway.core.request_body import NULL, objects_of

HIDDEN_BYTES: Final = 2_048
"""Of a tool that the provider describes itself: bash, editors and screens take 250 to 750 tokens."""
_CLIENT_PREFIXES: Final = ("bash_", "text_editor_", "computer_", "memory_")
"""Tools that the provider describes and the caller runs."""
_DECIDING_KEYS: Final = frozenset({"type", "model"})
_STRING: Final = msgspec.json.Decoder(str)


class Tools(msgspec.Struct, gc=False):
    count: int = 0
    hosted: bool = False
    hidden_bytes: int = 0
    """What descriptions that are not in the body weigh at most."""


def read_tools(array: msgspec.Raw, *, model: str) -> Tools:
    """Raises InvalidRequest for what is not an array of objects, each key once, and for a tool that has a model other
    than the request's asked: that one is billed beside it, at a price that nobody agreed to."""
    tools = Tools()
    if array == NULL:
        return tools
    for at, tool in enumerate(objects_of(array, "tools")):
        tools.count += 1
        if found := misspelled(tool.keys() - _DECIDING_KEYS, _DECIDING_KEYS):
            raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param=f"tools[{at}]")
        kind = _text(tool.get("type", NULL), f"tools[{at}].type")
        if kind in ("", "custom"):
            continue
        if kind.startswith(_CLIENT_PREFIXES):
            tools.hidden_bytes += HIDDEN_BYTES
        else:
            tools.hosted = True
            if _text(tool.get("model", NULL), f"tools[{at}].model") not in ("", model):
                raise InvalidRequest(
                    f"`tools[{at}].model` has another model asked than `model`, which cannot be charged for; nothing "
                    "was reserved or sent.",
                    param=f"tools[{at}].model",
                    code="hosted_tool_not_priced",
                )
    return tools


def _text(value: msgspec.Raw, param: str) -> str:
    if value == NULL:
        return ""
    try:
        return _STRING.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{param}` must be a string.", param=param) from None
