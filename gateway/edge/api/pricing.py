"""/api/credits/pricing: what models cost, as it applies to whoever asks, and how the operator changes it."""

from contextlib import suppress
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.errors import LedgerUnavailable, NotFound
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import number, tag
from gateway.edge.api.price_bodies import Model, NewPrice, Provider, tariff_of
from gateway.edge.api.price_views import PriceView, price_view
from gateway.edge.requests import Instant, Limit, Offset, invalid
from gateway.pricing.book import PriceBook
from gateway.pricing.stored import Sheet


class PriceQuery(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: Instant | None = None
    """Now unless said; also instants to come."""


class PriceListQuery(PriceQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    provider: Provider | None = None
    model: Model | None = None
    limit: Limit = 50
    offset: Offset = 0


class PricePage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[PriceView]
    total: int
    limit: Limit
    offset: Offset


class EndQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: Instant | None = None
    """Now unless said."""


class EndedView(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    ended_at: datetime


class Initialization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    set: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    replace: bool = False
    """Also the prices of models that have a stored price; otherwise those keep it."""


class InitializedView(msgspec.Struct, frozen=True, kw_only=True):
    set: str
    written: list[str]
    """`provider/model`."""
    kept: list[str]


@endpoint("GET", "/api/credits/pricing", needs=Right.READ_PRICES)
async def page(ask: Ask, query: PriceListQuery) -> PricePage:
    """What the models cost: those that are served here, and those that have a stored price; by provider and name.

    To an organisation as it pays, its mark-up included. The operator sees prices without any mark-up and where each is
    from, or with `organization_id` what that organisation sees.
    """
    book = await _book(ask, query.at)
    markup_bp, to_operator = await _reader(ask, query.organization_id)
    named = {
        (target.upstream.provider, target.model) for entry in ask.house.catalogue.models() for target in entry.targets
    }
    named |= {(stored.provider, stored.model) for stored in book.stored_prices()}
    wanted = [
        place
        for place in sorted(named)
        if (query.provider or place[0]) == place[0] and (query.model or place[1]) == place[1]
    ]
    found = [(price, book.stored(*place)) for place in wanted if (price := book.find(*place)) is not None]
    return PricePage(
        data=[
            price_view(price, stored, markup_bp=markup_bp, to_operator=to_operator)
            for price, stored in found[query.offset : query.offset + query.limit]
        ],
        total=len(found),
        limit=query.limit,
        offset=query.offset,
    )


@endpoint("GET", "/api/credits/pricing/{provider}/{model:.+}", needs=Right.READ_PRICES, tagged=True)
async def get(ask: Ask, provider: Provider, model: Model, query: PriceQuery) -> PriceView:
    """What one model costs. The ETag is of its stored prices, also of planned ones; none where it never had one."""
    book = await _book(ask, query.at)
    markup_bp, to_operator = await _reader(ask, query.organization_id)
    price = book.find(provider, model)
    if price is None:
        raise NotFound(f"The model {provider}/{model} has no price.")
    if to_operator:
        tag(ask, await ask.house.price_desk.revision_of(provider, model))
    return price_view(price, book.stored(provider, model), markup_bp=markup_bp, to_operator=to_operator)


@endpoint("POST", "/api/credits/pricing", needs=Right.WRITE_PRICES, status=201, tagged=True, versioned=True)
async def set_price(ask: Ask, body: NewPrice) -> PriceView:
    """Stores a price that holds from now on, or from a later instant; calls under way keep theirs.

    What held then ends there. Where the new price has an end, what held before goes on after it. One that is planned
    for later begins as planned.
    """
    house, tariff = ask.house, tariff_of(body)
    made = await house.price_desk.set(
        provider=body.provider,
        model=body.model,
        is_default=body.default,
        tariff=tariff,
        effective_from=body.effective_from,
        effective_until=body.effective_until,
        if_match=number(ask),
        by=ask.origin,
        idempotency=ask.idempotency(
            body.provider, body.model, body.default, tariff, body.effective_from, body.effective_until
        ),
    )
    ask.replayed(made.repeated)
    await heard(ask)
    tag(ask, made.revision)
    price = house.price_book.with_stored(Sheet([made])).find(made.provider, made.model)
    assert price is not None
    return price_view(price, made, markup_bp=0, to_operator=True)


@endpoint("DELETE", "/api/credits/pricing/{provider}/{model:.+}", needs=Right.WRITE_PRICES, versioned=True)
async def end_price(ask: Ask, provider: Provider, model: Model, query: EndQuery) -> EndedView:
    """Ends a model's stored price, now or at an instant to come; what is planned for later is withdrawn.

    From then on holds what comes next in the order of precedence; where nothing does, the model is refused.
    """
    ended = await ask.house.price_desk.end(
        provider=provider,
        model=model,
        at=query.at,
        if_match=number(ask),
        by=ask.origin,
        idempotency=ask.idempotency(provider, model, query.at),
    )
    ask.replayed(ended.repeated)
    await heard(ask)
    return EndedView(provider=ended.provider, model=ended.model, ended_at=ended.ended_at)


@endpoint("POST", "/api/credits/pricing/initialize", needs=Right.WRITE_PRICES)
async def initialize(ask: Ask, body: Initialization) -> InitializedView:
    """Stores the prices of a named set, from now on: all or none of them. Again changes nothing."""
    sets = {known.name: known for known in ask.house.price_sets}
    found = sets.get(body.set)
    if found is None:
        raise invalid("set", f"must be one of these: {', '.join(sorted(sets)) or 'there is none'}")
    made = await ask.house.price_desk.initialize(
        found.name,
        found.prices,
        replace=body.replace,
        by=ask.origin,
        idempotency=ask.idempotency(body.set, body.replace),
    )
    ask.replayed(made.repeated)
    await heard(ask)
    return InitializedView(set=made.set, written=list(made.written), kept=list(made.kept))


async def markup_of(ask: Ask, org_id: UUID) -> int:
    """Of an organisation, in basis points. Raises NotFound."""
    house = ask.house
    org = await house.orgs.get(org_id)
    if house.offers.markups.none:
        return 0
    return house.offers.markups.of(org.org_id, await house.price_desk.plan_of(org.org_id))


async def heard(ask: Ask) -> None:
    """What was just changed holds in this process from here on; the others are told by the database."""
    with suppress(LedgerUnavailable):  # it is done, and will be heard of
        await ask.house.stored_prices.refresh()


async def _book(ask: Ask, at: datetime | None) -> PriceBook:
    house = ask.house
    sheet = house.stored_prices.sheet if at is None else Sheet(await house.price_desk.prices_at(at))
    return house.price_book.with_stored(sheet)


async def _reader(ask: Ask, named: UUID | None) -> tuple[int, bool]:
    """The mark-up in what they see, and whether they see whence it is."""
    if named is None and ask.principal.is_operator:
        return 0, True
    return await markup_of(ask, ask.org(named)), False
