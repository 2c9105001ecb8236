"""A chat completions request as a Responses request, of which the provider stores nothing."""

from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.translation.fields import Fields, Losses, Translated, read_body
from gateway.core.translation.requests_to_messages import OUTPUT_LIMITS
from gateway.core.translation.responses.input_from_chat import InputItems
from gateway.core.translation.responses.requests_to_chat import ENCRYPTED_REASONING, LOGPROBS, PASSED

NEUTRAL: Final = {
    "n": (b"1",),
    "frequency_penalty": (b"0", b"0.0"),
    "presence_penalty": (b"0", b"0.0"),
    "logit_bias": (b"{}",),
    "logprobs": (b"false",),
    "top_logprobs": (b"0",),
    "modalities": (b'["text"]',),
    "store": (b"false",),
    "functions": (b"[]",),
    "stop": (b"[]", b'""'),
    "reasoning_format": (b'"parsed"',),  # Groq
}
"""Values that ask for what happens anyway."""
HINTS: Final = ("usage",)
"""They ask for figures that are always told."""
OUTPUT_TOKENS_MIN: Final = 16
"""OpenAI takes no smaller limit here."""

_NO_PARAMETERS: Final = msgspec.Raw(b'{"type":"object","properties":{}}')

Out = dict[str, Any]


class ResponsesTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What the model that is asked can do, as far as it decides how a request is said."""

    reasons: bool = False
    """What it thinks is asked for encrypted, so that the caller can hand it back: models that do not think refuse to be
    asked. Where the request sets an effort it is asked for in any case."""
    summary: str | None = None
    """How its thoughts are summed up for readers: auto, concise or detailed. OpenAI gives that to verified
    organisations alone. None: not asked for."""
    cache_breakpoints: bool = False
    """It takes marks for the cache (`prompt_cache_breakpoint`). Otherwise Anthropic's `cache_control` is left out as a
    hint, and listed: these providers cache unasked."""


def chat_request_to_responses(body: bytes, target: ResponsesTarget, *, drop_unsupported: bool = False) -> Translated:
    """Raises InvalidRequest, whose `param` names the field, for what is malformed and, unless `drop_unsupported`, for
    what the Responses dialect cannot say. Linear in the body."""
    losses = Losses(drop=drop_unsupported)
    try:
        return Translated(msgspec.json.encode(_translate(read_body(body, losses), target)), losses.dropped)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply; nothing was sent.") from None


def _translate(request: Fields, target: ResponsesTarget) -> Out:
    request.ignore_if(NEUTRAL)
    request.ignore(*HINTS)
    request.leave("cache_control")
    items = InputItems(cache_breakpoints=target.cache_breakpoints)
    for message in request.take_objects("messages"):
        items.add(message)
    instructions, given = items.end()
    out: Out = {"model": request.required("model", request.take_text("model"))}
    if instructions is not None:
        out["instructions"] = instructions
    out |= {"input": given, "store": False}
    if (limit := _output_limit(request)) is not None:
        out["max_output_tokens"] = limit
    if tools := _tools(request):
        out["tools"] = tools
    _translate_choice(request, tools, out)
    _translate_reasoning(request, target, out)
    _translate_text(request, out)
    _translate_logprobs(request, out)
    for key in (*PASSED, "metadata"):
        if (value := request.take(key)) is not None and (tools or key != "parallel_tool_calls"):
            out[key] = value
    if (stream := request.take_flag("stream")) is not None:
        out["stream"] = stream
    if (options := request.take_object("stream_options")) is not None:
        options.ignore("include_usage")  # always told
        if (padded := options.take_flag("include_obfuscation")) is not None and stream:
            out["stream_options"] = {"include_obfuscation": padded}
        options.close()
    request.close()
    return out


def _output_limit(request: Fields) -> int | None:
    """The smaller of the two, where both are set: neither is passed."""
    limits = [(limit, key) for key in OUTPUT_LIMITS if (limit := request.take_integer(key)) is not None]
    if not limits:
        return None
    limit, key = min(limits)
    if limit < 1:
        raise request.invalid(key, "must be at least 1")
    if limit < OUTPUT_TOKENS_MIN:
        request.lose(key, value=str(limit), why=f"is below {OUTPUT_TOKENS_MIN}, the least that is taken")
        return OUTPUT_TOKENS_MIN
    return limit


def _tools(request: Fields) -> list[Out]:
    found = [_tool(tool) for tool in request.take_objects("tools")]
    return [tool for tool in found if tool is not None]


def _tool(tool: Fields) -> Out | None:
    kind = tool.take_text("type") or "function"
    if kind != "function":
        tool.lose_all(kind)
        return None
    function = tool.required("function", tool.take_object("function"))
    made: Out = {"type": "function", "name": function.required("name", function.take_text("name"))}
    if (description := function.take_text("description")) is not None:
        made["description"] = description
    parameters = function.take("parameters")
    made["parameters"] = parameters if parameters is not None else _NO_PARAMETERS
    made["strict"] = bool(function.take_flag("strict"))  # a chat's functions are not unless they say so; these are
    function.close()
    tool.leave("cache_control", "eager_input_streaming")
    tool.close()
    return made


def _translate_choice(request: Fields, tools: list[Out], out: Out) -> None:
    choice = request.take_text_or_object("tool_choice")
    made: str | Out
    if choice is None:
        return
    if isinstance(choice, str):
        made = "required" if choice == "any" else choice  # Mistral
        if made not in ("auto", "none", "required"):
            raise request.invalid("tool_choice", "must be auto, none, required, or name a function")
        if not tools and made != "required":
            return
    else:
        kind = choice.take_text("type") or "function"
        if kind not in ("function", "allowed_tools"):
            choice.lose_all(kind)
            return
        made = _named(choice) if kind == "function" else _allowed_tools(choice)
    if tools:
        out["tool_choice"] = made
    else:
        request.lose("tool_choice", why="asks for a tool, and none is left")


def _allowed_tools(choice: Fields) -> Out:
    kind = "allowed_tools"
    allowed = choice.required(kind, choice.take_object(kind))
    mode = allowed.required("mode", allowed.take_text("mode"))
    tools = [named for tool in allowed.take_objects("tools") if (named := _allowed(tool)) is not None]
    allowed.close()
    choice.close()
    return {"type": kind, "mode": mode, "tools": tools}


def _allowed(tool: Fields) -> Out | None:
    kind = tool.take_text("type") or "function"
    if kind == "function":
        return _named(tool)
    tool.lose_all(kind)
    return None


def _named(choice: Fields) -> Out:
    function = choice.required("function", choice.take_object("function"))
    name = function.required("name", function.take_text("name"))
    function.close()
    choice.close()
    return {"type": "function", "name": name}


def _translate_reasoning(request: Fields, target: ResponsesTarget, out: Out) -> None:
    effort = request.take_text("reasoning_effort")
    hidden = False
    if (reasoning := request.take_object("reasoning")) is not None:  # OpenRouter's
        effort = effort or reasoning.take_text("effort")
        hidden = reasoning.take_flag("exclude") is True
        enabled = reasoning.take_flag("enabled")
        effort = "none" if enabled is False else effort or ("medium" if enabled else None)
        reasoning.close()  # a budget of tokens cannot be said
    made = {"effort": effort} if effort is not None else {}
    thinks = effort != "none" if effort is not None else target.reasons
    if thinks and target.summary is not None and not hidden:
        made["summary"] = target.summary
    if made:
        out["reasoning"] = made
    if thinks:
        out["include"] = [ENCRYPTED_REASONING]


def _translate_text(request: Fields, out: Out) -> None:
    text: Out = {}
    if (format := request.take_object("response_format")) is not None:
        kind = format.required("type", format.take_text("type"))
        if kind == "json_schema":
            named = format.required(kind, format.take_object(kind))
            text["format"] = {"type": kind, "name": named.required("name", named.take_text("name"))}
            schema = named.take("schema")
            text["format"]["schema"] = schema if schema is not None else _NO_PARAMETERS
            for key in ("description", "strict"):
                if (value := named.take(key)) is not None:
                    text["format"][key] = value
            named.close()
        elif kind == "json_object":
            text["format"] = {"type": kind}
        elif kind != "text":
            format.lose_all(kind)
        format.close()
    if (verbosity := request.take_text("verbosity")) is not None:
        text["verbosity"] = verbosity
    if text:
        out["text"] = text


def _translate_logprobs(request: Fields, out: Out) -> None:
    asked, top = request.take_flag("logprobs"), request.take_integer("top_logprobs")
    if asked or top:
        out["include"] = [*out.get("include", ()), LOGPROBS]
    if top:
        out["top_logprobs"] = top
