"""/api/credits/markups: what the operator puts on top of prices. Nobody else sees it: others see what they pay."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.pricing import MARKUP_BP_MAX, MARKUP_BP_MIN
from gateway.edge.api.ask import Ask
from gateway.edge.api.cursors import Cursor, markup_cursor, read_markup
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import number, tag
from gateway.edge.api.pricing import heard
from gateway.edge.requests import Limit
from gateway.pricing.stored import Markup

BasisPoints = Annotated[int, msgspec.Meta(ge=MARKUP_BP_MIN, le=MARKUP_BP_MAX)]
PlanId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


class NewMarkup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    basis_points: BasisPoints | None
    """On the sum, before it is rounded: 1500 is 15 %; below zero a discount; null: none of its own, so that the next
    wider holds."""


class MarkupView(msgspec.Struct, frozen=True, kw_only=True):
    scope: str
    """all, plan or org."""
    scope_id: str | None
    """The plan's id or the organisation's."""
    basis_points: int | None
    """None: none of its own."""
    set_by: str | None
    changed_at: datetime | None


class MarkupQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50
    cursor: Cursor | None = None
    """The `next_cursor` of the page before."""


class MarkupPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[MarkupView]
    limit: Limit
    next_cursor: str | None
    """null: that was all."""


@endpoint("GET", "/api/credits/markups", needs=Right.WRITE_PRICES)
async def page(ask: Ask, query: MarkupQuery) -> MarkupPage:
    """Mark-ups: that of all, then of organisations, then of plans, by id. Of those that apply to an organisation the
    narrowest holds: its own, its plan's, that of all.
    """
    after = ("", "") if query.cursor is None else read_markup(query.cursor)
    found = await ask.house.price_desk.markups(after=after, limit=query.limit + 1)
    shown = found[: query.limit]
    return MarkupPage(
        data=[_view(markup) for markup in shown],
        limit=query.limit,
        next_cursor=markup_cursor(shown[-1].scope, shown[-1].scope_id) if len(found) > query.limit else None,
    )


@endpoint("GET", "/api/credits/markups/all", needs=Right.WRITE_PRICES, tagged=True)
async def get_all(ask: Ask) -> MarkupView:
    """The mark-up of whoever has no narrower one."""
    return await _found(ask, "all", "")


@endpoint("PUT", "/api/credits/markups/all", needs=Right.WRITE_PRICES, tagged=True, versioned=True)
async def put_all(ask: Ask, body: NewMarkup) -> MarkupView:
    """Sets the mark-up of whoever has no narrower one; calls under way keep their price."""
    return await _set(ask, "all", "", body)


@endpoint("GET", "/api/credits/markups/plans/{plan_id}", needs=Right.WRITE_PRICES, tagged=True)
async def get_of_plan(ask: Ask, plan_id: PlanId) -> MarkupView:
    """The mark-up of organisations on a plan."""
    return await _found(ask, "plan", plan_id)


@endpoint("PUT", "/api/credits/markups/plans/{plan_id}", needs=Right.WRITE_PRICES, tagged=True, versioned=True)
async def put_of_plan(ask: Ask, plan_id: PlanId, body: NewMarkup) -> MarkupView:
    """Sets the mark-up of organisations on a plan, also of one that nobody is on yet."""
    return await _set(ask, "plan", plan_id, body)


@endpoint("GET", "/api/credits/markups/orgs/{org_id}", needs=Right.WRITE_PRICES, tagged=True)
async def get_of_org(ask: Ask, org_id: UUID) -> MarkupView:
    """The mark-up of one organisation."""
    await ask.house.orgs.get(org_id)
    return await _found(ask, "org", str(org_id))


@endpoint("PUT", "/api/credits/markups/orgs/{org_id}", needs=Right.WRITE_PRICES, tagged=True, versioned=True)
async def put_of_org(ask: Ask, org_id: UUID, body: NewMarkup) -> MarkupView:
    """Sets the mark-up of one organisation."""
    return await _set(ask, "org", str(org_id), body)


async def _found(ask: Ask, scope: str, scope_id: str) -> MarkupView:
    markup = await ask.house.price_desk.markup(scope, scope_id)
    if markup is None:
        return MarkupView(scope=scope, scope_id=scope_id or None, basis_points=None, set_by=None, changed_at=None)
    tag(ask, markup.revision)
    return _view(markup)


async def _set(ask: Ask, scope: str, scope_id: str, body: NewMarkup) -> MarkupView:
    made = await ask.house.price_desk.set_markup(
        scope=scope,
        scope_id=scope_id,
        basis_points=body.basis_points,
        if_match=number(ask),
        by=ask.origin,
        idempotency=ask.idempotency(scope, scope_id, body.basis_points),
    )
    ask.replayed(made.repeated)
    await heard(ask)
    tag(ask, made.revision)
    return MarkupView(
        scope=scope,
        scope_id=scope_id or None,
        basis_points=made.basis_points,
        set_by=ask.principal.actor,
        changed_at=made.changed_at,
    )


def _view(markup: Markup) -> MarkupView:
    return MarkupView(
        scope=markup.scope,
        scope_id=markup.scope_id or None,
        basis_points=markup.basis_points,
        set_by=markup.actor,
        changed_at=markup.changed_at,
    )
