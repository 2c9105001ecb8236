"""A Responses request as a chat completions request."""

from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.translation.fields import Fields, Losses, Translated, read_body
from gateway.core.translation.requests_to_chat import ChatTarget
from gateway.core.translation.responses.input_to_chat import InputMessages

NEUTRAL: Final = {
    "background": (b"false",),
    "truncation": (b'"disabled"',),
    "top_logprobs": (b"0",),
    "include": (b"[]",),
    "context_management": (b"[]",),
}
"""Values that ask for what happens anyway."""
HINTS: Final = ("store", "metadata", "max_tool_calls", "stream_options")
"""They ask how an answer is kept, labelled or padded, and no answer differs by them; nothing of a translated call is
stored. `max_tool_calls` limits tools that the provider runs, and those cannot be said."""
PASSED: Final = (
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "service_tier",
    "parallel_tool_calls",
)
"""The same in both."""
REASONING_NEUTRAL: Final = {"context": (b'"auto"',), "mode": (b'"standard"',)}
LOGPROBS: Final = "message.output_text.logprobs"
ENCRYPTED_REASONING: Final = "reasoning.encrypted_content"

_TOOL_NEUTRAL: Final = {
    "strict": (b"false",),
    "allowed_callers": (b'["direct"]',),
    "defer_loading": (b"false", b"true"),  # a chat has every tool from the start
    "async": (b"false",),
}

Out = dict[str, Any]


def responses_request_to_chat(body: bytes, target: ChatTarget, *, drop_unsupported: bool = False) -> Translated:
    """A stream is asked for its usage, which the Responses dialect always tells.

    Raises InvalidRequest, whose `param` names the field, for what is malformed and, unless `drop_unsupported`, for
    what the chat dialect cannot say. Linear in the body.
    """
    losses = Losses(drop=drop_unsupported)
    try:
        return Translated(msgspec.json.encode(_translate(read_body(body, losses), target)), losses.dropped)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply; nothing was sent.") from None


def _translate(request: Fields, target: ChatTarget) -> Out:
    request.ignore_if(NEUTRAL)
    request.ignore(*HINTS)
    out: Out = {
        "model": request.required("model", request.take_text("model")),
        "messages": _messages(request, target),
    }
    if (limit := request.take_integer("max_output_tokens")) is not None:
        if limit < 1:
            raise request.invalid("max_output_tokens", "must be at least 1")
        out[target.output_limit_field] = limit
    if tools := _tools(request):
        out["tools"] = tools
    _translate_choice(request, tools, out)
    _translate_reasoning(request, out)
    _translate_text(request, out)
    _translate_included(request, out)
    for key in PASSED:
        if (value := request.take(key)) is not None and (tools or key != "parallel_tool_calls"):
            out[key] = value
    if (stream := request.take_flag("stream")) is not None:
        out["stream"] = stream
        if stream:
            out["stream_options"] = {"include_usage": True}
    request.close()
    return out


def _messages(request: Fields, target: ChatTarget) -> list[dict[str, Any]]:
    chat = InputMessages(extended=target.extended, in_order=target.in_order)
    if (instructions := request.take_text("instructions")) is not None:
        chat.add_text("system", instructions)
    given = request.take_content("input")
    if isinstance(given, str):
        chat.add_text("user", given)
    else:
        for item in given:
            chat.add(item)
    messages = chat.end()
    if not messages:
        raise InvalidRequest("`input` holds nothing to answer; nothing was sent.", param="input")
    return messages


def _tools(request: Fields) -> list[Out]:
    found = [_tool(tool) for tool in request.take_objects("tools")]
    return [tool for tool in found if tool is not None]


def _tool(tool: Fields) -> Out | None:
    kind = tool.required("type", tool.take_text("type"))
    if kind == "tool_search" and bytes(tool.peek("execution") or b'"server"') == b'"server"':
        return None
    if kind != "function":
        tool.lose_all(kind)
        return None
    tool.ignore_if(_TOOL_NEUTRAL)
    function: Out = {"name": tool.required("name", tool.take_text("name"))}
    if (description := tool.take_text("description")) is not None:
        function["description"] = description
    if (parameters := tool.take("parameters")) is not None:
        function["parameters"] = parameters
    if tool.take_flag("strict"):
        function["strict"] = True
    tool.close()
    return {"type": "function", "function": function}


def _translate_choice(request: Fields, tools: list[Out], out: Out) -> None:
    choice = request.take_text_or_object("tool_choice")
    if choice is None:
        return
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            raise request.invalid("tool_choice", "must be auto, none, required, or name a function")
        if tools:
            out["tool_choice"] = choice
        elif choice == "required":
            request.lose("tool_choice", why="asks for a tool, and none is left")
        return
    kind = choice.required("type", choice.take_text("type"))
    if kind not in ("function", "allowed_tools"):
        choice.lose_all(kind)
    elif not tools:
        request.lose("tool_choice", why="asks for a tool, and none is left")
    elif kind == "function":
        out["tool_choice"] = _named(choice)
    else:
        mode = choice.required("mode", choice.take_text("mode"))
        allowed = [named for tool in choice.take_objects("tools") if (named := _allowed(tool)) is not None]
        choice.close()
        out["tool_choice"] = {"type": kind, kind: {"mode": mode, "tools": allowed}}


def _allowed(tool: Fields) -> Out | None:
    kind = tool.required("type", tool.take_text("type"))
    if kind == "function":
        return _named(tool)
    tool.lose_all(kind)
    return None


def _named(tool: Fields) -> Out:
    name = tool.required("name", tool.take_text("name"))
    tool.close()
    return {"type": "function", "function": {"name": name}}


def _translate_reasoning(request: Fields, out: Out) -> None:
    """A chat tells what can be read of its reasoning unasked."""
    if (reasoning := request.take_object("reasoning")) is not None:
        reasoning.ignore_if(REASONING_NEUTRAL)
        reasoning.ignore("summary", "generate_summary")
        if (effort := reasoning.take_text("effort")) is not None:
            out["reasoning_effort"] = effort
        reasoning.close()


def _translate_text(request: Fields, out: Out) -> None:
    text = request.take_object("text")
    if text is None:
        return
    if (verbosity := text.take_text("verbosity")) is not None:
        out["verbosity"] = verbosity
    if (format := text.take_object("format")) is not None:
        kind = format.required("type", format.take_text("type"))
        if kind == "json_schema":
            named: Out = {"name": format.required("name", format.take_text("name"))}
            for key in ("description", "schema", "strict"):
                if (value := format.take(key)) is not None:
                    named[key] = value
            out["response_format"] = {"type": kind, kind: named}
        elif kind == "json_object":
            out["response_format"] = {"type": kind}
        elif kind != "text":
            format.lose_all(kind)
        format.close()
    text.close()


def _translate_included(request: Fields, out: Out) -> None:
    for name in request.take_texts("include") or ():
        if name == LOGPROBS:
            out["logprobs"] = True
        elif name != ENCRYPTED_REASONING:  # always told
            request.lose("include", value=name)
    if (top := request.take_integer("top_logprobs")) is not None:
        out |= {"logprobs": True, "top_logprobs": top}
