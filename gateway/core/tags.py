"""What a call is for, in its caller's words: one feature, which budgets and accounts go by, and tags to find it by."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

FEATURE_CHARS_MAX: Final = 64
TAGS_MAX: Final = 8
TAG_CHARS_MAX: Final = 64
TAG_PATTERN: Final = r"^[!-+\--~]{1,64}$"
"""Visible ASCII but the comma, which stands between tags in a header."""

FEATURE_RULE: Final = f"must be 1 to {FEATURE_CHARS_MAX} characters, none of them a control character"
TAGS_RULE: Final = (
    f"must be at most {TAGS_MAX} tags with commas between them, each of 1 to {TAG_CHARS_MAX} visible ASCII characters"
)

_FEATURE: Final = re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{FEATURE_CHARS_MAX}}}")
_TAG: Final = re.compile(rf"[!-+\--~]{{1,{TAG_CHARS_MAX}}}")


def is_feature(text: str) -> bool:
    return _FEATURE.fullmatch(text) is not None


def tags_json(tags: Iterable[str]) -> str | None:
    """A JSON array of them, each once, where it came first; None for none at all. Raises ValueError by TAGS_RULE."""
    given = list(tags)
    if len(given) > TAGS_MAX or not all(map(_TAG.fullmatch, given)):
        raise ValueError(TAGS_RULE)
    return msgspec.json.encode(list(dict.fromkeys(given))).decode() if given else None
