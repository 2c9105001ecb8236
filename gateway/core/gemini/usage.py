"""The usage of an answer: `usageMetadata`, which in a stream comes with every chunk, of all that came so far."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.usage import TOKENS_MAX, Usage

Fields = Mapping[str, Any]

_PROMPT: Final = "promptTokenCount"
_TOOL_USE: Final = "toolUsePromptTokenCount"
_CACHED: Final = "cachedContentTokenCount"
_SAID: Final = "candidatesTokenCount"
_THOUGHT: Final = "thoughtsTokenCount"
_TOTAL: Final = "totalTokenCount"


class ReportedUsage:
    """Gathers usage objects; the last believable value of each field wins, nothing is ever added up.

    A value is believable if it is an integer from 0 to TOKENS_MAX. Google leaves out what is 0. What its own tools had
    the model read is counted beside the prompt, thoughts beside what is said.
    """

    __slots__ = ("_cached", "_prompt", "_said", "_thought", "_tool_use", "_total")

    def __init__(self) -> None:
        self._prompt: int | None = None
        self._tool_use: int | None = None
        self._cached: int | None = None
        self._said: int | None = None
        self._thought: int | None = None
        self._total: int | None = None

    def add(self, usage: Fields) -> None:
        self._prompt = _believable(usage.get(_PROMPT), self._prompt)
        self._tool_use = _believable(usage.get(_TOOL_USE), self._tool_use)
        self._cached = _believable(usage.get(_CACHED), self._cached)
        self._said = _believable(usage.get(_SAID), self._said)
        self._thought = _believable(usage.get(_THOUGHT), self._thought)
        self._total = _believable(usage.get(_TOTAL), self._total)

    @property
    def complete(self) -> bool:
        """The prompt was reported, and what was said with it, be it nothing."""
        return self._prompt is not None

    @property
    def prompt(self) -> int:
        return (self._prompt or 0) + (self._tool_use or 0)

    @property
    def output_tokens(self) -> int | None:
        """What is billed as output; None where nothing was reported. What the total has beside all that is named is
        output as well."""
        if self._prompt is None:
            return None
        named = (self._said or 0) + (self._thought or 0)
        return max(named, (self._total or 0) - self.prompt)

    def covers(self, said_tokens: int) -> bool:
        """Complete, and not a report of no output for an answer that said something."""
        return self.complete and not (said_tokens and not self.output_tokens)

    def usage(self, *, prompt_tokens: int, output_tokens: int, unreported_output_tokens: int = 0) -> Usage:
        """What was reported, and the caller's estimates in the place of what was not.

        `unreported_output_tokens` are estimated to have come after the last report and are put on top of it.
        """
        reported = self.output_tokens
        covered = reported is not None and (reported > 0 or not output_tokens)
        prompt = min(prompt_tokens if self._prompt is None else self.prompt, TOKENS_MAX)
        output = reported + unreported_output_tokens if covered and reported is not None else output_tokens
        output = min(output, TOKENS_MAX)
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=min(self._cached or 0, prompt),
            output_tokens=output,
            reasoning_tokens=min(self._thought or 0, output),
            estimated=not covered or unreported_output_tokens > 0,
        )


def _believable(value: object, known: int | None) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else known
