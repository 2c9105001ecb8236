"""The facts of a Responses request that decide its price and its way; the body stays bytes and is changed by splicing.

As in the chat dialect, a body that another server could read in another way is refused.
"""

from typing import Annotated, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject
from gateway.core.openai_chat.request import MODEL_CHARS_MAX, OUTPUT_LIMIT_MAX
from gateway.core.openai_responses.input import read_input
from gateway.core.openai_responses.tools import Tools, read_tools
from gateway.core.request_body import (
    NULL,
    is_set,
    not_yours,
    object_of,
    read_body,
    read_scalars,
    refuse_misspelled,
)


class ResponsesRequest(msgspec.Struct, gc=False):
    """One POST /v1/responses, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    stream: bool
    output_limit: int | None
    """max_output_tokens."""
    service_tier: str | None
    message_count: int
    """Items of the input."""
    prompt_bytes: int
    images: int
    audio: bool
    other_output: bool
    by_reference: bool
    tools: bool
    hosted_tools: bool
    n: int = 1
    """This dialect knows one answer only."""
    cache_writes_1h: bool = False
    """This dialect cannot ask for it."""
    prompts: int = 1
    token_ids: int = 0


_Limit = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_LIMIT_MAX)]


class _Scalars(msgspec.Struct, array_like=True, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    stream: bool | None
    max_output_tokens: _Limit | None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None
    background: bool | None


_MUST_BE: Final = {
    "model": f"is required: 1 to {MODEL_CHARS_MAX} characters",
    "stream": "must be true or false",
    "max_output_tokens": f"must be an integer from 1 to {OUTPUT_LIMIT_MAX}",
    "service_tier": "must be a short string",
    "background": "must be true or false",
}
_SCALARS: Final = _Scalars.__struct_fields__
_SCALAR_ARRAY: Final = msgspec.json.Decoder(_Scalars)
_MODEL_LIST_KEYS: Final = ("models", "fallbacks", "route")
"""Some servers pick another model by these: one that was not priced."""
_STORED_KEYS: Final = ("previous_response_id", "conversation", "prompt")
_HOSTED_TOOL_KEYS: Final = ("plugins", "web_search_options", "search_parameters")
_DECIDING_KEYS: Final = frozenset(
    {*_SCALARS, *_MODEL_LIST_KEYS, *_STORED_KEYS, *_HOSTED_TOOL_KEYS, "input", "instructions", "tools", "modalities"}
)
_USUAL_MODES: Final = (NULL, msgspec.Raw(b'"standard"'))


def read_responses_request(body: bytes) -> ResponsesRequest:
    """Raises InvalidRequest, whose `param` names the field. Linear in the body."""
    try:
        return _read(body)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def _read(body: bytes) -> ResponsesRequest:
    text, values = read_body(body)
    scalars = read_scalars(values, _SCALARS, _SCALAR_ARRAY, _MUST_BE)
    if not scalars.model.isprintable():
        raise InvalidRequest("`model` must be printable.", param="model")
    refuse_misspelled(values, _DECIDING_KEYS)
    for name in _MODEL_LIST_KEYS:
        if is_set(values, name):
            raise InvalidRequest(f"`{name}` is not supported: `model` names the one model.", param=name)
    for name in _STORED_KEYS:
        if is_set(values, name):
            raise not_yours(name)
    if scalars.background:
        raise InvalidRequest(
            "`background` is not supported; nothing was reserved or sent.",
            param="background",
            code="unsupported_parameter",
        )
    tools = Tools()
    read_tools(values.get("tools", NULL), "tools", tools)
    found = read_input(values.get("input", NULL), tools)
    return ResponsesRequest(
        body=body,
        model=scalars.model,
        stream=scalars.stream is True,
        output_limit=scalars.max_output_tokens,
        service_tier=scalars.service_tier,
        message_count=found.items + 1,  # the instructions
        prompt_bytes=len(text) - found.image_bytes + tools.hidden_bytes,
        images=found.images,
        audio=found.audio,
        other_output=tools.pictures,
        by_reference=found.by_reference or is_set(values, "context_management") or _thinks_at_length(values),
        tools=tools.count > 0 or is_set(values, "text"),  # a demanded format is described to the model as well
        hosted_tools=tools.hosted or any(is_set(values, key) for key in _HOSTED_TOOL_KEYS),
    )


def _thinks_at_length(values: RawObject) -> bool:
    """In another mode than the usual, in which the prompt is read and billed several times."""
    if not is_set(values, "reasoning"):
        return False
    reasoning = object_of(values["reasoning"], "reasoning")
    refuse_misspelled(reasoning, ("mode",))
    return reasoning.get("mode", NULL) not in _USUAL_MODES
