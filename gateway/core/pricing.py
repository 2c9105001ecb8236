"""From tokens to microcredits: exact integers, rounded once, up.

A price is µcr per 1,000,000 tokens; zero is a price. Which prices apply goes by the length of the whole prompt.
"""

from typing import Final

import msgspec

from gateway.core.units import UCR_MAX, UNITS_PER_PRICE
from gateway.core.usage import TOKENS_MAX, Usage

PRICE_UCR_MAX: Final = UCR_MAX * UNITS_PER_PRICE // (2 * TOKENS_MAX)
"""No charge of a prompt and an output that the meter believes can pass UCR_MAX at this price."""


class Tier(msgspec.Struct, frozen=True):
    """Prices of a call whose prompt has more than `above_tokens` tokens."""

    above_tokens: int
    input_ucr: int
    cached_ucr: int
    cache_write_ucr: int
    output_ucr: int

    def __post_init__(self) -> None:
        prices = (self.input_ucr, self.cached_ucr, self.cache_write_ucr, self.output_ucr)
        if self.above_tokens < 0 or not all(0 <= price <= PRICE_UCR_MAX for price in prices):
            raise ValueError(f"a price must be between 0 and {PRICE_UCR_MAX} µcr per million tokens")


class Prices(msgspec.Struct, frozen=True):
    """The tiers of one model, by `above_tokens` ascending; the first begins at 0."""

    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        thresholds = [tier.above_tokens for tier in self.tiers]
        if not thresholds or thresholds[0] != 0 or sorted(set(thresholds)) != thresholds:
            raise ValueError("tiers must begin at 0 and ascend")

    def tier(self, prompt_tokens: int) -> Tier:
        """The one that a prompt of this length is charged at."""
        reached = self.tiers[0]
        for tier in self.tiers[1:]:
            if prompt_tokens > tier.above_tokens:
                reached = tier
        return reached


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One line of a charge: what was used, how much, at what price."""

    kind: str
    """input, cached_input, cache_write or output."""
    units: int
    price_ucr: int


class Charge(msgspec.Struct, frozen=True):
    cost_ucr: int
    """ceil(numerator / 1,000,000)."""
    numerator: int
    """Σ units × price."""
    lines: tuple[Line, ...]


def charge(prices: Prices, usage: Usage) -> Charge:
    """What this usage costs. Cached and written tokens are parts of the prompt: what they claim beyond it is not
    believed. Kinds that were not used have no line."""
    tier = prices.tier(usage.prompt_tokens)
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    written = min(usage.cache_write_tokens, usage.prompt_tokens - cached)
    fresh = usage.prompt_tokens - cached - written
    lines = []
    numerator = 0
    for kind, units, price_ucr in (
        ("input", fresh, tier.input_ucr),
        ("cached_input", cached, tier.cached_ucr),
        ("cache_write", written, tier.cache_write_ucr),
        ("output", usage.output_tokens, tier.output_ucr),
    ):
        if units:
            lines.append(Line(kind, units, price_ucr))
            numerator += units * price_ucr
    return Charge(-(-numerator // UNITS_PER_PRICE), numerator, tuple(lines))


def most(prices: Prices, prompt_tokens: int, output_tokens: int) -> int:
    """The most that a call of up to this many tokens can cost, in µcr; UCR_MAX where it would be more.

    The whole prompt at the dearest of its prices, in the dearest of the tiers that it can reach. Never falls as either
    number grows.
    """
    input_ucr, output_ucr = _dearest(prices, prompt_tokens)
    return min(-(-(prompt_tokens * input_ucr + output_tokens * output_ucr) // UNITS_PER_PRICE), UCR_MAX)


def affordable_output_tokens(prices: Prices, prompt_tokens: int, ucr: int) -> int:
    """The largest output (at most TOKENS_MAX) whose `most` is within `ucr`; 0 also where the prompt alone is not."""
    input_ucr, output_ucr = _dearest(prices, prompt_tokens)
    left = ucr * UNITS_PER_PRICE - prompt_tokens * input_ucr
    if left < 0:
        return 0
    return min(left // output_ucr, TOKENS_MAX) if output_ucr else TOKENS_MAX


def _dearest(prices: Prices, prompt_tokens: int) -> tuple[int, int]:
    """Of input and of output."""
    if len(prices.tiers) == 1:
        tier = prices.tiers[0]
        return max(tier.input_ucr, tier.cached_ucr, tier.cache_write_ucr), tier.output_ucr
    reachable = [tier for tier in prices.tiers if tier.above_tokens < prompt_tokens] or prices.tiers[:1]
    dearest_input_ucr = max(max(tier.input_ucr, tier.cached_ucr, tier.cache_write_ucr) for tier in reachable)
    return dearest_input_ucr, max(tier.output_ucr for tier in reachable)
