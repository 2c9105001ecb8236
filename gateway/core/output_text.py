"""What a model has said, in characters: the estimate of its output tokens where the provider does not report them."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.core.estimate import text_tokens

_TEXT_KEYS: Final = frozenset(
    {"content", "reasoning", "reasoning_content", "refusal", "tool_calls", "function_call", "audio", "images"}
)
_LABELS: Final = frozenset({"id", "type", "index", "role", "format", "signature", "expires_at"})
"""Strings under these keys are not said by the model."""
_BULK: Final = frozenset({"data", "url", "b64_json"})
"""Encoded media: said, but its characters are no measure of its tokens."""


class OutputText:
    """Counts messages (or deltas of them) of OpenAI's chat dialect, and plain texts of any."""

    __slots__ = ("_ascii_chars", "_other_chars", "_pieces", "tokens")

    def __init__(self) -> None:
        self._ascii_chars = 0
        self._other_chars = 0
        self._pieces = 0
        self.tokens = 0
        """At least one for each piece, more where the characters weigh more. Never falls."""

    def add(self, message: Mapping[str, object]) -> bool:
        """Whether the message says anything: text, a tool call, reasoning, a refusal, sound or an image."""
        said = False
        for key, value in message.items():
            if value and key in _TEXT_KEYS:
                if type(value) is str and value.isascii():  # nearly every chunk
                    self._ascii_chars += len(value)
                    said = True
                elif self._count(value):
                    said = True
        # Some repeat their reasoning in a second form; that counts only where it is the only one.
        if not said and (details := message.get("reasoning_details")):
            said = self._count(details)
        if said:
            self._pieces += 1
            tokens = text_tokens(ascii_chars=self._ascii_chars, other_chars=self._other_chars)
            self.tokens = max(self._pieces, tokens)
        return said

    def say(self, value: object) -> bool:
        """Whether the value, a text or whatever holds texts, says anything."""
        said = self._count(value)
        if said:
            self._pieces += 1
            tokens = text_tokens(ascii_chars=self._ascii_chars, other_chars=self._other_chars)
            self.tokens = max(self._pieces, tokens)
        return said

    def _count(self, value: object) -> bool:
        if type(value) is str:
            if value.isascii():
                self._ascii_chars += len(value)
            else:
                ascii_chars = len(value.encode("ascii", "ignore"))
                self._ascii_chars += ascii_chars
                self._other_chars += len(value) - ascii_chars
            return value != ""
        if type(value) is list:
            said = [self._count(item) for item in value]
        elif type(value) is dict:
            said = self._count_fields(value.items())
        else:
            return False
        return any(said)

    def _count_fields(self, fields: Iterable[tuple[str, object]]) -> list[bool]:
        return [
            bool(value) if key in _BULK else self._count(value) for key, value in fields if value and key not in _LABELS
        ]
