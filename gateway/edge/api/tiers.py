"""/api/credits: what an organisation subscribes to; /api/plans: what there is to choose."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.errors import Conflict, IdempotencyMismatch, NotFound
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg, StandingView, standing
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import etag, if_match
from gateway.edge.requests import invalid
from gateway.identity.orgs import Org
from gateway.ledger.plans import Period, Plan
from gateway.ledger.subscriptions import Subscription, When

PlanId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Initialization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID
    plan: PlanId


class TierChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID
    plan: PlanId | None
    """null: the subscription ends."""
    when: When | None = None
    """Of a plan: now unless said. Of an end: the period's end unless said."""
    prorate: bool = True
    """Of a change now: the new plan for the time that is left, and not for the whole period."""


class Allocation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """What each period brings."""

    id: str
    name: str
    period: Period
    credits_ucr: int
    credits: str
    rollover_min_ucr: int
    rollover_min: str
    rollover_max_ucr: int
    """What is left at a period's end goes over into the next one, up to this."""
    rollover_max: str
    credit_line_ucr: int
    """What may be used beyond all other credits in a period, to be billed after it."""
    credit_line: str
    priority: int
    """The lower, the earlier it is burned."""


class PlanList(msgspec.Struct, frozen=True, kw_only=True):
    data: list[PlanView]


class TierView(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as the change left it, and where the organisation stands now."""

    id: UUID
    organization_id: UUID
    plan: PlanView
    """Its terms as they were agreed: a changed file changes no contract."""
    next_plan: PlanView | None
    """From the next period on, where it is another."""
    period_start: datetime
    period_end: datetime
    cancels: bool
    """It ends with the period."""
    ended_at: datetime | None
    owed_ucr: int
    """Used under a larger plan than the time was earned on; taken off what comes next."""
    owed: str
    balance: StandingView


@endpoint("GET", "/api/plans", needs=Right.READ_PRICES)
async def plans(ask: Ask) -> PlanList:
    """What organisations can subscribe to."""
    return PlanList(data=[_plan_view(plan) for plan in ask.house.plans.values()])


@endpoint("POST", "/api/credits/initialize", needs=Right.GIVE_CREDITS, status=201)
async def initialize(ask: Ask, body: Initialization) -> TierView:
    """Begins a plan and gives its first credits. While the organisation has that plan it changes nothing and tells the
    subscription as it is.

    409 where the organisation has another plan: `PUT /api/credits/tier` changes it. After a cancellation has come to
    its end, it begins anew.
    """
    org = await ask.house.orgs.get(ask.org(body.organization_id))
    try:
        made = await ask.house.ledger.subscriptions.begin(
            org.org_id,
            org.account_id,
            _plan(ask, body.plan),
            new_id=ask.house.ids.next,
            by=ask.origin,
            idempotency=ask.idempotency(org.org_id, body.plan),
        )
    except IdempotencyMismatch:
        raise
    except Conflict:
        raise Conflict(
            "The organisation has another plan, or its account is closed; nothing was changed. "
            "PUT /api/credits/tier changes a plan."
        ) from None
    return await _answered(ask, org, made)


@endpoint("GET", "/api/credits/tier", needs=Right.READ_CREDITS, tagged=True)
async def get_tier(ask: Ask, query: OfOrg) -> TierView:
    """What the organisation subscribes to; 404 where it is nothing. `ETag` is for the next change."""
    org = await ask.house.orgs.get(ask.org(query.organization_id))
    current = await ask.house.ledger.subscriptions.current(org.org_id, org.account_id)
    if current is None:
        raise NotFound("The organisation has no subscription.")
    ask.headers["etag"] = etag(current)
    return await _answered(ask, org, current)


@endpoint("PUT", "/api/credits/tier", needs=Right.GIVE_CREDITS, tagged=True, versioned=True)
async def set_tier(ask: Ask, body: TierChange) -> TierView:
    """The organisation's plan is this one from now, or from the period's end, on: it subscribes, changes, takes back a
    cancellation, or with null cancels.

    A change now is prorated unless said otherwise: what the old plan gave for the time that is left is exchanged for
    what the new one gives for it, and what was used already is taken off.
    """
    org = await ask.house.orgs.get(ask.org(body.organization_id))
    subscriptions = ask.house.ledger.subscriptions
    key = ask.idempotency(org.org_id, body.plan, body.when, body.prorate)
    if body.plan is None:
        made = await subscriptions.cancel(
            org.org_id,
            org.account_id,
            operation_id=ask.house.ids.next(),
            when=body.when or "period_end",
            by=ask.origin,
            idempotency=key,
            guard=if_match(ask, what="subscription"),
        )
    else:
        made = await subscriptions.set_plan(
            org.org_id,
            org.account_id,
            _plan(ask, body.plan),
            new_id=ask.house.ids.next,
            when=body.when or "now",
            prorate=body.prorate,
            by=ask.origin,
            idempotency=key,
            guard=if_match(ask, what="subscription"),
        )
    ask.headers["etag"] = etag(made)
    return await _answered(ask, org, made)


@endpoint("POST", "/api/credits/monthly-allocation", needs=Right.GIVE_CREDITS)
async def allocate(ask: Ask, body: Allocation) -> TierView:
    """Gives what the plan owes by now. Periods follow each other by themselves, when somebody looks at the account or
    within seconds; so this never gives anything twice, however often it is asked.
    """
    org = await ask.house.orgs.get(ask.org(body.organization_id))
    current = await ask.house.ledger.subscriptions.current(org.org_id, org.account_id)
    if current is None:
        raise NotFound("The organisation has no subscription; nothing was given.")
    return await _answered(ask, org, current)


async def _answered(ask: Ask, org: Org, made: Subscription) -> TierView:
    ask.replayed(made.repeated)
    balance = await ask.house.ledger.balance(org.org_id)
    return TierView(
        id=made.id,
        organization_id=org.org_id,
        plan=_plan_view(made.plan),
        next_plan=None if made.next_plan is None else _plan_view(made.next_plan),
        period_start=made.period_start,
        period_end=made.period_end,
        cancels=made.cancels,
        ended_at=made.ended_at,
        owed_ucr=made.owed_ucr,
        owed=credits_text(made.owed_ucr),
        balance=StandingView(**standing(balance.balance_ucr, balance.held_ucr, balance.receivable_ucr)),
    )


def _plan(ask: Ask, id: str) -> Plan:
    plan = ask.house.plans.get(id)
    if plan is None:
        raise invalid("plan", f"is not known; there are: {', '.join(ask.house.plans) or 'none'}")
    return plan


def _plan_view(plan: Plan) -> PlanView:
    return PlanView(
        id=plan.id,
        name=plan.name,
        period=plan.period,
        credits_ucr=plan.amount_ucr,
        credits=credits_text(plan.amount_ucr),
        rollover_min_ucr=plan.rollover_min_ucr,
        rollover_min=credits_text(plan.rollover_min_ucr),
        rollover_max_ucr=plan.rollover_max_ucr,
        rollover_max=credits_text(plan.rollover_max_ucr),
        credit_line_ucr=plan.credit_line_ucr,
        credit_line=credits_text(plan.credit_line_ucr),
        priority=plan.priority,
    )
