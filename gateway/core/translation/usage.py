"""Used tokens in both dialects. The sums are the same; what counts as input is not.

Anthropic's `input_tokens` excludes what was read from the cache and written to it, OpenAI's `prompt_tokens` includes
both. Both count thinking in the output.
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.usage import TOKENS_MAX, Usage

Fields = Mapping[str, object]

CARRIED: Final = ("cache_creation", "server_tool_use")
"""Break-downs that only Anthropic makes. They keep their names on the chat side, whose readers pass over them."""


class MessagesUsage:
    """Gathers Anthropic's usage objects: those of message_start and message_delta are cumulative, and the last value
    of each field that is not null holds."""

    __slots__ = ("_carried", "_counts", "service_tier")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._carried: dict[str, object] = {}
        self.service_tier: str | None = None

    def add(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        details = usage.get("output_tokens_details")
        thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
        for name, value in (*usage.items(), ("thinking_tokens", thinking)):
            if type(value) is int and 0 <= value <= TOKENS_MAX:
                self._counts[name] = value
        self._carried |= {name: usage[name] for name in CARRIED if isinstance(usage.get(name), dict)}
        tier = usage.get("service_tier")
        if isinstance(tier, str):
            self.service_tier = tier

    def _count(self, name: str) -> int:
        return self._counts.get(name, 0)

    def as_chat(self) -> dict[str, Any]:
        cached, written = self._count("cache_read_input_tokens"), self._count("cache_creation_input_tokens")
        prompt = self._count("input_tokens") + cached + written
        output = self._count("output_tokens")
        return {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            "completion_tokens_details": {"reasoning_tokens": min(self._count("thinking_tokens"), output)},
            **self._carried,
        }


def as_messages(usage: Usage, *, carried: Fields, service_tier: str | None) -> dict[str, Any]:
    """`carried` is the chat's own usage object, for the break-downs that it may carry."""
    counts: dict[str, Any] = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
    counts |= {name: carried[name] for name in CARRIED if isinstance(carried.get(name), dict)}
    if service_tier is not None:
        counts["service_tier"] = service_tier
    return counts
