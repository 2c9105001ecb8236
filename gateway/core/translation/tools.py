"""Tools that the caller runs, and which of them the model may choose.

Sources: OpenAI's reference (`tools`, `tool_choice`, `parallel_tool_calls`), Anthropic's (`tools`, `tool_choice`).
Tools that the provider runs itself (web search, code execution) exist on one side only. Anthropic can put off loading a
tool until the model has looked for it; in a chat every tool is there from the start, so there is nothing to look for.
"""

import re
from typing import Any, Final

import msgspec

from gateway.core.translation.fields import Fields

NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')
CHOICE: Final = {"auto": "auto", "none": "none", "required": "any", "any": "any"}  # "any" is Mistral's "required"
"""Anthropic's type of tool_choice by the chat dialect's word."""
CHAT_CHOICE: Final = {"auto": "auto", "none": "none", "any": "required"}

TOOL_SEARCH: Final = "tool_search_tool_"

_NEUTRAL: Final = {
    "strict": (b"false",),
    "eager_input_streaming": (b"false",),
    "allowed_callers": (b'["direct"]',),
    "input_examples": (b"[]",),
}
_OUTSIDE_AN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def anthropic_id(id: str) -> str:
    """The id of a call in the characters that Anthropic takes; the same for the call and its result."""
    return _OUTSIDE_AN_ID.sub(lambda match: f"_{ord(match[0]):x}_", id)


# --- chat → messages ------------------------------------------------------------------------------------------------


def anthropic_tools(request: Fields) -> list[dict[str, Any]]:
    """`tools`, taken away."""
    found = [_anthropic_tool(tool) for tool in request.take_objects("tools")]
    return [tool for tool in found if tool is not None]


def _anthropic_tool(tool: Fields) -> dict[str, Any] | None:
    kind = tool.take_text("type") or "function"  # Mistral needs no type
    if kind != "function":
        tool.lose_all(kind)
        return None
    function = tool.required("function", tool.take_object("function"))
    function.ignore_if(_NEUTRAL)
    made: dict[str, Any] = {"name": function.required("name", function.take_text("name"))}
    if (description := function.take_text("description")) is not None:
        made["description"] = description
    made["input_schema"] = _object_schema(function, function.take("parameters"))
    if function.take_flag("strict"):
        made["strict"] = True
    function.close()
    if (mark := tool.take("cache_control")) is not None:
        made["cache_control"] = mark
    tool.ignore_if(_NEUTRAL)
    if (eager := tool.take("eager_input_streaming")) is not None:
        made["eager_input_streaming"] = eager
    tool.close()
    return made


def _object_schema(function: Fields, schema: msgspec.Raw | None) -> Any:
    """Anthropic wants it to say that it is an object's."""
    if schema is None:
        return NO_PARAMETERS
    try:
        keys = _OBJECT.decode(schema)
    except msgspec.DecodeError:
        raise function.invalid("parameters", "must be an object") from None
    return schema if "type" in keys else {"type": "object", **keys}


def anthropic_choice(request: Fields, tools: list[dict[str, Any]]) -> dict[str, Any] | None:
    """`tool_choice` and `parallel_tool_calls`, taken away."""
    parallel = request.take_flag("parallel_tool_calls")
    choice = request.take_text_or_object("tool_choice")
    made: dict[str, Any] | None = None
    if isinstance(choice, str):
        if choice not in CHOICE:
            raise request.invalid("tool_choice", "must be auto, none, required, or name a function")
        made = {"type": CHOICE[choice]}
    elif choice is not None:
        made = _named(choice)
    if not tools:
        if made is not None and made["type"] in ("any", "tool"):
            request.lose("tool_choice", why="asks for a tool, and none is left")
        return None
    if made is not None and made["type"] == "tool" and all(tool["name"] != made["name"] for tool in tools):
        request.lose("tool_choice", value=made["name"], why="names no tool that is left")
        made = None
    if parallel is False and (made is None or made["type"] != "none"):
        made = {**(made or {"type": "auto"}), "disable_parallel_tool_use": True}
    return made


def _named(choice: Fields) -> dict[str, Any] | None:
    kind = choice.take_text("type") or "function"
    if kind != "function":
        choice.lose_all(kind)
        return None
    function = choice.required("function", choice.take_object("function"))
    name = function.required("name", function.take_text("name"))
    function.close()
    choice.close()
    return {"type": "tool", "name": name}


# --- messages → chat ------------------------------------------------------------------------------------------------


def chat_tools(request: Fields, *, extended: bool) -> list[dict[str, Any]]:
    """`tools`, taken away. `extended` as in ChatTarget."""
    found = [_chat_tool(tool, extended) for tool in request.take_objects("tools")]
    return [tool for tool in found if tool is not None]


def _chat_tool(tool: Fields, extended: bool) -> dict[str, Any] | None:
    kind = tool.take_text("type") or "custom"
    if kind.startswith(TOOL_SEARCH):
        return None
    if kind != "custom":
        tool.lose_all(kind)
        return None
    tool.ignore("defer_loading")
    tool.ignore_if(_NEUTRAL)
    function: dict[str, Any] = {"name": tool.required("name", tool.take_text("name"))}
    if (description := tool.take_text("description")) is not None:
        function["description"] = description
    function["parameters"] = tool.required("input_schema", tool.take("input_schema"))
    if tool.take_flag("strict"):
        function["strict"] = True
    made: dict[str, Any] = {"type": "function", "function": function}
    marks = ("cache_control", "eager_input_streaming")
    if not extended:
        tool.leave(*marks)
    for key in marks:
        if (value := tool.take(key)) is not None:
            made[key] = value
    tool.close()
    return made


def chat_choice(request: Fields, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """`tool_choice`, taken away, as the fields that say it."""
    choice = request.take_object("tool_choice")
    if choice is None:
        return {}
    kind = choice.required("type", choice.take_text("type"))
    name = choice.take_text("name")
    one_by_one = choice.take_flag("disable_parallel_tool_use")
    choice.close()
    if kind != "tool" and kind not in CHAT_CHOICE:
        raise choice.invalid("type", "must be auto, any, tool or none")
    if not tools:
        if kind in ("any", "tool"):
            request.lose("tool_choice", why="asks for a tool, and none is left")
        return {}
    made: dict[str, Any] = {"parallel_tool_calls": False} if one_by_one else {}
    if kind != "tool":
        return {"tool_choice": CHAT_CHOICE[kind], **made}
    name = choice.required("name", name)
    if all(tool["function"]["name"] != name for tool in tools):
        request.lose("tool_choice", value=name, why="names no tool that is left")
        return made
    return {"tool_choice": {"type": "function", "function": {"name": name}}, **made}
