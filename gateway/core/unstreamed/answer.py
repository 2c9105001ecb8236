"""What an answer in one piece, which says nothing that is billed, tells of its cost: wherever providers put it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.core.dialect import Answer
from gateway.core.openai_chat.usage import ReportedUsage
from gateway.core.pricing import MESSAGES_MAX
from gateway.core.usage import TOKENS_MAX, Usage


class _Answer(msgspec.Struct, gc=False):
    """Vectors and rankings stay as they are spelled."""

    id: Any = None
    model: Any = None
    usage: Any = None
    meta: Any = None
    error: Any = None
    service_tier: Any = None
    data: msgspec.Raw = msgspec.Raw()
    results: msgspec.Raw = msgspec.Raw()
    embeddings: msgspec.Raw = msgspec.Raw()


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_NOTHING: Final = (msgspec.Raw(), msgspec.Raw(b"[]"), msgspec.Raw(b"{}"), msgspec.Raw(b"null"))


def read_unstreamed_answer(body: bytes) -> Answer:
    """Never raises. `output_tokens` is 1 for whatever was delivered: no output is billed, as the limit is 0."""
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Answer(output_tokens=1, readable=False)
    delivered = any(part not in _NOTHING for part in (answer.data, answer.results, answer.embeddings))
    return Answer(
        usage=_usage(_fields(answer.usage), _fields(answer.meta), delivered=delivered),
        output_tokens=int(delivered),
        provider_id=answer.id if type(answer.id) is str else "",
        model=answer.model if type(answer.model) is str else "",
        service_tier=answer.service_tier if type(answer.service_tier) is str else "",
        error=bool(answer.error),
    )


def _usage(usage: Mapping[str, Any], meta: Mapping[str, Any], *, delivered: bool) -> Usage | None:
    """The most that any figure says: Voyage has a total alone, Cohere has `billed_units` of its own. None where there
    is no figure, or tokens are said to be none though something was delivered."""
    billed = _fields(meta.get("billed_units"))
    units = _whole(billed.get("search_units"), MESSAGES_MAX)
    if units is None:
        units = _whole(usage.get("search_units"), MESSAGES_MAX)
    figures = [usage.get("prompt_tokens"), usage.get("total_tokens"), _fields(meta.get("tokens")).get("input_tokens")]
    found = [tokens for figure in figures if (tokens := _whole(figure, TOKENS_MAX)) is not None]
    read = [_whole(billed.get(name), TOKENS_MAX) for name in ("input_tokens", "image_tokens")]
    if read != [None, None]:
        found.append(min(sum(tokens or 0 for tokens in read), TOKENS_MAX))
    tokens = max(found, default=0)
    if units is None and not tokens and (delivered or not found):
        return None
    reported = ReportedUsage()
    details = usage.get("prompt_tokens_details")
    reported.add({"prompt_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": details})
    return msgspec.structs.replace(reported.usage(prompt_tokens=0, output_tokens=0), search_units=units)


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(value: object, most: int) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= most else None
