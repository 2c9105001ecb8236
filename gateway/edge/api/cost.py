"""/api/credits/calculate-cost: what a call would cost, line by line, by the arithmetic that charges it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.pricing import Prices, Tariff, charge
from gateway.core.units import UCR_MAX, UNITS_PER_PRICE, credits_text
from gateway.core.usage import TOKENS_MAX, Usage
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.price_bodies import Model, Provider
from gateway.edge.api.price_views import credits_of
from gateway.edge.api.pricing import markup_of
from gateway.edge.requests import invalid
from gateway.relay.catalogue import not_priced

Tokens = Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)]
assert UNITS_PER_PRICE == 10**6

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class CostQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID | None = None
    """Whose price; the operator may leave it out and is told the price without mark-up or volume."""
    provider: Provider | None = None
    """Without it, `model` is a name that is served here, and its first target's price is meant."""
    model: Model
    input_tokens: Tokens = 0
    """The whole prompt, with what was cached or written to the cache."""
    cached_tokens: Tokens = 0
    cache_write_tokens: Tokens = 0
    output_tokens: Tokens = 0
    messages: Count = 1
    requests: Count = 1
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None = None


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    """input, cached_input, cache_write, output, message or request."""
    units: int
    price_per_unit: str
    """Credits, exact."""
    cost: str
    """Credits, exact; only the sum is rounded."""


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The price that is meant, as it is without a mark-up."""

    provider: str
    model: str
    tariff: Tariff
    service_tiers: Mapping[str, Prices]
    upstreams: tuple[str, ...]
    is_served: bool


class CostView(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    """Its name there."""
    served: bool
    """The gateway takes calls of it; otherwise this is what they would cost if it did."""
    organization_id: UUID | None
    month_tokens: int | None
    """What the organisation has used of it in its month, where the price goes by that."""
    lines: list[CostLine]
    cost_ucr: int
    """The sum, rounded up once."""
    cost: str


@endpoint("POST", "/api/credits/calculate-cost", needs=Right.READ_PRICES)
async def calculate(ask: Ask, body: CostQuestion) -> CostView:
    """What one call would cost now. Nothing is reserved or charged."""
    if body.cached_tokens + body.cache_write_tokens > body.input_tokens:
        raise invalid("cached_tokens", "and `cache_write_tokens` are parts of `input_tokens`")
    org_id = body.organization_id if ask.principal.is_operator else ask.org(body.organization_id)
    asked = _asked(ask, body)
    used = None
    if asked.tariff.steps and org_id is not None:
        used = await ask.house.offers.used(org_id, asked.upstreams, asked.model)
    prices = asked.service_tiers.get(body.service_tier or "") or asked.tariff.at(used or 0)
    if org_id is not None:
        try:
            prices = msgspec.structs.replace(prices, markup_bp=await markup_of(ask, org_id))
        except ValueError:
            raise not_priced(body.model, "with a mark-up it would be more than a price may be") from None
    usage = Usage(
        prompt_tokens=body.input_tokens,
        cached_tokens=body.cached_tokens,
        cache_write_tokens=body.cache_write_tokens,
        output_tokens=body.output_tokens,
    )
    cost = charge(prices, usage, messages=body.messages, requests=body.requests)
    if cost.cost_ucr > UCR_MAX:
        raise invalid("messages", f"and `requests` cost more than {credits_text(UCR_MAX)} credits")
    return CostView(
        provider=asked.provider,
        model=asked.model,
        served=asked.is_served,
        organization_id=org_id,
        month_tokens=used,
        lines=[
            CostLine(
                kind=line.kind,
                units=line.units,
                price_per_unit=credits_of(_per_unit(line.price_ucr)),
                cost=credits_of(_per_unit(line.units * line.price_ucr)),
            )
            for line in cost.lines
        ],
        cost_ucr=cost.cost_ucr,
        cost=credits_text(cost.cost_ucr),
    )


def _asked(ask: Ask, body: CostQuestion) -> _Asked:
    """Raises ModelNotFound, or InvalidRequest: it has no price."""
    house = ask.house
    if body.provider is None:
        target = house.catalogue.route(body.model).targets[0]
        return _Asked(
            provider=target.upstream.provider,
            model=target.model,
            tariff=Tariff(target.prices, target.volume_steps),
            service_tiers=target.service_tiers,
            upstreams=target.counted_at,
            is_served=True,
        )
    price = house.price_book.with_stored(house.stored_prices.sheet).find(body.provider, body.model)
    if price is None:
        raise not_priced(body.model, f"{body.provider}/{body.model}")
    return _Asked(
        provider=price.provider,
        model=price.model,
        tariff=Tariff(price.prices, price.volume_steps),
        service_tiers=price.service_tiers,
        upstreams=house.catalogue.upstreams_of(body.provider),
        is_served=house.catalogue.serves(body.provider, body.model),
    )


def _per_unit(ucr_per_million: int | Decimal) -> Decimal:
    return Decimal(ucr_per_million).scaleb(-6)
