"""The facts of a request for text completions: prompts as texts or as token numbers, and outputs that nobody sees."""

from typing import Annotated, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject
from gateway.core.openai_chat.request import MODEL_CHARS_MAX, N_MAX, OUTPUT_LIMIT_MAX, asks_for_usage
from gateway.core.request_body import NULL, is_set, read_body, read_scalars, refuse_misspelled
from gateway.core.text_inputs import TextInputs, read_text_inputs, text_bytes

DEFAULT_LIMIT: Final = 16
"""OpenAI's own, where a request sets none. It is sent, so that it holds wherever the call goes."""


class CompletionsRequest(msgspec.Struct, gc=False, kw_only=True):
    """One POST /v1/completions, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    stream: bool
    n: int
    """The outputs that are made and billed, whether they are shown or not: `best_of` or `n` for each prompt."""
    output_limit: int | None
    limit_fields: tuple[str, ...]
    """The limit fields that are set (null counts as unset)."""
    include_usage: bool
    """The client itself asked for the usage chunk."""
    service_tier: str | None
    message_count: int
    """Prompts."""
    prompt_bytes: int
    prompts: int
    token_ids: int
    images: int = 0
    audio: bool = False
    other_output: bool = False
    by_reference: bool = False
    tools: bool = False
    hosted_tools: bool = False
    cache_writes_1h: bool = False


_Outputs = Annotated[int, msgspec.Meta(ge=1, le=N_MAX)]


class _Scalars(msgspec.Struct, array_like=True, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    stream: bool | None
    n: _Outputs | None
    best_of: _Outputs | None
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=OUTPUT_LIMIT_MAX)] | None
    echo: bool | None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None


_MUST_BE: Final = {
    "model": f"is required: 1 to {MODEL_CHARS_MAX} characters",
    "stream": "must be true or false",
    "n": f"must be an integer from 1 to {N_MAX}",
    "best_of": f"must be an integer from 1 to {N_MAX}",
    "max_tokens": f"must be an integer from 0 to {OUTPUT_LIMIT_MAX}",
    "echo": "must be true or false",
    "service_tier": "must be a short string",
}
_SCALARS: Final = _Scalars.__struct_fields__
_SCALAR_ARRAY: Final = msgspec.json.Decoder(_Scalars)
_REFUSED_KEYS: Final = {
    "models": "`model` names the one model",
    "fallbacks": "`model` names the one model",
    "route": "`model` names the one model",
    "n_predict": "completions are limited by `max_tokens`",
    "n_cmpl": "the number of outputs is `n`",
    "max_completion_tokens": "completions are limited by `max_tokens`",
    "use_beam_search": "it makes outputs that nothing bounds",
    "prompt_embeds": "what it makes the model read is not bounded by its bytes",
}
_DECIDING_KEYS: Final = frozenset({*_SCALARS, *_REFUSED_KEYS, "prompt", "suffix", "stream_options"})


def read_completions_request(body: bytes) -> CompletionsRequest:
    """Raises InvalidRequest, whose `param` names the field."""
    try:
        return _read(body)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def _read(body: bytes) -> CompletionsRequest:
    _, values = read_body(body)
    refuse_misspelled(values, _DECIDING_KEYS)
    scalars = read_scalars(values, _SCALARS, _SCALAR_ARRAY, _MUST_BE)
    if not scalars.model.isprintable():
        raise InvalidRequest("`model` must be printable.", param="model")
    for name, why in _REFUSED_KEYS.items():
        if is_set(values, name):
            raise InvalidRequest(f"`{name}` is not supported: {why}.", param=name)
    prompts = _read_prompts(values)
    shown = scalars.n or 1
    made = max(shown, scalars.best_of or 1)
    if scalars.stream:
        _refuse_unseen(scalars, made, shown)
    if prompts.count * made > N_MAX:
        raise InvalidRequest(
            f"{prompts.count} prompts and {made} outputs for each are more than {N_MAX} outputs; "
            "nothing was reserved or sent.",
            param="n" if made == shown else "best_of",
        )
    return CompletionsRequest(
        body=body,
        model=scalars.model,
        stream=scalars.stream is True,
        n=prompts.count * made,
        output_limit=DEFAULT_LIMIT if scalars.max_tokens is None else scalars.max_tokens,
        limit_fields=() if scalars.max_tokens is None else ("max_tokens",),
        include_usage="stream_options" in values and asks_for_usage(values["stream_options"]),
        service_tier=scalars.service_tier,
        message_count=prompts.count,
        prompt_bytes=prompts.text_bytes,
        prompts=prompts.count,
        token_ids=prompts.token_ids,
    )


def _read_prompts(values: RawObject) -> TextInputs:
    """With the suffix, which is read with each. Without a prompt a model begins from nothing."""
    prompts = TextInputs(count=1)
    if is_set(values, "prompt"):
        prompts = read_text_inputs(values["prompt"], "prompt")
    suffix_bytes = text_bytes(values["suffix"], "suffix") if values.get("suffix", NULL) != NULL else 0
    return TextInputs(prompts.count, prompts.text_bytes + prompts.count * suffix_bytes, prompts.token_ids)


def _refuse_unseen(scalars: _Scalars, made: int, shown: int) -> None:
    """What is billed must be visible in a stream, and what is visible billed as output."""
    if made > shown:
        raise InvalidRequest(
            "`best_of` above `n` cannot be streamed: its other outputs are billed and never seen. "
            "Nothing was reserved or sent.",
            param="best_of",
        )
    if scalars.echo:
        raise InvalidRequest(
            "`echo` cannot be streamed here: what is echoed could not be told from what is said. "
            "Nothing was reserved or sent.",
            param="echo",
        )
