"""The facts of a request whose answer comes in one piece, and the one change that its body may need."""

from typing import Annotated, Final

import msgspec

from gateway.core.dialect import Broken, Habits
from gateway.core.edits import edited
from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject, spans_of
from gateway.core.request_body import NULL, is_set, read_scalars, refuse_misspelled

MODEL_CHARS_MAX: Final = 256


class UnstreamedRequest(msgspec.Struct, gc=False, kw_only=True):
    """One request, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    model_named: bool = True
    """The body names it; else it is the dialect's default, and is written into the body."""
    stream: bool = False
    n: int = 1
    """Of a search: the most units that it can be billed as."""
    output_limit: int | None = 0
    """Nothing is said that is billed."""
    service_tier: str | None = None
    message_count: int
    """Inputs, as a provider may put something around each."""
    prompt_bytes: int
    prompts: int = 1
    token_ids: int = 0
    images: int = 0
    audio: bool = False
    other_output: bool = False
    by_reference: bool = False
    tools: bool = False
    hosted_tools: bool = False
    cache_writes_1h: bool = False


class _Scalars(msgspec.Struct, array_like=True, gc=False):
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_CHARS_MAX)]
    stream: bool | None
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None


_SCALARS: Final = _Scalars.__struct_fields__
_SCALAR_ARRAY: Final = msgspec.json.Decoder(_Scalars)
_MUST_BE: Final = {
    "model": f"is required: 1 to {MODEL_CHARS_MAX} characters",
    "stream": "must be true or false",
    "service_tier": "must be a short string",
}
_MODEL_LIST_KEYS: Final = ("models", "fallbacks", "route")
"""Some servers pick another model by these: one that was not priced."""


class Common(msgspec.Struct, frozen=True, gc=False):
    """What every such request says."""

    model: str
    service_tier: str | None


def read_common(values: RawObject, deciding: frozenset[str], *, default_model: str = "") -> Common:
    """`deciding` are the dialect's own keys that decide a price. Raises InvalidRequest."""
    refuse_misspelled(values, deciding | {*_SCALARS, *_MODEL_LIST_KEYS})
    if default_model and values.get("model", NULL) == NULL:
        values = {**values, "model": msgspec.Raw(msgspec.json.encode(default_model))}
    scalars = read_scalars(values, _SCALARS, _SCALAR_ARRAY, _MUST_BE)
    if not scalars.model.isprintable():
        raise InvalidRequest("`model` must be printable.", param="model")
    if scalars.stream:
        raise InvalidRequest("`stream`: this answer comes in one piece.", param="stream")
    for name in _MODEL_LIST_KEYS:
        if is_set(values, name):
            raise InvalidRequest(f"`{name}` is not supported: `model` names the one model.", param=name)
    return Common(scalars.model, scalars.service_tier)


def with_model(request: UnstreamedRequest, model: str, _habits: Habits, _limit: int | None) -> tuple[bytes, bool]:
    """The body with the target's name for the model, else byte for byte."""
    if model == request.model and request.model_named:
        return request.body, False
    spans = spans_of(request.body)
    name = msgspec.json.encode(model)
    if "model" in spans:
        return edited(request.body, [(*spans["model"], name)]), False
    start = request.body.index(b"{") + 1
    return edited(request.body, [(start, start, b'"model":%b,' % name)]), False


def no_frames(_broken: Broken) -> bytes:
    """An answer in one piece that breaks off has no frame to say so: its connection is closed."""
    return b""
