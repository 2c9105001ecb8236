"""The usage object of the OpenAI chat dialect, as providers really send it: one, several or one on each chunk."""

from collections.abc import Mapping
from typing import Final

from gateway.core.usage import TOKENS_MAX, Usage

Fields = Mapping[str, object]

_CACHED: Final = (
    "prompt_cache_hit_tokens",  # DeepSeek
    "cached_tokens",  # Together, through Hugging Face
    "num_cached_tokens",  # Mistral
)
"""Where providers say it beside OpenAI's `prompt_tokens_details`; where several do, the last of these, and OpenAI's
before all."""


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
        self._prompt = _believable(usage.get("prompt_tokens"), self._prompt)
        self._output = _believable(usage.get("completion_tokens"), self._output)
        self._total = _believable(usage.get("total_tokens"), self._total)
        cached = self._cached
        for name in _CACHED:
            if name in usage:
                cached = _believable(usage[name], cached)
        details = usage.get("prompt_tokens_details")
        if type(details) is dict:
            cached = _believable(details.get("cached_tokens"), cached)
            self._cache_write = _believable(details.get("cache_write_tokens"), self._cache_write)
        self._cached = cached
        details = usage.get("completion_tokens_details")
        if type(details) is dict:
            self._reasoning = _believable(details.get("reasoning_tokens"), self._reasoning)

    @property
    def complete(self) -> bool:
        """Both the prompt and the output were reported: nothing that has a price is left to estimate."""
        return self._prompt is not None and self._output is not None

    def covers(self, said_tokens: int) -> bool:
        """Complete, and not a report of nothing for an answer that said something: some providers send zeros."""
        return self.complete and not (said_tokens and not self._prompt and not self._output)

    @property
    def output_tokens(self) -> int | None:
        """Billed output. Some count reasoning beside completion_tokens: xAI tells how much, Gemini only that the total
        is more than prompt and completion. So whatever a total has beyond them was output."""
        if self._output is None or self._total is None or self._prompt is None:
            return self._output
        return max(self._output, self._total - self._prompt)

    def usage(self, *, prompt_tokens: int, output_tokens: int, unreported_output_tokens: int = 0) -> Usage:
        """What was reported, and the caller's estimates in the place of what was not.

        `unreported_output_tokens` are estimated to have come after the last report and are put on top of it.
        """
        reported_output = self.output_tokens
        prompt = prompt_tokens if self._prompt is None else self._prompt
        output = output_tokens if reported_output is None else reported_output + unreported_output_tokens
        prompt, output = max(0, min(prompt, TOKENS_MAX)), max(0, min(output, TOKENS_MAX))
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


def _believable(value: object, known: int | None) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else known
