"""What a model thought, and how hard it is asked to think.

On the messages side thinking is a block with a signature. On the chat side it is `reasoning_content` for readers and,
in OpenRouter's form, `reasoning_details` for the way back: the only place that holds a signature.
Sources: Anthropic's pages on extended and adaptive thinking, OpenRouter's on reasoning tokens.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.core.translation.fields import Fields

FORMAT: Final = "anthropic-claude-v1"
"""What OpenRouter calls details whose signatures are Anthropic's."""
CARRIED: Final = "tollgate.reasoning.v1:"
"""Begins a signature (or the data of redacted thinking) that is not Anthropic's: what else a detail of another
provider says, in JSON. A client of the messages dialect hands it back unread, as it does with signatures."""

BUDGET_TOKENS_MIN: Final = 1_024
BUDGET_PERCENT: Final = {"minimal": 10, "low": 20, "medium": 50, "high": 80, "xhigh": 90, "max": 95}
"""Of max_tokens, by reasoning_effort; for models that take a budget."""
ADAPTIVE_EFFORT: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""`output_config.effort` by reasoning_effort; for models that think adaptively."""

TEXT_KEY: Final = {"reasoning.text": "text", "reasoning.summary": "summary"}
_DETAIL: Final = msgspec.json.Decoder(dict[str, Any])

Block = dict[str, Any]
Detail = Mapping[str, Any]


def budget_tokens(effort: str, max_tokens: int) -> int:
    """It need not be less than `max_tokens`: an output may be so limited that there is no room to think."""
    return max(BUDGET_TOKENS_MIN, max_tokens * BUDGET_PERCENT[effort] // 100)


def effort_of_budget(budget: int, max_tokens: int) -> str:
    """The nearest."""
    return min(BUDGET_PERCENT, key=lambda effort: abs(BUDGET_PERCENT[effort] * max_tokens - 100 * budget))


# --- the chat side → blocks -----------------------------------------------------------------------------------------


def goes_on(last: Detail, detail: Detail) -> bool:
    """Whether a detail is a further piece of the one before it: same index and type, and no signature has ended it."""
    return (
        _string(detail.get("type")) in TEXT_KEY
        and detail["type"] == last.get("type")
        and detail.get("index") is not None
        and detail["index"] == last.get("index")
        and not last.get("signature")
    )


def merged(details: Iterable[Detail]) -> list[dict[str, Any]]:
    """Pieces of a stream that a client kept apart, put together."""
    whole: list[dict[str, Any]] = []
    texts: list[list[str]] = []
    for detail in details:
        key = TEXT_KEY.get(_string(detail.get("type")), "")
        rest = {name: value for name, value in detail.items() if value is not None and name != key}
        if whole and goes_on(whole[-1], rest):
            whole[-1] |= rest
        else:
            whole.append(rest)
            texts.append([])
        texts[-1].append(_string(detail.get(key)))
    for rest, pieces in zip(whole, texts, strict=True):
        key = TEXT_KEY.get(_string(rest.get("type")), "")
        if key:
            rest[key] = "".join(pieces)
    return whole


def is_foreign(detail: Detail) -> bool:
    return detail.get("format", FORMAT) not in (FORMAT, "unknown")


def anthropic_block(detail: Detail) -> Block | None:
    """What Anthropic itself can read: thinking that it has signed or encrypted. None for anything else."""
    if is_foreign(detail):
        return None
    if detail.get("type") == "reasoning.encrypted" and isinstance(detail.get("data"), str):
        return {"type": "redacted_thinking", "data": detail["data"]}
    signature = detail.get("signature")
    if detail.get("type") == "reasoning.text" and isinstance(signature, str) and signature:
        return {"type": "thinking", "thinking": _string(detail.get("text")), "signature": signature}
    return None


def block_of(detail: Detail) -> Block | None:
    """For a client that only keeps it and hands it back: any detail. None for what is none."""
    if (block := anthropic_block(detail)) is not None:
        return block
    key = TEXT_KEY.get(_string(detail.get("type")))
    if key is None:
        return {"type": "redacted_thinking", "data": carried(detail)} if detail.get("type") else None
    text = _string(detail.get(key))
    rest = {name: value for name, value in detail.items() if name not in (key, "index")}
    plain = rest == {"type": "reasoning.text"} or (not is_foreign(detail) and key == "text")
    return {"type": "thinking", "thinking": text, "signature": "" if plain else carried(rest)}


def carried(rest: Detail) -> str:
    return CARRIED + msgspec.json.encode(rest).decode()


# --- blocks → the chat side -----------------------------------------------------------------------------------------


def detail_of(block: Detail, index: int) -> dict[str, Any]:
    """A thinking or redacted_thinking block. Its text comes first and its format with the signature, as in a stream."""
    if block["type"] == "redacted_thinking":
        rest = _restored(_string(block.get("data")))
        if rest is not None:
            return {**rest, "index": index}
        return {"type": "reasoning.encrypted", "data": block.get("data", ""), "format": FORMAT, "index": index}
    text, signature = _string(block.get("thinking")), _string(block.get("signature"))
    rest = _restored(signature)
    if rest is not None:
        return {**rest, TEXT_KEY.get(_string(rest.get("type")), "text"): text, "index": index}
    detail: dict[str, Any] = {"type": "reasoning.text", "text": text, "index": index}
    return detail | ({"signature": signature, "format": FORMAT} if signature else {})


def readable_text(details: Iterable[Detail]) -> str:
    """`reasoning_content`: what of it can be read."""
    return "".join([_string(detail.get(TEXT_KEY.get(_string(detail.get("type")), ""))) for detail in details])


def _restored(text: str) -> dict[str, Any] | None:
    if not text.startswith(CARRIED):
        return None
    try:
        return _DETAIL.decode(text.removeprefix(CARRIED))
    except (msgspec.DecodeError, RecursionError):
        return None


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def read_details(message: Fields) -> list[dict[str, Any]]:
    """`reasoning_details` of a message in a request, taken away. Raises InvalidRequest."""
    raw = message.take("reasoning_details")
    if raw is None:
        return []
    try:
        return merged(msgspec.json.decode(raw, type=list[dict[str, Any]]))
    except msgspec.DecodeError:
        raise message.invalid("reasoning_details", "must be an array of objects") from None
