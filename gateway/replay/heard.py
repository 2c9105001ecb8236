"""What an invented answer takes out of a question: its numbers, its quoted texts, the tools that it names."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

PROMPT_CHARACTERS_MAX: Final = 4096
"""Of a longer prompt only the beginning is heard."""

_NUMBER: Final = re.compile(r"(?<![\w.])-?\d{1,15}(?:\.\d{1,15})?(?!\w)", re.ASCII)
_QUOTED: Final = re.compile(r"""(?<!\w)(?:'([^'\n]{1,200})'|"([^"\n]{1,200})"|“([^”\n]{1,200})”)(?!\w)""")

T = TypeVar("T")


class Heard:
    """Numbers and quoted texts in the order they were said; each is given out once."""

    def __init__(self, prompt: str = "") -> None:
        prompt = prompt[:PROMPT_CHARACTERS_MAX]
        self._numbers: list[int | float] = [
            float(found) if "." in found else int(found) for found in _NUMBER.findall(prompt)
        ]
        self._texts = ["".join(found) for found in _QUOTED.findall(prompt)]

    def number(self, fits: Callable[[int | float], bool]) -> int | float | None:
        """The next one that fits, None where there is none."""
        return _take(self._numbers, fits)

    def text(self, fits: Callable[[str], bool]) -> str | None:
        """The next one that fits, None where there is none."""
        return _take(self._texts, fits)

    def texts(self) -> Sequence[str]:
        """All that are left."""
        return self._texts


def named_in(prompt: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that the prompt has as a word of its own."""
    words = frozenset(re.findall(r"[\w-]+", prompt[:PROMPT_CHARACTERS_MAX]))
    return [name for name in names if name in words]


def _take(values: list[T], fits: Callable[[T], bool]) -> T | None:
    for at, value in enumerate(values):
        if fits(value):
            return values.pop(at)
    return None
