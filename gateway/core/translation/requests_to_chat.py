"""A request for Anthropic's messages as a chat completions request."""

from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.translation.fields import Fields, Losses, Translated, read_body
from gateway.core.translation.reasoning import effort_of_budget
from gateway.core.translation.tools import chat_choice, chat_tools
from gateway.core.translation.turns_to_chat import ChatMessages

STOP_MAX: Final = 4
"""Sequences that OpenAI takes."""
SERVICE_TIER: Final = {"auto": "auto", "standard_only": "default"}
EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
NEUTRAL: Final = {
    "top_p": (b"1", b"1.0"),
    "speed": (b'"standard"',),
    "mcp_servers": (b"[]",),
    "stop_sequences": (b"[]",),
}
"""Values that ask for what happens anyway."""
SCHEMA_NAME: Final = "answer"
"""The chat dialect wants a name for the schema of an answer; the messages dialect has none."""

Out = dict[str, Any]


class ChatTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider that is asked understands, as far as it decides how a request is said."""

    extended: bool = True
    """It knows what OpenRouter and others have added to OpenAI's chat: `cache_control`, `top_k`, `reasoning_content`
    and `reasoning_details` of earlier turns, images in tool messages, files by URL. OpenAI itself does not."""
    output_limit_field: str = "max_completion_tokens"
    """Or max_tokens, for those who know nothing newer."""
    in_order: bool = False
    """What an assistant thought, said and called keeps its order, in messages of their own where one chat message would
    change it. No provider takes that: it is for the way on to a dialect whose neighbours are one turn."""


def request_to_chat(body: bytes, target: ChatTarget, *, drop_unsupported: bool = False) -> Translated:
    """Whether a stream is asked for its usage is up to the provider's habits: see `openai_chat.splicing`.

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
    chat = ChatMessages(extended=target.extended, in_order=target.in_order)
    chat.add_system(request, "system")
    for turn in request.take_objects("messages"):
        chat.add(turn)
    messages = chat.end()
    if not messages:
        raise InvalidRequest("`messages` holds nothing to answer; nothing was sent.", param="messages")
    max_tokens = request.required("max_tokens", request.take_integer("max_tokens"))
    if max_tokens < 1:
        request.lose("max_tokens", value=str(max_tokens), why="allows no answer, and the chat dialect has no such call")
        max_tokens = 1
    out: Out = {
        "model": request.required("model", request.take_text("model")),
        "messages": messages,
        target.output_limit_field: max_tokens,
    }
    if tools := chat_tools(request, extended=target.extended):
        out["tools"] = tools
    out |= chat_choice(request, tools)
    _translate_thinking_and_format(request, max_tokens, out)
    _translate_sampling(request, target, out)
    _translate_rest(request, target, out)
    request.close()
    return out


def _translate_thinking_and_format(request: Fields, max_tokens: int, out: Out) -> None:
    effort = _thinking_effort(request, max_tokens)
    format = request.take_object("output_format")  # where the beta had it
    if (config := request.take_object("output_config")) is not None:
        asked = config.take_text("effort")
        if asked is not None and asked not in EFFORTS:
            raise config.invalid("effort", f"must be {', '.join(EFFORTS)}")
        effort = asked if asked is not None and effort != "none" else effort
        format = config.take_object("format") or format
        config.close()
    if effort is not None:
        out["reasoning_effort"] = effort
    if format is None:
        return
    kind = format.required("type", format.take_text("type"))
    if kind != "json_schema":
        format.lose_all(kind)
        return
    schema = format.required("schema", format.take("schema"))
    format.close()
    out["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": SCHEMA_NAME, "schema": schema, "strict": True},
    }


def _thinking_effort(request: Fields, max_tokens: int) -> str | None:
    """None: the model decides."""
    thinking = request.take_object("thinking")
    if thinking is None:
        return None
    kind = thinking.required("type", thinking.take_text("type"))
    thinking.ignore_if({"display": (b'"summarized"',)})
    effort = None
    match kind:
        case "disabled":
            effort = "none"
        case "enabled":
            budget = thinking.required("budget_tokens", thinking.take_integer("budget_tokens"))
            effort = effort_of_budget(budget, max_tokens)
        case "adaptive":
            pass
        case _:
            thinking.lose_all(kind)
    thinking.close()
    return effort


def _translate_sampling(request: Fields, target: ChatTarget, out: Out) -> None:
    for key in ("temperature", "top_p"):
        if (value := request.take_number(key)) is not None:
            out[key] = value
    if target.extended and (top_k := request.take_integer("top_k")) is not None:
        out["top_k"] = top_k
    if stop := request.take_texts("stop_sequences"):
        if len(stop) > STOP_MAX:
            request.lose("stop_sequences", why=f"holds more than {STOP_MAX}, the most that the chat dialect takes")
        out["stop"] = stop[:STOP_MAX]


def _translate_rest(request: Fields, target: ChatTarget, out: Out) -> None:
    if (metadata := request.take_object("metadata")) is not None:
        if user := metadata.take_text("user_id"):
            out["user"] = user
        metadata.close()
    if tier := request.take_text("service_tier"):
        if tier in SERVICE_TIER:
            out["service_tier"] = SERVICE_TIER[tier]
        else:
            request.lose("service_tier", value=tier)
    if not target.extended:
        request.leave("cache_control")
    elif (mark := request.take("cache_control")) is not None:
        out["cache_control"] = mark
    if (stream := request.take_flag("stream")) is not None:
        out["stream"] = stream
