"""What a caller may ask of the replay provider: the `x-replay-…` headers, each with its meaning and its bounds.

The table of docs/replay.md is this record in prose.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args, get_origin, get_type_hints

import msgspec

PREFIX: Final = "x-replay-"
TOKENS_MAX: Final = 1_000_000
MS_MAX: Final = 3_600_000

_WHOLE: Final = re.compile(r"-?[0-9]{1,19}")

YesNo = Literal["yes", "no"]


class DirectionInvalid(ValueError):
    """A header asks for something that does not exist or is out of bounds. Its text names the header."""


class Directions(msgspec.Struct, frozen=True, kw_only=True):
    """One field for each header: `x-replay-output-tokens` is `output_tokens`. None leaves it to the request."""

    id: str | None = None
    """The recording to answer with; without such a recording a label, by which `/_sent` lists the call."""
    seed: int | None = None
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    reasoning_text: YesNo = "no"
    chunks: int | None = None
    overshoot: YesNo = "no"
    tool_calls: int | None = None
    usage: Literal["yes", "no", "absurd"] = "yes"
    latency_ms: int = 0
    first_event_ms: int = 0
    interval_ms: int = 0
    comments: int = 0
    cuts: int | None = None
    status: int | None = None
    retry_after: int | None = None
    error_event: int | None = None
    break_: int | None = msgspec.field(default=None, name="break")
    break_by: Literal["close", "reset", "end"] = "close"
    hang: int | None = None
    hang_at: Literal["headers", "event"] = "event"
    done: YesNo = "yes"
    early_hints: YesNo = "no"
    garbage: Literal["no", "json", "sse", "html"] = "no"
    length: int = 0
    background_looks: int = 1

    @property
    def plain(self) -> bool:
        """Nothing but an ordinary answer was asked for."""
        return self.break_ is None and self.hang is None and self.error_event is None and self.hang_at == "event"


BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "seed": (0, 2**63 - 1),
    "prompt_tokens": (0, TOKENS_MAX),
    "cached_tokens": (0, TOKENS_MAX),
    "cache_write_tokens": (0, TOKENS_MAX),
    "cache_write_1h_tokens": (0, TOKENS_MAX),
    "output_tokens": (0, TOKENS_MAX),
    "reasoning_tokens": (0, TOKENS_MAX),
    "chunks": (1, TOKENS_MAX),
    "tool_calls": (0, 128),
    "latency_ms": (0, MS_MAX),
    "first_event_ms": (0, MS_MAX),
    "interval_ms": (0, MS_MAX),
    "comments": (0, 100_000),
    "cuts": (0, 2**63 - 1),
    "status": (400, 599),
    "retry_after": (0, 3600),
    "error_event": (0, TOKENS_MAX),
    "break_": (0, TOKENS_MAX),
    "hang": (0, TOKENS_MAX),
    "length": (-TOKENS_MAX, TOKENS_MAX),
    "background_looks": (0, 1_000),
}


def _choices() -> dict[str, tuple[str, ...]]:
    hints = get_type_hints(Directions)
    return {name: get_args(hint) for name, hint in hints.items() if get_origin(hint) is Literal}


_CHOICES: Final = _choices()
_FIELD_OF_HEADER: Final = {PREFIX + name.rstrip("_").replace("_", "-"): name for name in (*BOUNDS, *_CHOICES, "id")}


def read_directions(headers: Mapping[str, str], defaults: Directions) -> Directions:
    """`defaults`, changed by the headers that begin with `x-replay-`. Raises DirectionInvalid."""
    asked: dict[str, int | str] = {}
    for name, text in headers.items():
        lower = name.lower()
        if not lower.startswith(PREFIX):
            continue
        field = _FIELD_OF_HEADER.get(lower)
        if field is None:
            raise DirectionInvalid(f"{lower} is not a header that the replay provider knows")
        asked[field] = _value(lower, field, text.strip())
    directions = msgspec.structs.replace(defaults, **asked) if asked else defaults
    if directions.output_tokens is not None and directions.reasoning_tokens > directions.output_tokens:
        raise DirectionInvalid(f"{PREFIX}reasoning-tokens are a part of the output tokens and cannot be more")
    return directions


def _value(header: str, field: str, text: str) -> int | str:
    if field in BOUNDS:
        low, high = BOUNDS[field]
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise DirectionInvalid(f"{header} must be a whole number from {low} to {high}")
        return int(text)
    if field in _CHOICES and text not in _CHOICES[field]:
        raise DirectionInvalid(f"{header} must be one of {', '.join(_CHOICES[field])}")
    return text[:256]
