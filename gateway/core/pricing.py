"""From tokens, messages and requests to microcredits: exact integers, rounded once, up.

A token's price is µcr per 1,000,000, a message's and a request's µcr for one; zero is a price. Which prices apply goes
by the length of the whole prompt. A mark-up multiplies the sum before it is rounded.
"""

from decimal import Decimal
from typing import Final

import msgspec

from gateway.core.units import UCR_MAX, UNITS_PER_PRICE
from gateway.core.usage import TOKENS_MAX, Usage

PRICE_UCR_MAX: Final = UCR_MAX * UNITS_PER_PRICE // (2 * TOKENS_MAX)
"""No charge of a prompt and an output that the meter believes can pass UCR_MAX at this price."""


FIXED_UCR_MAX: Final = 10**11
"""For one message or one request: 100,000 credits."""
MESSAGES_MAX: Final = 1_024
"""Of one call: as many units as a search may be billed as; far fewer answers may be asked for."""
FULL_BP: Final = 10_000
"""Basis points of the whole: a mark-up of so many doubles a price."""
MARKUP_BP_MIN: Final = 1 - FULL_BP
MARKUP_BP_MAX: Final = 10 * FULL_BP


class Tier(msgspec.Struct, frozen=True, omit_defaults=True):
    """Prices of a call whose prompt has more than `above_tokens` tokens."""

    above_tokens: int
    input_ucr: int
    cached_ucr: int
    cache_write_ucr: int
    output_ucr: int
    cache_write_1h_ucr: int | None = None
    """Written to a cache for an hour; None: as any cache write."""

    def __post_init__(self) -> None:
        prices = (self.input_ucr, self.cached_ucr, self.cache_write_ucr, self.output_ucr, self.cache_write_1h_ucr or 0)
        if self.above_tokens < 0 or not all(0 <= price <= PRICE_UCR_MAX for price in prices):
            raise ValueError(f"a price must be between 0 and {PRICE_UCR_MAX} µcr per million tokens")


class Prices(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model costs. The tiers go by `above_tokens` ascending; the first begins at 0."""

    tiers: tuple[Tier, ...]
    message_ucr: int = 0
    """For each answer that is asked for (`n`), or each unit of a search, once anything of the call is charged."""
    request_ucr: int = 0
    """For each call, once anything of it is charged."""
    markup_bp: int = 0
    """Basis points on the sum; below zero a discount."""

    def __post_init__(self) -> None:
        thresholds = [tier.above_tokens for tier in self.tiers]
        if not thresholds or thresholds[0] != 0 or sorted(set(thresholds)) != thresholds:
            raise ValueError("tiers must begin at 0 and ascend")
        if not (self.message_ucr or self.request_ucr or self.markup_bp):
            return  # then the bounds of the tiers are enough
        if not (0 <= self.message_ucr <= FIXED_UCR_MAX and 0 <= self.request_ucr <= FIXED_UCR_MAX):
            raise ValueError(f"a message or a request must cost between 0 and {FIXED_UCR_MAX} µcr")
        if not MARKUP_BP_MIN <= self.markup_bp <= MARKUP_BP_MAX:
            raise ValueError(f"a mark-up must be between {MARKUP_BP_MIN} and {MARKUP_BP_MAX} basis points")
        input_ucr = max(
            max(tier.input_ucr, tier.cached_ucr, tier.cache_write_ucr, tier.cache_write_1h_ucr or 0)
            for tier in self.tiers
        )
        dearest = TOKENS_MAX * (input_ucr + max(tier.output_ucr for tier in self.tiers))
        dearest += (MESSAGES_MAX * self.message_ucr + self.request_ucr) * UNITS_PER_PRICE
        if dearest * (FULL_BP + self.markup_bp) > UCR_MAX * UNITS_PER_PRICE * FULL_BP:
            raise ValueError(f"the dearest call would cost more than {UCR_MAX} µcr")

    def tier(self, prompt_tokens: int) -> Tier:
        """The one that a prompt of this length is charged at."""
        reached = self.tiers[0]
        for tier in self.tiers[1:]:
            if prompt_tokens > tier.above_tokens:
                reached = tier
        return reached

    def writing_for_an_hour(self) -> "Prices":
        """With what is written to a cache at the hour's price: the most that a call can cost which asks for that."""
        tiers = tuple(
            msgspec.structs.replace(tier, cache_write_ucr=max(tier.cache_write_ucr, tier.cache_write_1h_ucr or 0))
            for tier in self.tiers
        )
        return msgspec.structs.replace(self, tiers=tiers)


class VolumeStep(msgspec.Struct, frozen=True):
    """Prices of a model for whoever has used more than `above_tokens` of it in the month."""

    above_tokens: int
    prices: Prices


class Tariff(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model costs at every monthly volume: `steps` ascend, and begin above 0."""

    prices: Prices
    steps: tuple[VolumeStep, ...] = ()

    def __post_init__(self) -> None:
        thresholds = [step.above_tokens for step in self.steps]
        if thresholds and (thresholds[0] < 1 or sorted(set(thresholds)) != thresholds):
            raise ValueError("volume steps must begin above 0 and ascend")

    def at(self, month_tokens: int) -> Prices:
        """For whoever has used so many tokens of it in the month so far."""
        reached = self.prices
        for step in self.steps:
            if month_tokens > step.above_tokens:
                reached = step.prices
        return reached


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One line of a charge: what was used, how much, at what price."""

    kind: str
    """input, cached_input, cache_write, cache_write_1h, output, message or request."""
    units: int
    price_ucr: int | Decimal
    """For 1,000,000 units, the mark-up in it; exact, so with up to four decimal places where there is one."""


class Charge(msgspec.Struct, frozen=True):
    cost_ucr: int
    """ceil(numerator / 1,000,000)."""
    numerator: int | Decimal
    """Σ units × price, exact."""
    lines: tuple[Line, ...]


def charge(prices: Prices, usage: Usage, *, messages: int = 1, requests: int = 1) -> Charge:
    """What this usage costs. Cached and written tokens are parts of the prompt: what they claim beyond it is not
    believed. Kinds that were not used have no line, nor have messages and requests that have no price of their own."""
    tier = prices.tier(usage.prompt_tokens)
    cached = min(usage.cached_tokens, usage.prompt_tokens)
    written = min(usage.cache_write_tokens, usage.prompt_tokens - cached)
    written_1h = min(usage.cache_write_1h_tokens, written)
    fresh = usage.prompt_tokens - cached - written
    lines = []
    numerator = 0
    for kind, units, price_ucr in (
        ("input", fresh, tier.input_ucr),
        ("cached_input", cached, tier.cached_ucr),
        ("cache_write", written - written_1h, tier.cache_write_ucr),
        ("output", usage.output_tokens, tier.output_ucr),
    ):
        if units:
            lines.append(Line(kind, units, price_ucr))
            numerator += units * price_ucr
    if written_1h:
        price_ucr = tier.cache_write_ucr if tier.cache_write_1h_ucr is None else tier.cache_write_1h_ucr
        lines.append(Line("cache_write_1h", written_1h, price_ucr))
        numerator += written_1h * price_ucr
    if prices.message_ucr and messages:
        lines.append(Line("message", messages, prices.message_ucr * UNITS_PER_PRICE))
        numerator += messages * prices.message_ucr * UNITS_PER_PRICE
    if prices.request_ucr and requests:
        lines.append(Line("request", requests, prices.request_ucr * UNITS_PER_PRICE))
        numerator += requests * prices.request_ucr * UNITS_PER_PRICE
    if prices.markup_bp:
        return _marked_up(numerator, lines, FULL_BP + prices.markup_bp)
    return Charge(-(-numerator // UNITS_PER_PRICE), numerator, tuple(lines))


def _marked_up(numerator: int, lines: list[Line], factor_bp: int) -> Charge:
    """Each line at the price that holds for whoever pays: what it was before is the operator's own affair."""
    effective = tuple(Line(line.kind, line.units, with_markup(int(line.price_ucr), factor_bp)) for line in lines)
    cost_ucr = -(-numerator * factor_bp // (UNITS_PER_PRICE * FULL_BP))
    return Charge(cost_ucr, with_markup(numerator, factor_bp), effective)


def with_markup(amount: int, factor_bp: int) -> int | Decimal:
    """amount × factor ÷ 10,000, exactly: an integer where it is one."""
    whole, rest = divmod(amount * factor_bp, FULL_BP)
    return Decimal(f"{whole}.{rest:04d}") if rest else whole


def most(prices: Prices, prompt_tokens: int, output_tokens: int, *, messages: int = 1) -> int:
    """The most that a call of up to this many tokens and messages can cost, in µcr; UCR_MAX where it would be more.

    The whole prompt at the dearest of its prices, in the dearest of the tiers that it can reach. Never falls as any of
    the numbers grows.
    """
    input_ucr, output_ucr = _dearest(prices, prompt_tokens)
    numerator = prompt_tokens * input_ucr + output_tokens * output_ucr
    fixed_ucr = messages * prices.message_ucr + prices.request_ucr
    if prices.markup_bp:
        numerator = (numerator + fixed_ucr * UNITS_PER_PRICE) * (FULL_BP + prices.markup_bp)
        return min(-(-numerator // (UNITS_PER_PRICE * FULL_BP)), UCR_MAX)
    return min(-(-numerator // UNITS_PER_PRICE) + fixed_ucr, UCR_MAX)


def affordable_output_tokens(prices: Prices, prompt_tokens: int, ucr: int, *, messages: int = 1) -> int:
    """The largest output (at most TOKENS_MAX) whose `most` is within `ucr`; 0 also where the rest alone is not."""
    input_ucr, output_ucr = _dearest(prices, prompt_tokens)
    numerator = ucr * UNITS_PER_PRICE
    if prices.markup_bp:
        numerator = numerator * FULL_BP // (FULL_BP + prices.markup_bp)
    fixed_ucr = messages * prices.message_ucr + prices.request_ucr
    left = numerator - prompt_tokens * input_ucr - fixed_ucr * UNITS_PER_PRICE
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
