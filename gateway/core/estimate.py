"""Tokens guessed from sizes: for what a provider does not report, and for what is held before it can."""

from array import array
from math import ceil
from typing import Final

from gateway.core.usage import TOKENS_MAX

IMAGE_TOKENS_MAX: Final = 50_000
"""Of one inline image, whatever its bytes: the dearest known tiling (gpt-4o-mini, 8 tiles of 5,667 on 2,833)."""
IMAGE_TOKENS_EXPECTED: Final = 1_000
"""Of one inline image: between what the common models make of a photograph (765 to 1,600)."""
REQUEST_TOKENS: Final = 64
"""What a chat template adds to a request."""
MESSAGE_TOKENS: Final = 8
"""What it adds to each message, the request's own JSON aside."""
TOOLS_TOKENS: Final = 1_024
"""What providers write around tools that are described to them; twice the most that was ever recorded."""

UNLEARNED_UPPER: Final = 1.0
"""Tokens of a byte while a model is unknown: a byte-level tokenizer makes no more."""
UNLEARNED_EXPECTED: Final = 0.25
_RENEWED_EVERY: Final = 16


def text_tokens(*, ascii_chars: int, other_chars: int = 0) -> int:
    """ASCII goes by four characters a token, everything else by two. Rounded up."""
    return (ascii_chars + 2 * other_chars + 3) // 4


def prompt_hard_bound(
    *, prompt_bytes: int, message_count: int, images: int = 0, tools: bool = False, by_reference: bool = False
) -> int | None:
    """More tokens than this the prompt cannot have; None where only the model's context window bounds it.

    A byte-level tokenizer makes at most one token of a byte, and JSON spells no text in fewer bytes than UTF-8 does.
    """
    if by_reference:
        return None
    template = REQUEST_TOKENS + message_count * MESSAGE_TOKENS + (TOOLS_TOKENS if tools else 0)
    return min(prompt_bytes + template + images * IMAGE_TOKENS_MAX, TOKENS_MAX)


class PromptRatios:
    """How many tokens a model makes of a prompt's bytes, learned from what providers reported.

    An upper quantile, kept apart for each model and each size of prompt (a fixed preamble weighs most in small ones).
    Never per organisation, which could train its own. Until enough was seen, a byte is a token.
    """

    def __init__(self, *, classes_max: int = 4_096, window: int = 256, observations_min: int = 32) -> None:
        self._classes_max = classes_max
        self._window = window
        self._observations_min = observations_min
        self._classes: dict[tuple[str, int], _Window] = {}

    def observe(self, model: str, prompt_bytes: int, prompt_tokens: int) -> None:
        if prompt_bytes <= 0 or not 0 < prompt_tokens <= TOKENS_MAX:
            return
        key = (model, _size_class(prompt_bytes))
        window = self._classes.pop(key, None)
        if window is None:
            window = _Window(self._window)
            if len(self._classes) >= self._classes_max:
                del self._classes[next(iter(self._classes))]  # the one not observed for longest
        self._classes[key] = window
        window.add(prompt_tokens / prompt_bytes)

    def estimate(self, model: str, prompt_bytes: int) -> tuple[int, int]:
        """Tokens that 99 of 100 such prompts did not pass, and tokens that half of them did not pass: what is charged
        for one whose provider never says."""
        upper, middle = UNLEARNED_UPPER, UNLEARNED_EXPECTED
        window = self._classes.get((model, _size_class(prompt_bytes)))
        if window is not None and len(window.ratios) >= self._observations_min:
            upper, middle = window.upper, window.middle
        return min(ceil(prompt_bytes * upper), TOKENS_MAX), min(ceil(prompt_bytes * middle), TOKENS_MAX)


def _size_class(prompt_bytes: int) -> int:
    """One class for each power of four."""
    return prompt_bytes.bit_length() // 2


class _Window:
    """The last ratios, with their median and their 99th percentile, which are renewed every few observations."""

    __slots__ = ("_at", "_size", "_stale", "middle", "ratios", "upper")

    def __init__(self, size: int) -> None:
        self.ratios = array("d")
        self.middle = 0.0
        self.upper = 0.0
        self._size = size
        self._at = 0
        self._stale = 0

    def add(self, ratio: float) -> None:
        if len(self.ratios) < self._size:
            self.ratios.append(ratio)
        else:
            self.ratios[self._at] = ratio
            self._at = (self._at + 1) % self._size
        self._stale += 1
        if ratio > self.upper or self._stale >= _RENEWED_EVERY:
            ranked = sorted(self.ratios)
            self.middle = ranked[len(ranked) // 2]
            self.upper = ranked[-1 - len(ranked) // 100]
            self._stale = 0
