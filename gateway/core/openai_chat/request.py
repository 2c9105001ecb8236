"""The facts of a chat request that decide its price and its way; the body stays bytes and is changed by splicing.

What is priced must be what is sent. So a body that another server could read in another way than we do (duplicate
keys, `MODEL` beside `model`, a limit spelled `1e9`) is refused, and a value is replaced at the very bytes it was read
from. Contents are never decoded.
"""

from typing import Annotated, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import Ambiguous, RawObject, misspelled, read_object, read_objects
from gateway.core.openai_chat.messages import read_messages
from gateway.core.request_body import NULL, is_set, read_body, read_scalars, refuse_misspelled

N_MAX: Final = 128
OUTPUT_LIMIT_MAX: Final = 2**31 - 1
MODEL_CHARS_MAX: Final = 256

_LIMIT_FIELDS_SET: Final = {
    (False, False): (),
    (False, True): ("max_tokens",),
    (True, False): ("max_completion_tokens",),
    (True, True): ("max_completion_tokens", "max_tokens"),
}


class ChatRequest(msgspec.Struct, gc=False):
    """One POST /v1/chat/completions, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    stream: bool
    n: int
    output_limit: int | None
    """The larger of max_tokens and max_completion_tokens; None where neither is set."""
    limit_fields: tuple[str, ...]
    """The limit fields that are set (null counts as unset)."""
    include_usage: bool
    """The client itself asked for the usage chunk."""
    service_tier: str | None
    message_count: int
    prompt_bytes: int
    """The body without white space and inline images: what bounds the prompt's tokens from above, template aside."""
    images: int
    """Inline images (data: URIs); their tokens go by pixels, not by bytes."""
    audio: bool
    """Audio goes in or comes out: priced apart from text."""
    other_output: bool
    """More than text is asked for (`modalities`): sound or images, priced apart from text."""
    by_reference: bool
    """Something is read that the body only names or packs (a URL, a document): its bytes bound nothing."""
    tools: bool
    """Tools are described: providers wrap them in instructions of their own."""
    hosted_tools: bool
    """The provider may run tools itself, which read and bill beyond what is sent."""
    cache_writes_1h: bool = False
    """This dialect cannot ask for it."""
    prompts: int = 1
    token_ids: int = 0


_Limit = Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_LIMIT_MAX)]


class _Scalars(msgspec.Struct, array_like=True, gc=False):
    """The fields that are read as values, gathered into one array so that one typed decode checks them all."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    stream: bool | None
    n: Annotated[int, msgspec.Meta(ge=1, le=N_MAX)] | None
    max_completion_tokens: _Limit | None
    max_tokens: _Limit | None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None


_MUST_BE: Final = {
    "model": f"is required: 1 to {MODEL_CHARS_MAX} characters",
    "stream": "must be true or false",
    "n": f"must be an integer from 1 to {N_MAX}",
    "max_completion_tokens": f"must be an integer from 1 to {OUTPUT_LIMIT_MAX}",
    "max_tokens": f"must be an integer from 1 to {OUTPUT_LIMIT_MAX}",
    "service_tier": "must be a short string",
}
_SCALARS: Final = _Scalars.__struct_fields__
_ONE_MODEL: Final = "`model` names the one model"
_REFUSED_KEYS: Final = {
    "models": _ONE_MODEL,
    "fallbacks": _ONE_MODEL,
    "route": _ONE_MODEL,
    "n_predict": "the output is limited by `max_completion_tokens`",
    "n_cmpl": "the number of answers is `n`",
    "use_beam_search": "it makes outputs that nothing bounds",
}
"""Some servers pick another model by the first: one that was not priced. llama.cpp takes `n_predict` and `n_cmpl`, vLLM
`use_beam_search`, before the fields that are priced here."""
_HOSTED_TOOL_KEYS: Final = frozenset(
    {"web_search_options", "plugins", "search_settings", "search_parameters", "enable_search"}
)
_TOOL_KEYS: Final = frozenset({"tools", "functions"})
_DECIDING_KEYS: Final = (
    _TOOL_KEYS | _HOSTED_TOOL_KEYS | {*_SCALARS, *_REFUSED_KEYS, "messages", "stream_options", "modalities", "audio"}
)
_PLAIN_KEYS: Final = frozenset(
    {
        *_SCALARS,
        "messages",
        "stream_options",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "metadata",
        "parallel_tool_calls",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "stop",
        "store",
        "temperature",
        "tool_choice",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
    }
)
"""A request with no other keys needs no closer look."""

_TRUE: Final = msgspec.Raw(b"true")
_USUAL_STREAM_OPTIONS: Final = msgspec.Raw(b'{"include_usage":true}')
_NOT_ASKED: Final = (NULL, msgspec.Raw(b"false"))
_STRINGS: Final = msgspec.json.Decoder(list[str])
_STREAM_OPTIONS: Final = msgspec.json.Decoder(dict[str, bool | None])
_SCALAR_ARRAY: Final = msgspec.json.Decoder(_Scalars)
_CLIENT_TOOLS: Final = (msgspec.Raw(b'"function"'), msgspec.Raw(b'"custom"'), NULL)
"""The types of tools that the client runs itself."""


def read_chat_request(body: bytes) -> ChatRequest:
    """Raises InvalidRequest, whose `param` names the field. Linear in the body, a few passes at C speed."""
    try:
        return _read(body)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def _read(body: bytes) -> ChatRequest:
    text, values = read_body(body)
    scalars = read_scalars(values, _SCALARS, _SCALAR_ARRAY, _MUST_BE)
    if not scalars.model.isprintable():
        raise InvalidRequest("`model` must be printable.", param="model")
    messages = read_messages(values.get("messages", NULL))
    plain = _PLAIN_KEYS.issuperset(values)
    if not plain:
        _refuse_keys(values)
    return ChatRequest(
        body=body,
        model=scalars.model,
        stream=scalars.stream is True,
        n=scalars.n or 1,
        output_limit=max(scalars.max_completion_tokens or 0, scalars.max_tokens or 0) or None,
        limit_fields=_LIMIT_FIELDS_SET[scalars.max_completion_tokens is not None, scalars.max_tokens is not None],
        include_usage="stream_options" in values and asks_for_usage(values["stream_options"]),
        service_tier=scalars.service_tier,
        message_count=messages.count,
        prompt_bytes=len(text) - messages.image_bytes,
        images=messages.images,
        audio=messages.audio or (not plain and is_set(values, "audio")),
        other_output=not plain and _asks_for_more_than_text(values),
        by_reference=messages.by_reference,
        tools=not plain and any(is_set(values, key) for key in _TOOL_KEYS),
        hosted_tools=not plain and _has_hosted_tools(values),
    )


def _refuse_keys(values: RawObject) -> None:
    refuse_misspelled(values, _DECIDING_KEYS)
    for name, why in _REFUSED_KEYS.items():
        if is_set(values, name):
            raise InvalidRequest(f"`{name}` is not supported: {why}.", param=name)


def asks_for_usage(value: msgspec.Raw) -> bool:
    """Of `stream_options`. Raises InvalidRequest."""
    if value == _USUAL_STREAM_OPTIONS:
        return True
    if value == NULL:
        return False
    try:
        text, _ = read_object(bytes(value))
        options = _STREAM_OPTIONS.decode(text)
    except (Ambiguous, msgspec.DecodeError):
        message = "`stream_options` must be an object of true and false, each key once."
        raise InvalidRequest(message, param="stream_options") from None
    if found := misspelled(options, {"include_usage"}):
        message = f"`stream_options` has an unknown key: `{found[0][:64]}`."
        raise InvalidRequest(message, param="stream_options")
    return options.get("include_usage") is True


def _asks_for_more_than_text(values: RawObject) -> bool:
    if not is_set(values, "modalities"):
        return False
    try:
        return any(modality != "text" for modality in _STRINGS.decode(values["modalities"]))
    except msgspec.DecodeError:
        raise InvalidRequest("`modalities` must be an array of strings.", param="modalities") from None


def _has_hosted_tools(values: RawObject) -> bool:
    if any(values.get(name, NULL) not in _NOT_ASKED for name in _HOSTED_TOOL_KEYS):
        return True
    if not is_set(values, "tools"):
        return False
    try:
        tools = read_objects(values["tools"])
    except (Ambiguous, msgspec.DecodeError):
        message = "`tools` must be an array of objects, each key once."
        raise InvalidRequest(message, param="tools") from None
    return any(tool.get("type", NULL) not in _CLIENT_TOOLS for tool in tools)
