"""The facts of a Responses request that decide its price and its way; the body stays bytes and is changed by splicing.

As in the chat dialect, a body that another server could read in another way is refused.
"""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec

from gateway.core.dialect import Reference
from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject
from gateway.core.openai_chat.request import MODEL_CHARS_MAX, OUTPUT_LIMIT_MAX
from gateway.core.openai_responses.input import ID_CHARS_MAX, read_input
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
    stores: bool
    """The provider keeps the answer, which it does unless it is told not to."""
    background: bool
    references: tuple[Reference, ...]
    """What is kept at the provider and read as well, in the order of the request."""
    n: int = 1
    """This dialect knows one answer only."""
    cache_writes_1h: bool = False
    """This dialect cannot ask for it."""
    prompts: int = 1
    token_ids: int = 0


_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARS_MAX)]
_Limit = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_LIMIT_MAX)]


class _Scalars(msgspec.Struct, array_like=True, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    stream: bool | None
    max_output_tokens: _Limit | None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None
    background: bool | None
    store: bool | None
    previous_response_id: _Id | None


_MUST_BE: Final = {
    "model": f"is required: 1 to {MODEL_CHARS_MAX} characters",
    "stream": "must be true or false",
    "max_output_tokens": f"must be an integer from 1 to {OUTPUT_LIMIT_MAX}",
    "service_tier": "must be a short string",
    "background": "must be true or false",
    "store": "must be true or false",
    "previous_response_id": f"must be a response's id, of 1 to {ID_CHARS_MAX} characters",
}
_SCALARS: Final = _Scalars.__struct_fields__
_SCALAR_ARRAY: Final = msgspec.json.Decoder(_Scalars)
_ONE_MODEL: Final = "`model` names the one model"
_ONE_LIMIT: Final = "the output is limited by `max_output_tokens`"
_ONE_ANSWER: Final = "a response is one answer"
_REFUSED_KEYS: Final = {
    "models": _ONE_MODEL,
    "fallbacks": _ONE_MODEL,
    "route": _ONE_MODEL,
    "max_tokens": _ONE_LIMIT,
    "max_completion_tokens": _ONE_LIMIT,
    "n_predict": _ONE_LIMIT,
    "n": _ONE_ANSWER,
    "n_cmpl": _ONE_ANSWER,
}
"""Some servers pick another model by the first: one that was not priced. llama.cpp reads the others, as it makes a chat
of a response."""
_ID: Final = msgspec.json.Decoder(_Id)
_HOSTED_TOOL_KEYS: Final = ("plugins", "web_search_options", "search_parameters")
_DECIDING_KEYS: Final = frozenset(
    {
        *_SCALARS,
        *_REFUSED_KEYS,
        "conversation",
        "prompt",
        *_HOSTED_TOOL_KEYS,
        "input",
        "instructions",
        "tools",
        "modalities",
    }
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
    for name, why in _REFUSED_KEYS.items():
        if is_set(values, name):
            raise InvalidRequest(f"`{name}` is not supported: {why}.", param=name)
    if is_set(values, "prompt"):
        raise not_yours("prompt")
    _check_background(scalars)
    tools = Tools()
    read_tools(values.get("tools", NULL), "tools", tools)
    context = tuple(_context(values, scalars.previous_response_id))
    found = read_input(values.get("input", NULL), tools, may_be_absent=bool(context))
    references = (*context, *found.references)
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
        by_reference=found.by_reference
        or bool(references)
        or is_set(values, "context_management")
        or _thinks_at_length(values),
        tools=tools.count > 0 or is_set(values, "text"),  # a demanded format is described to the model as well
        hosted_tools=tools.hosted or any(is_set(values, key) for key in _HOSTED_TOOL_KEYS),
        stores=scalars.store is not False,
        background=scalars.background is True,
        references=references,
    )


def _thinks_at_length(values: RawObject) -> bool:
    """In another mode than the usual, in which the prompt is read and billed several times."""
    if not is_set(values, "reasoning"):
        return False
    reasoning = object_of(values["reasoning"], "reasoning")
    refuse_misspelled(reasoning, ("mode",))
    return reasoning.get("mode", NULL) not in _USUAL_MODES


def _check_background(scalars: _Scalars) -> None:
    """Raises InvalidRequest for one that could not be settled: it is fetched later, so it must be kept."""
    if not scalars.background:
        return
    for name, in_the_way in (("stream", scalars.stream is True), ("store", scalars.store is False)):
        if in_the_way:
            raise InvalidRequest(
                f"`background` does not go with this `{name}`: the response is kept and fetched when it is done; "
                "nothing was reserved or sent.",
                param="background",
                code="unsupported_parameter",
            )


def _context(values: RawObject, previous: str | None) -> Iterator[Reference]:
    """Earlier turns, which the provider puts before the input."""
    if previous is not None:
        yield Reference("response", previous, "previous_response_id")
    if is_set(values, "conversation"):
        value, param = values["conversation"], "conversation"
        if memoryview(value)[0] == _BRACE:
            value, param = object_of(value, param).get("id", NULL), "conversation.id"
        try:
            yield Reference("conversation", _ID.decode(value), param)
        except msgspec.DecodeError:
            message = f"`{param}` must be a conversation's id, of 1 to {ID_CHARS_MAX} characters."
            raise InvalidRequest(message, param=param) from None


_BRACE: Final = b"{"[0]
