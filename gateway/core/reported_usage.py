"""The usage object of the OpenAI chat dialect, as providers really send it: one, several or one on each chunk."""

from collections.abc import Mapping
from typing import Final

from gateway.core.usage import TOKENS_MAX, Usage

Fields = Mapping[str, object]

_NONE: Final[Fields] = {}


class ReportedUsage:
    """Gathers usage objects; the last believable value of each field wins, nothing is ever added up.

    A value is believable if it is an integer from 0 to TOKENS_MAX.
    """

    __slots__ = ("_cache_write", "_cached", "_output", "_prompt", "_reasoning", "_total")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._output: int | None = None
        self._total: int | None = None
        self._cached: int | None = None
        self._cache_write: int | None = None
        self._reasoning: int | None = None

    def add(self, usage: Fields) -> None:
        prompt_details = _object(usage, "prompt_tokens_details")
        output_details = _object(usage, "completion_tokens_details")
        self._prompt = _first(self._prompt, (usage, "prompt_tokens"))
        self._output = _first(self._output, (usage, "completion_tokens"))
        self._total = _first(self._total, (usage, "total_tokens"))
        self._cached = _first(
            self._cached,
            (prompt_details, "cached_tokens"),
            (usage, "num_cached_tokens"),  # Mistral
            (usage, "cached_tokens"),  # Together, through Hugging Face
            (usage, "prompt_cache_hit_tokens"),  # DeepSeek
        )
        self._cache_write = _first(self._cache_write, (prompt_details, "cache_write_tokens"))
        self._reasoning = _first(self._reasoning, (output_details, "reasoning_tokens"))

    @property
    def complete(self) -> bool:
        """Both the prompt and the output were reported: nothing that has a price is left to estimate."""
        return self._prompt is not None and self._output is not None

    def covers(self, said_tokens: int) -> bool:
        """Complete, and not a report of nothing for an answer that said something: some providers send zeros."""
        return self.complete and not (said_tokens and not self._prompt and not self._output)

    @property
    def output_tokens(self) -> int | None:
        """Billed output. xAI alone counts reasoning beside completion_tokens; its total then shows it."""
        if self._output is None or not self._reasoning or self._prompt is None:
            return self._output
        beside = self._total == self._prompt + self._output + self._reasoning
        return self._output + self._reasoning if beside else self._output

    def usage(self, *, prompt_tokens: int, output_tokens: int, unreported_output_tokens: int = 0) -> Usage:
        """What was reported, and the caller's estimates in the place of what was not.

        `unreported_output_tokens` are estimated to have come after the last report and are put on top of it.
        """
        reported_output = self.output_tokens
        prompt = _within(prompt_tokens if self._prompt is None else self._prompt)
        output = _within(output_tokens if reported_output is None else reported_output + unreported_output_tokens)
        cached = min(self._cached or 0, prompt)
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            cache_write_tokens=min(self._cache_write or 0, prompt - cached),
            output_tokens=output,
            reasoning_tokens=min(self._reasoning or 0, output),
            estimated=not self.complete or unreported_output_tokens > 0,
        )


def usage_objects(usage: object, x_groq: object) -> list[Fields]:
    """The usage of an answer or a chunk, from both places where it may stand. Groq's own may be the only one."""
    inner = x_groq.get("usage") if isinstance(x_groq, dict) else None
    return [fields for fields in (inner, usage) if isinstance(fields, dict)]


def _object(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    return value if isinstance(value, dict) else _NONE


def _first(known: int | None, *places: tuple[Fields, str]) -> int | None:
    for fields, name in places:
        value = fields.get(name)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and 0 <= value <= TOKENS_MAX:
            return value
    return known


def _within(tokens: int) -> int:
    return max(0, min(tokens, TOKENS_MAX))
