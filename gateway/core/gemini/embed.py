"""Embeddings: the facts of one request or of a batch, and what an answer says about its cost."""

from typing import Any, Final

import msgspec

from gateway.core.dialect import Answer
from gateway.core.errors import InvalidRequest
from gateway.core.gemini.address import model_in, upstream_path, wants_events
from gateway.core.gemini.contents import Contents, read_contents
from gateway.core.gemini.request import action_of, refuse_another_model
from gateway.core.gemini.spelling import Keys, one_or_many
from gateway.core.gemini.usage import ReportedUsage
from gateway.core.json_object import RawObject
from gateway.core.request_body import NULL, is_set, not_yours, read_body

EMBED: Final = "embedContent"
BATCH_EMBED: Final = "batchEmbedContents"
BATCH_MAX: Final = 2_048
"""Requests of one batch; Google takes fewer."""

_REQUEST: Final = Keys({"model", "content", "cachedContent"})
_BATCH: Final = Keys({"requests", "model", "content"})


class EmbedRequest(msgspec.Struct, gc=False):
    """One call, as far as its price goes. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    action: str
    message_count: int
    prompt_bytes: int
    images: int
    audio: bool
    by_reference: bool
    prompts: int
    """Contents, each of which is read by itself."""
    n: int = 1
    stream: bool = False
    output_limit: int | None = 0
    """A vector has no output tokens."""
    service_tier: str | None = None
    other_output: bool = False
    tools: bool = False
    hosted_tools: bool = False
    cache_writes_1h: bool = False
    token_ids: int = 0


def read_embed_request(target: str, body: bytes) -> EmbedRequest:
    """Raises InvalidRequest, whose `param` names the field. Linear in the body."""
    model = model_in(target)
    if wants_events(target):
        raise InvalidRequest("Embeddings are not streamed; nothing was reserved or sent.", param="alt")
    try:
        return _read(body, model, action_of(target))
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.") from None


def path_of(facts: EmbedRequest, model: str) -> str:
    return upstream_path(model, facts.action)


def _read(body: bytes, model: str, action: str) -> EmbedRequest:
    text, values = read_body(body)
    contents = Contents()
    if action == BATCH_EMBED:
        values = _BATCH.read(values, action)
        refuse_another_model(values, model)
        requests = one_or_many(values.get("requests", NULL), "requests")
        if not 1 <= len(requests) <= BATCH_MAX:
            raise InvalidRequest(f"`requests` must be 1 to {BATCH_MAX} objects.", param="requests")
        for at, request in enumerate(requests):
            _read_one(request, model, f"requests[{at}].", contents)
    else:
        _read_one(values, model, "", contents)
    return EmbedRequest(
        body=body,
        model=model,
        action=action,
        message_count=contents.count,
        prompt_bytes=len(text) - contents.image_bytes,
        images=contents.images,
        audio=contents.audio,
        by_reference=contents.by_reference,
        prompts=max(1, contents.count),
    )


def _read_one(values: RawObject, model: str, before: str, contents: Contents) -> None:
    values = _REQUEST.read(values, before.removesuffix(".") or EMBED)
    refuse_another_model(values, model, f"{before}model")
    if is_set(values, "cachedContent"):
        raise not_yours(f"{before}cachedContent")
    if not is_set(values, "content"):
        raise InvalidRequest(f"`{before}content` is required.", param=f"{before}content")
    read_contents(values["content"], f"{before}content", contents)


class _Embeddings(msgspec.Struct, gc=False, rename="camel"):
    embedding: Any = None
    embeddings: Any = None
    usage_metadata: Any = None
    error: Any = None


_EMBEDDINGS: Final = msgspec.json.Decoder(_Embeddings)


def read_embed_answer(body: bytes) -> Answer:
    """Never raises. Older models report no usage, so their prompt is estimated. `output_tokens` is 1 for whatever was
    delivered: no output is billed, as the limit is 0."""
    try:
        answer = _EMBEDDINGS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(readable=False)
    reported = ReportedUsage()
    if type(answer.usage_metadata) is dict:
        reported.add(answer.usage_metadata)
    return Answer(
        usage=reported.usage(prompt_tokens=0, output_tokens=0) if reported.complete and reported.prompt else None,
        output_tokens=int(bool(answer.embedding or answer.embeddings)),
        error=bool(answer.error),
    )
