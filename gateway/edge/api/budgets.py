"""/api/orgs/{org_id}/budgets: caps on what may be spent in a calendar period, or be open at one time."""

from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import etag, if_match
from gateway.edge.api.subject import own_id
from gateway.edge.api.ways import Way, Ways
from gateway.edge.requests import AmountOrNone, Limit, Offset, Page, amount_ucr, left_out
from gateway.ledger.budgets import ALERTS_MAX, OPEN_MAX, SCOPE_ID_CHARS_MAX, Budget, BudgetState, Period, Scope

Percent = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class BudgetTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The place (scope, scope_id, period) has one budget: this."""

    ways: ClassVar[Ways] = tuple(
        Way(needs=needs + named, without=without, only=where | when)
        for named, where in (
            ((), {"scope": {"const": "org"}, "scope_id": {"const": ""}}),
            (("scope_id",), {"scope": {"enum": ["user", "key", "model", "feature"]}, "scope_id": {"minLength": 1}}),
        )
        for needs, without, when in (
            (("max",), ("open_max",), {}),
            (("open_max",), ("max",), {"period": {"const": "lifetime"}}),
            (("max", "open_max"), (), {"period": {"const": "lifetime"}}),
        )
    )
    scope: Scope
    scope_id: Annotated[str, msgspec.Meta(max_length=SCOPE_ID_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """The user's or key's id, the model's or feature's name; empty for `org`."""
    period: Period
    """Calendar periods of the organisation's time zone; weeks begin on Monday."""
    max: AmountOrNone = msgspec.field(default_factory=left_out)
    """Credits; left out, they are not limited."""
    open_max: Annotated[int, msgspec.Meta(ge=0, le=OPEN_MAX)] | None = None
    """Calls open at one time; with the period `lifetime` only."""
    alert_percents: Annotated[tuple[Percent, ...], msgspec.Meta(max_length=ALERTS_MAX)] = (80, 100)
    """Shares of `max` at which a message goes out."""


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID
    scope: Scope
    scope_id: str
    period: Period
    max_ucr: int | None
    max: str | None
    open_max: int | None
    alert_percents: tuple[int, ...]
    etag: str
    """Of what is set, whatever was used of it: for If-Match."""


class BudgetStateView(BudgetView, frozen=True, kw_only=True):
    used_ucr: int
    used: str
    held_ucr: int
    held: str
    open_count: int
    period_start: datetime | None
    """None: nothing fell into the period of now yet, or the budget is for a lifetime."""
    resets_at: datetime | None


class BudgetPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[BudgetStateView]
    total: int
    limit: Limit
    offset: Offset


@endpoint("GET", "/api/orgs/{org_id}/budgets", needs=Right.READ_LIMITS, own_without=Right.READ_ALL_CREDITS)
async def page(ask: Ask, org_id: UUID, query: Page) -> BudgetPage:
    """By scope, then by period, each with what the period of now has seen."""
    org = await ask.house.orgs.get(ask.org(org_id))
    ledger = ask.house.ledger
    own = own_id(ask)
    found = await ledger.budgets(org.org_id, limit=query.limit, offset=query.offset, seen_by=own)
    return BudgetPage(
        data=[_state_view(budget) for budget in found],
        total=await ledger.count_budgets(org.org_id, seen_by=own),
        limit=query.limit,
        offset=query.offset,
    )


@endpoint("PUT", "/api/orgs/{org_id}/budgets", needs=Right.WRITE_LIMITS, tagged=True, versioned=True)
async def put(ask: Ask, org_id: UUID, body: BudgetTerms) -> BudgetView:
    """Makes or changes the budget of a scope and period; it counts from the next reservation on, in every process."""
    org_id = ask.org(org_id)
    budget = Budget(
        budget_id=ask.house.ids.next(),
        org_id=org_id,
        scope=body.scope,
        scope_id=body.scope_id,
        period=body.period,
        max_ucr=amount_ucr(body.max, field="max", least_ucr=0) if bytes(body.max) else None,
        open_max=body.open_max,
        alert_percents=body.alert_percents,
    )
    made = await ask.house.ledger.set_budget(
        budget,
        by=ask.origin,
        within=ask.principal.key_id,
        idempotency=ask.idempotency(msgspec.structs.replace(budget, budget_id=org_id)),
        guard=if_match(ask, what="budget"),
    )
    ask.replayed(made.repeated)
    view = _view(made)
    ask.headers["etag"] = view.etag
    return view


@endpoint("DELETE", "/api/orgs/{org_id}/budgets/{budget_id}", needs=Right.WRITE_LIMITS, status=204, versioned=True)
async def delete(ask: Ask, org_id: UUID, budget_id: UUID) -> None:
    """It limits nothing any more, from the next reservation on."""
    org_id = ask.org(org_id)
    made = await ask.house.ledger.remove_budget(
        org_id,
        budget_id,
        by=ask.origin,
        within=ask.principal.key_id,
        idempotency=ask.idempotency(org_id, budget_id),
        guard=if_match(ask, what="budget"),
    )
    ask.replayed(made.repeated)


def _view(budget: Budget) -> BudgetView:
    return BudgetView(
        id=budget.budget_id,
        organization_id=budget.org_id,
        scope=budget.scope,
        scope_id=budget.scope_id,
        period=budget.period,
        max_ucr=budget.max_ucr,
        max=None if budget.max_ucr is None else credits_text(budget.max_ucr),
        open_max=budget.open_max,
        alert_percents=budget.alert_percents,
        etag=etag(budget),
    )


def _state_view(state: BudgetState) -> BudgetStateView:
    terms = Budget(**{name: getattr(state, name) for name in Budget.__struct_fields__})
    return BudgetStateView(
        **msgspec.structs.asdict(_view(terms)),
        used_ucr=state.used_ucr,
        used=credits_text(state.used_ucr),
        held_ucr=state.held_ucr,
        held=credits_text(state.held_ucr),
        open_count=state.open_count,
        period_start=state.period_start,
        resets_at=state.resets_at,
    )
