"""The facts of a request to generate content that decide its price and its way; the body stays bytes and is spliced.

As with any dialect, what is priced must be what is sent: a body that Google could read in another way than we do is
refused. Contents are read as far as their keys, kinds and addresses; texts are passed over unread.
"""

from typing import Annotated, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.gemini.address import model_in, upstream_path, wants_events
from gateway.core.gemini.contents import Contents, read_contents
from gateway.core.gemini.spelling import Keys
from gateway.core.gemini.tools import read_tools
from gateway.core.json_object import RawObject
from gateway.core.request_body import NULL, is_set, not_yours, object_of, read_body

GENERATE: Final = "generateContent"
STREAM: Final = "streamGenerateContent"
COUNT: Final = "countTokens"
N_MAX: Final = 128
OUTPUT_LIMIT_MAX: Final = 2**31 - 1

_REQUEST: Final = Keys(
    {
        "model",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "generationConfig",
        "cachedContent",
        "serviceTier",
        "generateContentRequest",
    }
)
_CONFIG: Final = Keys(
    {
        "candidateCount",
        "maxOutputTokens",
        "responseModalities",
        "responseFormat",
        "responseSchema",
        "responseJsonSchema",
        "speechConfig",
        "imageConfig",
        "routingConfig",
        "modelSelectionConfig",
    }
)
_MODEL_CHOICES: Final = ("routingConfig", "modelSelectionConfig")
"""Another model may be picked by these: one that was not priced."""
_OTHER_OUTPUT: Final = ("speechConfig", "imageConfig", "responseFormat")
_TIER_PREFIX: Final = "service_tier_"

_COUNT_OF_ANSWERS: Final = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=1, le=N_MAX)])
_LIMIT: Final = msgspec.json.Decoder(Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_LIMIT_MAX)])
_TIER: Final = msgspec.json.Decoder(Annotated[str, msgspec.Meta(max_length=64)])
_MODALITIES: Final = msgspec.json.Decoder(list[str])
_NAME: Final = msgspec.json.Decoder(str)


class GenerateRequest(msgspec.Struct, gc=False):
    """One call of a model, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    action: str
    stream: bool
    """Told as events. A stream that is one JSON array is read to its end, as any whole answer."""
    n: int
    output_limit: int | None
    service_tier: str | None
    message_count: int
    prompt_bytes: int
    """The body without white space and inline images: what bounds the prompt's tokens from above, template aside."""
    images: int
    audio: bool
    other_output: bool
    by_reference: bool
    tools: bool
    hosted_tools: bool
    cache_writes_1h: bool = False
    """This dialect cannot ask for it."""
    prompts: int = 1
    token_ids: int = 0


def read_generate_request(target: str, body: bytes) -> GenerateRequest:
    """Raises InvalidRequest, whose `param` names the field. Linear in the body."""
    model = model_in(target)
    action = action_of(target)
    events = wants_events(target)
    if events and action != STREAM:
        raise InvalidRequest(f"`alt=sse` goes with `{STREAM}` alone; nothing was reserved or sent.", param="alt")
    try:
        return _read(body, model, action, events=events)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def read_count_request(target: str, body: bytes) -> GenerateRequest:
    """Of a request that only asks how long its prompt is, which may stand in it as a whole `generateContentRequest`."""
    model = model_in(target)
    if wants_events(target):
        raise InvalidRequest(f"`alt=sse` goes with `{STREAM}` alone.", param="alt")
    try:
        _, values = read_body(body)
        values = _REQUEST.read(values, "countTokens")
        facts = _facts(body, values, len(body), model, COUNT, counts=True)
        if is_set(values, "generateContentRequest"):
            inner = object_of(values["generateContentRequest"], "generateContentRequest")
            _facts(body, _REQUEST.read(inner, "generateContentRequest"), len(body), model, COUNT)
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None
    return facts


def action_of(target: str) -> str:
    return target.partition("?")[0].rpartition(":")[2]


def path_of(facts: GenerateRequest, model: str) -> str:
    return upstream_path(model, facts.action) + ("?alt=sse" if facts.stream else "")


def refuse_another_model(values: RawObject, model: str, param: str = "model") -> None:
    """The body may repeat the model that the path names, and no other."""
    if not is_set(values, "model"):
        return
    try:
        named = _NAME.decode(values["model"])
    except msgspec.DecodeError:
        named = ""
    if named.removeprefix("models/") != model:
        raise InvalidRequest(f"`{param}` must be the model that the path names.", param=param)


def _read(body: bytes, model: str, action: str, *, events: bool) -> GenerateRequest:
    text, values = read_body(body)
    values = _REQUEST.read(values, action)
    if is_set(values, "generateContentRequest"):
        param = "generateContentRequest"
        raise InvalidRequest(f"`{param}` goes with `{COUNT}` alone.", param=param)
    facts = _facts(body, values, len(text), model, action)
    facts.stream = events
    return facts


def _facts(
    body: bytes, values: RawObject, size: int, model: str, action: str, *, counts: bool = False
) -> GenerateRequest:
    refuse_another_model(values, model)
    if is_set(values, "cachedContent"):
        raise not_yours("cachedContent")
    contents = Contents()
    read_contents(values.get("contents", NULL), "contents", contents)
    if not (contents.count or counts):
        raise InvalidRequest("`contents` must not be empty.", param="contents")
    read_contents(values.get("systemInstruction", NULL), "systemInstruction", contents)
    tools = read_tools(values.get("tools", NULL))
    config = _config(values)
    described = tools.any or any(is_set(config, name) for name in ("responseSchema", "responseJsonSchema"))
    return GenerateRequest(
        body=body,
        model=model,
        action=action,
        stream=False,
        n=_value(config, "candidateCount", _COUNT_OF_ANSWERS, f"must be an integer from 1 to {N_MAX}") or 1,
        output_limit=_value(config, "maxOutputTokens", _LIMIT, f"must be an integer from 1 to {OUTPUT_LIMIT_MAX}"),
        service_tier=_tier(values),
        message_count=contents.count,
        prompt_bytes=size - contents.image_bytes,
        images=contents.images,
        audio=contents.audio,
        other_output=_asks_for_more_than_text(config),
        by_reference=contents.by_reference,
        tools=described,
        hosted_tools=tools.hosted,
    )


def _config(values: RawObject) -> RawObject:
    if not is_set(values, "generationConfig"):
        return {}
    config = _CONFIG.read(object_of(values["generationConfig"], "generationConfig"), "generationConfig")
    for name in _MODEL_CHOICES:
        if is_set(config, name):
            param = f"generationConfig.{name}"
            raise InvalidRequest(f"`{param}` is not supported: the path names the one model.", param=param)
    return config


def _value(config: RawObject, name: str, decoder: "msgspec.json.Decoder[int]", must: str) -> int | None:
    if not is_set(config, name):
        return None
    try:
        return decoder.decode(config[name])
    except msgspec.DecodeError:
        param = f"generationConfig.{name}"
        raise InvalidRequest(f"`{param}` {must}.", param=param) from None


def _tier(values: RawObject) -> str | None:
    """As prices name it: `priority` for `SERVICE_TIER_PRIORITY` and `priority`."""
    if not is_set(values, "serviceTier"):
        return None
    try:
        tier = _TIER.decode(values["serviceTier"]).lower().removeprefix(_TIER_PREFIX)
    except msgspec.DecodeError:
        raise InvalidRequest("`serviceTier` must be a short string.", param="serviceTier") from None
    return None if tier == "unspecified" else tier


def _asks_for_more_than_text(config: RawObject) -> bool:
    if any(is_set(config, name) for name in _OTHER_OUTPUT):
        return True
    if not is_set(config, "responseModalities"):
        return False
    param = "generationConfig.responseModalities"
    try:
        return any(modality.lower() != "text" for modality in _MODALITIES.decode(config["responseModalities"]))
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{param}` must be an array of strings.", param=param) from None
