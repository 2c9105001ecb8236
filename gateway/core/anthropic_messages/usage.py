"""The usage object of the Messages dialect: whole in an answer; in a stream a first figure, and what corrects it."""

from collections.abc import Mapping

from gateway.core.usage import TOKENS_MAX, Usage

Fields = Mapping[str, object]


class ReportedUsage:
    """Gathers usage objects; the last believable value of each field wins, nothing is ever added up.

    A value is believable if it is an integer from 0 to TOKENS_MAX. What was read from a cache and written to one is
    counted beside `input_tokens` here, and as a part of the prompt in our Usage.
    """

    __slots__ = ("_cached", "_input", "_output", "_thinking", "_written", "_written_1h", "final")

    def __init__(self) -> None:
        self._input: int | None = None
        self._cached: int | None = None
        self._written: int | None = None
        self._written_1h: int | None = None
        self._output: int | None = None
        self._thinking: int | None = None
        self.final = False
        """What was reported is of the whole answer, not of its beginning."""

    def add(self, usage: Fields, *, final: bool) -> None:
        """`final`: it is of the whole answer so far."""
        output = _believable(usage.get("output_tokens"), None)
        self._input = _believable(usage.get("input_tokens"), self._input)
        self._cached = _believable(usage.get("cache_read_input_tokens"), self._cached)
        self._written = _believable(usage.get("cache_creation_input_tokens"), self._written)
        kinds = usage.get("cache_creation")
        if type(kinds) is dict:
            self._written_1h = _believable(kinds.get("ephemeral_1h_input_tokens"), self._written_1h)
        details = usage.get("output_tokens_details")
        if type(details) is dict:
            self._thinking = _believable(details.get("thinking_tokens"), self._thinking)
        if output is not None:
            self._output = output
            self.final |= final

    @property
    def complete(self) -> bool:
        """Both the prompt and the whole output were reported: nothing that has a price is left to estimate."""
        return self._input is not None and self.final

    @property
    def output_tokens(self) -> int | None:
        """Of the whole answer; None while only its beginning was counted."""
        return self._output if self.final else None

    def covers(self, said_tokens: int) -> bool:
        """Complete, and not a report of nothing for an answer that said something."""
        return self.complete and not (said_tokens and not self._prompt and not self._output)

    @property
    def _prompt(self) -> int:
        return (self._input or 0) + (self._cached or 0) + (self._written or 0)

    def usage(self, *, prompt_tokens: int, output_tokens: int, unreported_output_tokens: int = 0) -> Usage:
        """What was reported, and the caller's estimates in the place of what was not.

        `unreported_output_tokens` are estimated to have come after the last report and are put on top of it.
        """
        prompt = min(prompt_tokens if self._input is None else self._prompt, TOKENS_MAX)
        if self.final and self._output is not None:
            output = self._output + unreported_output_tokens
        else:
            output = max(output_tokens, self._output or 0)
        output = min(output, TOKENS_MAX)
        cached = min(self._cached or 0, prompt)
        written = min(self._written or 0, prompt - cached)
        return Usage(
            prompt_tokens=prompt,
            cached_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(self._written_1h or 0, written),
            output_tokens=output,
            reasoning_tokens=min(self._thinking or 0, output),
            estimated=not self.complete or unreported_output_tokens > 0,
        )


def _believable(value: object, known: int | None) -> int | None:
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= TOKENS_MAX else known
