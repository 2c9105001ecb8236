"""What calls must cost, worked out anew from the price map's own numbers: an opinion besides the gateway's."""

import functools
import json
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

CREDITS_PER_USD: Final = 1_000
"""The default."""
_ALSO_KNOWN_AS: Final = {"openai": "text-completion-openai"}
UCR_PER_USD: Final = CREDITS_PER_USD * 1_000_000


@functools.cache
def _price_map() -> Mapping[str, Mapping[str, Any]]:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).with_name("model_prices_and_context_window_backup.json").read_text()
    prices: Mapping[str, Mapping[str, Any]] = json.loads(text, parse_float=Decimal)
    return prices


def entry(model: str, provider: str) -> Mapping[str, Any] | None:
    """The provider's own name goes before the plain one, which must be the provider's."""
    prices = _price_map()
    own = prices.get(f"{provider}/{model}")
    plain = prices.get(model)
    if own is None and plain is not None and plain.get("litellm_provider") in (provider, _ALSO_KNOWN_AS.get(provider)):
        own = plain
    return own


def is_priced(model: str, provider: str = "openai") -> bool:
    """Both its input and its output."""
    found = entry(model, provider) or {}
    return None not in (found.get("input_cost_per_token"), found.get("output_cost_per_token"))


def charge_ucr(model: str, tokens: Mapping[str, int], provider: str = "openai") -> int:
    """Of one call, from the counts that `/_sent` lists; for prompts that reach no dearer tier of length."""
    prices = entry(model, provider)
    assert prices is not None
    fresh = tokens["prompt_tokens"] - tokens["cached_tokens"] - tokens["cache_write_tokens"]
    input_usd = prices["input_cost_per_token"]
    written_1h = tokens.get("cache_write_1h_tokens", 0)
    write_usd = prices.get("cache_creation_input_token_cost", input_usd)
    usd = (
        fresh * input_usd
        + tokens["cached_tokens"] * prices.get("cache_read_input_token_cost", input_usd)
        + (tokens["cache_write_tokens"] - written_1h) * write_usd
        + written_1h * prices.get("cache_creation_input_token_cost_above_1hr", write_usd)
        + tokens["output_tokens"] * prices["output_cost_per_token"]
    )
    return math.ceil(Decimal(usd) * UCR_PER_USD)


def charges_ucr(calls: Iterable[Mapping[str, Any]]) -> int:
    """Of calls as `/_sent` lists them, each complete."""
    calls = list(calls)
    assert all(call["end"] == "complete" for call in calls), [call["end"] for call in calls]
    return sum(charge_ucr(call["model"], call["tokens"]) for call in calls)
