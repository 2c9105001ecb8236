"""A price as /api shows it: decimal credits, the mark-up in them, for a million tokens, a message, a request."""

from datetime import datetime
from decimal import Decimal
from typing import TypedDict

import msgspec

from gateway.core.pricing import FULL_BP, Prices, Tier, with_markup
from gateway.core.units import UCR_PER_CREDIT
from gateway.pricing.price_map import ModelPrice
from gateway.pricing.stored import StoredPrice

assert UCR_PER_CREDIT == 10**6


class TokenPricesView(msgspec.Struct, frozen=True, kw_only=True):
    input_per_million: str
    cached_per_million: str
    cache_write_per_million: str
    output_per_million: str


class LengthTierView(TokenPricesView, frozen=True, kw_only=True):
    above_prompt_tokens: int


class PricesView(TokenPricesView, frozen=True, kw_only=True):
    per_message: str
    per_request: str
    length_tiers: list[LengthTierView]


class VolumeTierView(PricesView, frozen=True, kw_only=True):
    above_month_tokens: int


class PriceView(PricesView, frozen=True, kw_only=True):
    """What a model costs whoever asks; the operator, who names no organisation, sees it without any mark-up."""

    provider: str
    model: str
    default: bool
    """Also the price of the provider's models that have none anywhere."""
    effective_from: datetime | None
    """None where it is no stored price: it holds as long as this configuration does."""
    effective_until: datetime | None
    volume_tiers: list[VolumeTierView]
    service_tiers: dict[str, PricesView]
    """Of the provider's service tiers that have their own price."""
    source: str | msgspec.UnsetType = msgspec.UNSET
    """To the operator: stored, configuration, price_map or provider_default; where stored, `stored:api` or
    `stored:set:<name>`."""
    set_by: str | msgspec.UnsetType | None = msgspec.UNSET
    """To the operator: who stored it."""


def price_view(price: ModelPrice, stored: StoredPrice | None, *, markup_bp: int, to_operator: bool) -> PriceView:
    source = price.source if stored is None or price.source != "stored" else f"stored:{stored.source}"
    return PriceView(
        provider=price.provider,
        model=price.model,
        default=stored is not None and stored.is_default,
        effective_from=stored.effective_from if stored else None,
        effective_until=stored.effective_until if stored else None,
        volume_tiers=[
            VolumeTierView(above_month_tokens=step.above_tokens, **_prices(step.prices, markup_bp))
            for step in price.volume_steps
        ],
        service_tiers={name: PricesView(**_prices(tier, markup_bp)) for name, tier in price.service_tiers.items()},
        source=source if to_operator else msgspec.UNSET,
        set_by=(stored.actor if stored else None) if to_operator else msgspec.UNSET,
        **_prices(price.prices, markup_bp),
    )


class _TokenPrices(TypedDict):
    input_per_million: str
    cached_per_million: str
    cache_write_per_million: str
    output_per_million: str


class _Prices(_TokenPrices):
    per_message: str
    per_request: str
    length_tiers: list[LengthTierView]


def credits_of(ucr: int | Decimal) -> str:
    """Exact decimal credits, with six places or as many more as it takes."""
    text = f"{Decimal(ucr).scaleb(-6):f}"
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(6, '0')}"


def _prices(prices: Prices, markup_bp: int) -> _Prices:
    factor_bp = FULL_BP + markup_bp
    first, *longer = prices.tiers
    return {
        **_tier(first, factor_bp),
        "per_message": credits_of(with_markup(prices.message_ucr, factor_bp)),
        "per_request": credits_of(with_markup(prices.request_ucr, factor_bp)),
        "length_tiers": [
            LengthTierView(above_prompt_tokens=tier.above_tokens, **_tier(tier, factor_bp)) for tier in longer
        ],
    }


def _tier(tier: Tier, factor_bp: int) -> _TokenPrices:
    return {
        "input_per_million": credits_of(with_markup(tier.input_ucr, factor_bp)),
        "cached_per_million": credits_of(with_markup(tier.cached_ucr, factor_bp)),
        "cache_write_per_million": credits_of(with_markup(tier.cache_write_ucr, factor_bp)),
        "output_per_million": credits_of(with_markup(tier.output_ucr, factor_bp)),
    }
