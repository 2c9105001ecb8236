"""The facts of a Messages request that decide its price and its way; the body stays bytes and is changed by splicing.

As with any dialect, what is priced must be what is sent: a body that another server could read in another way than we
do is refused. Contents are read as far as their types, sources and ids; texts are passed over unread.
"""

from typing import Annotated, Final

import msgspec

from gateway.core.anthropic_messages.content import read_messages, read_system
from gateway.core.anthropic_messages.tools import read_tools
from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject
from gateway.core.request_body import (
    NULL,
    is_set,
    not_yours,
    object_of,
    objects_of,
    read_body,
    read_scalars,
    refuse_misspelled,
)

OUTPUT_LIMIT_MAX: Final = 2**31 - 1
MODEL_CHARS_MAX: Final = 256


class MessagesRequest(msgspec.Struct, gc=False):
    """One POST /v1/messages, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    stream: bool
    output_limit: int | None
    """max_tokens, which must be set; None where tokens are only counted."""
    thinking_budget: int | None
    """Tokens of the output that may be thought, of its budget."""
    service_tier: str | None
    message_count: int
    prompt_bytes: int
    """The body without white space and inline images, and for what it only names the bytes that it stands for."""
    images: int
    by_reference: bool
    tools: bool
    hosted_tools: bool
    """The provider may run tools itself (searches, code, MCP servers)."""
    cache_writes_1h: bool
    """Something may be cached for an hour, which is dearer to write than for five minutes."""
    n: int = 1
    """This dialect knows one answer only."""
    prompts: int = 1
    token_ids: int = 0
    audio: bool = False
    other_output: bool = False


_Limit = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_LIMIT_MAX)]


class _Scalars(msgspec.Struct, array_like=True, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    max_tokens: _Limit | None
    stream: bool | None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None
    speed: Annotated[str, msgspec.Meta(max_length=64)] | None
    inference_geo: Annotated[str, msgspec.Meta(max_length=64)] | None


class _Budget(msgspec.Struct, gc=False):
    budget_tokens: _Limit | None = None


_MUST_BE: Final = {
    "model": f"is required: 1 to {MODEL_CHARS_MAX} characters",
    "max_tokens": f"must be an integer from 1 to {OUTPUT_LIMIT_MAX}",
    "stream": "must be true or false",
    "service_tier": "must be a short string",
    "speed": "must be a short string",
    "inference_geo": "must be a short string",
}
_SCALARS: Final = _Scalars.__struct_fields__
_SCALAR_ARRAY: Final = msgspec.json.Decoder(_Scalars)
_BUDGET: Final = msgspec.json.Decoder(_Budget)
_MODEL_LIST_KEYS: Final = ("models", "fallbacks", "route")
"""Some servers pick another model by these: one that was not priced."""
_DECIDING_KEYS: Final = frozenset(
    {*_SCALARS, *_MODEL_LIST_KEYS, "messages", "system", "tools", "thinking", "container", "mcp_servers"}
)
_AT_ONE_PRICE: Final = {"speed": (None, "standard"), "inference_geo": (None, "global")}
"""Other values of these multiply the price, by factors that are not in a model's price."""
_HOUR: Final = (b'"1h"', b"\\u0031", b"\\u0068")
"""A time to live of one hour, or the escapes that may hide one."""


def read_messages_request(body: bytes) -> MessagesRequest:
    """Raises InvalidRequest, whose `param` names the field. Linear in the body."""
    request = read_counting_request(body)
    if request.output_limit is None:
        raise InvalidRequest("`max_tokens` is required.", param="max_tokens")
    return request


def read_counting_request(body: bytes) -> MessagesRequest:
    """The same of a request that only asks how long its prompt is: it needs no max_tokens."""
    try:
        return _read(body)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def _read(body: bytes) -> MessagesRequest:
    text, values = read_body(body)
    scalars = read_scalars(values, _SCALARS, _SCALAR_ARRAY, _MUST_BE)
    if not scalars.model.isprintable():
        raise InvalidRequest("`model` must be printable.", param="model")
    refuse_misspelled(values, _DECIDING_KEYS)
    _refuse_other_prices(values, scalars)
    _refuse_stored_container(values)
    content = read_messages(values.get("messages", NULL))
    read_system(values.get("system", NULL), content)
    tools = read_tools(values.get("tools", NULL), model=scalars.model)
    definitions_bytes = len(memoryview(values["tools"])) if tools.count else 0
    return MessagesRequest(
        body=body,
        model=scalars.model,
        stream=scalars.stream is True,
        output_limit=scalars.max_tokens,
        thinking_budget=_thinking_budget(values.get("thinking", NULL)),
        service_tier=scalars.service_tier,
        message_count=content.count,
        prompt_bytes=(
            len(text) - content.image_bytes + content.tool_references * definitions_bytes + tools.hidden_bytes
        ),
        images=content.images,
        by_reference=content.by_reference,
        tools=tools.count > 0 or is_set(values, "output_config"),  # a demanded format is described to the model as well
        hosted_tools=tools.hosted or is_set(values, "container") or _has_servers(values),
        cache_writes_1h=any(spelling in body for spelling in _HOUR),
    )


def _refuse_other_prices(values: RawObject, scalars: _Scalars) -> None:
    for name in _MODEL_LIST_KEYS:
        if is_set(values, name):
            raise InvalidRequest(f"`{name}` is not supported: `model` names the one model.", param=name)
    for name, usual in _AT_ONE_PRICE.items():
        if getattr(scalars, name) not in usual:
            raise InvalidRequest(
                f"`{name}` other than `{usual[1]}` has no price here, so it cannot be charged for; nothing was "
                "reserved or sent.",
                param=name,
                code="service_tier_not_priced",
            )


def _refuse_stored_container(values: RawObject) -> None:
    """A container is of whoever made it; a new one, with the provider's own skills, is nobody's yet."""
    if not is_set(values, "container"):
        return
    container = object_of(values["container"], "container") if memoryview(values["container"])[0] == _BRACE else None
    if container is None or is_set(container, "id"):
        raise not_yours("container")
    if is_set(container, "skills"):
        for skill in objects_of(container["skills"], "container.skills"):
            if skill.get("type", NULL) != _ANTHROPIC:
                raise not_yours("container.skills")


def _has_servers(values: RawObject) -> bool:
    return is_set(values, "mcp_servers") and len(objects_of(values["mcp_servers"], "mcp_servers")) > 0


def _thinking_budget(thinking: msgspec.Raw) -> int | None:
    if thinking == NULL:
        return None
    object_of(thinking, "thinking")
    try:
        return _BUDGET.decode(thinking).budget_tokens
    except msgspec.DecodeError:
        message = f"`thinking.budget_tokens` must be an integer from 1 to {OUTPUT_LIMIT_MAX}."
        raise InvalidRequest(message, param="thinking.budget_tokens") from None


_BRACE: Final = b"{"[0]
_ANTHROPIC: Final = msgspec.Raw(b'"anthropic"')
