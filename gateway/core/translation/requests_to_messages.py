"""A chat completions request as a request for Anthropic's messages."""

from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.translation.fields import Fields, Losses, Translated, read_body
from gateway.core.translation.reasoning import ADAPTIVE_EFFORT, BUDGET_TOKENS_MIN, budget_tokens
from gateway.core.translation.tools import anthropic_choice, anthropic_tools
from gateway.core.translation.turns_to_messages import Conversation

TEMPERATURE_MAX: Final = 1
TOP_P_THINKING_MIN: Final = 0.95
OUTPUT_LIMITS: Final = ("max_completion_tokens", "max_tokens")
SERVICE_TIER: Final = {"auto": "auto", "default": "standard_only"}
NEUTRAL: Final = {
    "n": (b"1",),
    "top_p": (b"1", b"1.0"),  # newer models of Anthropic's take it or a temperature, not both
    "frequency_penalty": (b"0", b"0.0"),
    "presence_penalty": (b"0", b"0.0"),
    "logit_bias": (b"{}",),
    "logprobs": (b"false",),
    "top_logprobs": (b"0",),
    "modalities": (b'["text"]',),
    "store": (b"false",),
    "verbosity": (b'"medium"',),
    "metadata": (b"{}",),
    "functions": (b"[]",),
    "reasoning_format": (b'"parsed"',),  # Groq
}
"""Values that ask for what happens anyway."""
HINTS: Final = ("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "usage")
"""They steer a provider's own cache, or ask for figures that are always told; no answer differs by them."""

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_ROOM: Final = f"leaves no room to think: an output of more than {BUDGET_TOKENS_MIN} tokens must be allowed"

Out = dict[str, Any]


class MessagesTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What the model that is asked can do, as far as it decides how a request is said."""

    max_tokens_default: int
    """Where the request sets no limit; the messages dialect must have one."""
    adaptive_thinking: bool = False
    """It takes an effort (`thinking: adaptive`) rather than a budget of tokens."""
    system_in_place: bool = False
    """It takes system messages after a user's turn. Otherwise later ones join the first."""


def request_to_messages(body: bytes, target: MessagesTarget, *, drop_unsupported: bool = False) -> Translated:
    """Raises InvalidRequest, whose `param` names the field, for what is malformed and, unless `drop_unsupported`, for
    what the messages dialect cannot say. Linear in the body."""
    losses = Losses(drop=drop_unsupported)
    try:
        return Translated(msgspec.json.encode(_translate(read_body(body, losses), target)), losses.dropped)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply; nothing was sent.") from None


def _translate(request: Fields, target: MessagesTarget) -> Out:
    request.ignore_if(NEUTRAL)
    request.ignore(*HINTS)
    conversation = Conversation(system_in_place=target.system_in_place)
    for message in request.take_objects("messages"):
        conversation.add(message)
    system, turns = conversation.end()
    out: Out = {
        "model": request.required("model", request.take_text("model")),
        "max_tokens": _output_limit(request, target.max_tokens_default),
        "messages": turns,
    }
    if system is not None:
        out["system"] = system
    if tools := anthropic_tools(request):
        out["tools"] = tools
    if (choice := anthropic_choice(request, tools)) is not None:
        out["tool_choice"] = choice
    _translate_thinking(request, target, out, resumes_unthought=conversation.last_call_lacks_thinking)
    _translate_sampling(request, out)
    _translate_format(request, out)
    _translate_rest(request, out)
    request.close()
    return out


def _output_limit(request: Fields, default: int) -> int:
    """The smaller of the two, where both are set: neither is passed."""
    limits = [limit for key in OUTPUT_LIMITS if (limit := request.take_integer(key)) is not None]
    if any(limit < 1 for limit in limits):
        raise request.invalid(OUTPUT_LIMITS[0], "must be at least 1")
    return min(limits, default=default)


def _translate_thinking(request: Fields, target: MessagesTarget, out: Out, *, resumes_unthought: bool) -> None:
    field, effort, budget, hidden = _asked_thinking(request)
    if effort is None and budget is None:
        return
    if effort == "none":
        out["thinking"] = {"type": "disabled"}
        return
    if out.get("tool_choice", {}).get("type") in ("any", "tool"):
        request.lose(field, why="cannot be had together with a tool_choice that asks for a tool")
        return
    if budget is None and effort is not None and target.adaptive_thinking:
        out["thinking"] = {"type": "adaptive"}
        out["output_config"] = {"effort": ADAPTIVE_EFFORT[effort]}
    else:
        if resumes_unthought:
            request.lose(field, why="needs the reasoning_details of the turn that it goes on with")
            return
        if budget is None and effort is not None:
            budget = budget_tokens(effort, out["max_tokens"])
        if budget is None or not BUDGET_TOKENS_MIN <= budget < out["max_tokens"]:
            request.lose(field, why=_NO_ROOM)
            return
        out["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if hidden:
        out["thinking"]["display"] = "omitted"


def _asked_thinking(request: Fields) -> tuple[str, str | None, int | None, bool]:
    """The field that asks, and its effort or budget, by OpenAI's name or by OpenRouter's."""
    field = "reasoning_effort"
    effort = request.take_text(field)
    budget, hidden = None, False
    if (reasoning := request.take_object("reasoning")) is not None:
        field = "reasoning" if effort is None else field
        effort = reasoning.take_text("effort") or effort
        budget = reasoning.take_integer("max_tokens")
        hidden = reasoning.take_flag("exclude") is True
        enabled = reasoning.take_flag("enabled")
        if enabled is False:
            effort, budget = "none", None
        elif enabled and effort is None and budget is None:
            effort = "medium"  # as OpenRouter takes it
        reasoning.close()
    if effort is not None and effort != "none" and effort not in ADAPTIVE_EFFORT:
        raise request.invalid(field, f"must be none, {', '.join(ADAPTIVE_EFFORT)}")
    return field, effort, budget, hidden


def _translate_sampling(request: Fields, out: Out) -> None:
    thinks = out.get("thinking", {}).get("type") in ("enabled", "adaptive")
    temperature = request.take_number("temperature")
    if temperature is not None and thinks and temperature != 1:
        request.lose("temperature", why="must be 1 where the model thinks")
    elif temperature is not None and not 0 <= temperature <= TEMPERATURE_MAX:
        request.lose("temperature", why=f"is above {TEMPERATURE_MAX}, the most that this model's provider takes")
    elif temperature is not None:
        out["temperature"] = temperature
    top_p, top_k = request.take_number("top_p"), request.take_integer("top_k")
    if top_p is not None and thinks and top_p < TOP_P_THINKING_MIN:
        request.lose("top_p", why=f"must be at least {TOP_P_THINKING_MIN} where the model thinks")
    elif top_p is not None:
        out["top_p"] = top_p
    if top_k is not None and thinks:
        request.lose("top_k", why="cannot be set where the model thinks")
    elif top_k is not None:
        out["top_k"] = top_k
    stop = _stop_sequences(request)
    if stop:
        out["stop_sequences"] = stop


def _stop_sequences(request: Fields) -> list[str]:
    value = request.take_text("stop") if request.is_text("stop") else request.take_texts("stop")
    sequences = [value] if isinstance(value, str) else value or []
    spoken = [sequence for sequence in sequences if sequence and not sequence.isspace()]
    if len(spoken) < len(sequences):
        request.lose("stop", why="holds nothing but white space, at which this model's provider does not stop")
    return spoken


def _translate_format(request: Fields, out: Out) -> None:
    format = request.take_object("response_format")
    if format is None:
        return
    kind = format.required("type", format.take_text("type"))
    if kind == "text":
        format.close()
        return
    if kind != "json_schema":
        format.lose_all(kind)
        return
    named = format.required("json_schema", format.take_object("json_schema"))
    named.ignore("name", "strict")  # a label; and Anthropic always keeps to the schema
    schema: Any = named.required("schema", named.take("schema"))
    if description := named.take_text("description"):
        keys = _OBJECT.decode(schema) if bytes(schema).lstrip().startswith(b"{") else {}
        schema = schema if "description" in keys else {"description": description, **keys}
    named.close()
    format.close()
    out.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}


def _translate_rest(request: Fields, out: Out) -> None:
    user, safety = request.take_text("user"), request.take_text("safety_identifier")
    if user and safety and user != safety:
        request.lose("user", why="differs from safety_identifier, and this model's provider knows one of them")
    if user or safety:
        out["metadata"] = {"user_id": safety or user}
    if tier := request.take_text("service_tier"):
        if tier in SERVICE_TIER:
            out["service_tier"] = SERVICE_TIER[tier]
        else:
            request.lose("service_tier", value=tier)
    if (mark := request.take("cache_control")) is not None:
        out["cache_control"] = mark
    if (stream := request.take_flag("stream")) is not None:
        out["stream"] = stream
    if (options := request.take_object("stream_options")) is not None:
        options.ignore("include_usage")  # the messages dialect always tells it
        options.ignore_if({"include_obfuscation": (b"false",)})
        options.close()
