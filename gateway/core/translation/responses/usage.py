"""Used tokens: the Responses dialect counts as a chat does and has other names."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.core.translation.usage import CARRIED
from gateway.core.usage import Usage

CHAT_NAME: Final = {
    "input_tokens": "prompt_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens": "completion_tokens",
    "output_tokens_details": "completion_tokens_details",
}
"""Within the details, names are the same."""


TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority"})
"""Of `service_tier` in both dialects. A provider's own name for another one is left out, as SDKs know these alone."""


def as_chat(usage: object) -> dict[str, Any] | None:
    """The usage object of a response, with a chat's names and whatever else it holds. None where it has none."""
    if not isinstance(usage, dict):
        return None
    return {str(CHAT_NAME.get(name, name)): value for name, value in usage.items() if value is not None}


def as_responses(usage: Usage, *, carried: Mapping[str, object]) -> dict[str, Any]:
    """`carried` is the chat's own usage object, for the break-downs that it may carry."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.output_tokens,
        **{name: carried[name] for name in CARRIED if isinstance(carried.get(name), dict)},
    }
