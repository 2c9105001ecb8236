"""A price as it is asked for on /api: decimal credits for a million tokens, a message, a request → core's tariff."""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from gateway.core.pricing import FIXED_UCR_MAX, PRICE_UCR_MAX, Prices, Tariff, Tier, VolumeStep
from gateway.core.units import UCR_MAX, credits_text
from gateway.edge.requests import AmountOrNull, Instant, amount_ucr, invalid, is_said, left_out

TIERS_MAX: Final = 8

Provider = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
AboveTokens = Annotated[int, msgspec.Meta(ge=1, le=UCR_MAX)]


class TokenPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    input_per_million: AmountOrNull = msgspec.field(default_factory=left_out)
    cached_per_million: AmountOrNull = msgspec.field(default_factory=left_out)
    """Without it, cached input costs what input costs."""
    cache_write_per_million: AmountOrNull = msgspec.field(default_factory=left_out)
    """Likewise."""
    output_per_million: AmountOrNull = msgspec.field(default_factory=left_out)


class LengthTier(TokenPrices, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of calls with a longer prompt. What is left out is as in the tier below, or in the price itself; cached
    input and cache writes that neither gives cost what input costs in this tier."""

    above_prompt_tokens: AboveTokens


class OnePrice(TokenPrices, frozen=True, kw_only=True, forbid_unknown_fields=True):
    per_message: AmountOrNull = msgspec.field(default_factory=left_out)
    """For each answer that is asked for."""
    per_request: AmountOrNull = msgspec.field(default_factory=left_out)
    length_tiers: Annotated[tuple[LengthTier, ...], msgspec.Meta(max_length=TIERS_MAX)] = ()


class VolumeTier(OnePrice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole price for an organisation that has used more of the model in its month; what is left out is 0."""

    above_month_tokens: AboveTokens


class NewPrice(OnePrice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At least one price must be said; 0 is one, and what is left out is 0."""

    provider: Provider
    model: Model
    """`*`: every model of the provider that has no stored price of its own."""
    default: bool = False
    """Also the price of the provider's models that have none anywhere."""
    volume_tiers: Annotated[tuple[VolumeTier, ...], msgspec.Meta(max_length=TIERS_MAX)] = ()
    effective_from: Instant | None = None
    """Now unless said."""
    effective_until: Instant | None = None
    """Then what held before goes on; open unless said."""


def tariff_of(body: NewPrice) -> Tariff:
    """Raises InvalidRequest, which names the field."""
    steps = []
    last = 0
    for index, tier in enumerate(body.volume_tiers):
        where = f"volume_tiers[{index}]."
        if tier.above_month_tokens <= last:
            raise invalid(f"{where}above_month_tokens", "must ascend from tier to tier")
        last = tier.above_month_tokens
        steps.append(VolumeStep(last, _prices(tier, where)))
    return Tariff(_prices(body, ""), tuple(steps))


def _prices(body: OnePrice, where: str) -> Prices:
    token_prices = (
        body.input_per_million,
        body.cached_per_million,
        body.cache_write_per_million,
        body.output_per_million,
    )
    if not any(is_said(price) for price in (*token_prices, body.per_message, body.per_request)):
        raise invalid(f"{where}input_per_million", "or another price must be said; 0 is one")
    try:
        given: list[TokenPrices] = [body]
        tiers = [_tier(0, given, where, Tier(0, 0, 0, 0, 0))]
        for index, tier in enumerate(body.length_tiers):
            inside = f"{where}length_tiers[{index}]."
            if tier.above_prompt_tokens <= tiers[-1].above_tokens:
                raise invalid(f"{inside}above_prompt_tokens", "must ascend from tier to tier")
            given.append(tier)
            tiers.append(_tier(tier.above_prompt_tokens, given, inside, tiers[-1]))
        return Prices(
            tuple(tiers),
            message_ucr=_ucr(body.per_message, 0, f"{where}per_message", FIXED_UCR_MAX),
            request_ucr=_ucr(body.per_request, 0, f"{where}per_request", FIXED_UCR_MAX),
        )
    except ValueError as error:
        raise invalid(f"{where}input_per_million", f"and what goes with it are no price: {error}") from None


def _tier(above_tokens: int, given: Sequence[TokenPrices], where: str, below: Tier) -> Tier:
    """`given`: the price's own figures, then each tier's up to this one, whose are the last.

    What it does not give is as below. Cached input and cache writes that none of them gives are plain input.
    """
    body = given[-1]
    input_ucr = _ucr(body.input_per_million, below.input_ucr, f"{where}input_per_million")
    has_cached = any(is_said(each.cached_per_million) for each in given)
    has_cache_write = any(is_said(each.cache_write_per_million) for each in given)
    cached_ucr = below.cached_ucr if has_cached else input_ucr
    cache_write_ucr = below.cache_write_ucr if has_cache_write else input_ucr
    return Tier(
        above_tokens=above_tokens,
        input_ucr=input_ucr,
        cached_ucr=_ucr(body.cached_per_million, cached_ucr, f"{where}cached_per_million"),
        cache_write_ucr=_ucr(body.cache_write_per_million, cache_write_ucr, f"{where}cache_write_per_million"),
        output_ucr=_ucr(body.output_per_million, below.output_ucr, f"{where}output_per_million"),
    )


def _ucr(credits: msgspec.Raw, otherwise: int, field: str, ucr_max: int = PRICE_UCR_MAX) -> int:
    if not is_said(credits):
        return otherwise
    ucr = amount_ucr(credits, field=field, least_ucr=0)
    if ucr > ucr_max:
        raise invalid(field, f"must be at most {credits_text(ucr_max)} credits")
    return ucr
