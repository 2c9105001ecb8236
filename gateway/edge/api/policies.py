"""/api/orgs/{org_id}/policy and /allocation-rules: which account pays first, and what users begin with."""

from typing import ClassVar, Literal
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.caller import UnsupportedFields
from gateway.core.payment_order import PaymentOrder
from gateway.core.roles import Role
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.etag import etag, if_match
from gateway.edge.api.ways import Way, Ways
from gateway.edge.requests import Amount, Line, amount_ucr
from gateway.ledger.allocations import AllocationRule
from gateway.ledger.plans import Period
from gateway.ledger.policy import Policy


class PolicyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    payment_order: PaymentOrder
    """Whether a user's allocation or the pool pays first; `allocation_only`: the pool never pays for a user."""
    time_zone: Line
    """An IANA name. Budgets' periods follow its clocks, subscriptions' from their next period on."""
    unsupported_fields: UnsupportedFields | None = None
    """Of a call that is translated, what its provider's dialect cannot say: `refuse` the call, `drop` the field, or
    `default`: as the gateway is set up. Absent: as it is."""


class PolicyView(msgspec.Struct, frozen=True, kw_only=True):
    organization_id: UUID
    payment_order: PaymentOrder
    time_zone: str
    unsupported_fields: UnsupportedFields


class RuleBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ways: ClassVar[Ways] = (
        Way(without=("period",), only={"kind": {"const": "transfer"}}),
        Way(needs=("period",), only={"kind": {"const": "quota"}}),
    )
    kind: Literal["transfer", "quota"]
    """`transfer`: credits out of the pool, once. `quota`: so much each period, without drawing on the pool."""
    amount: Amount
    period: Period | None = None
    """Of a quota."""


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    role: Role
    kind: Literal["transfer", "quota"]
    amount_ucr: int
    amount: str
    period: Period | None
    etag: str
    """For If-Match."""


class RuleList(msgspec.Struct, frozen=True, kw_only=True):
    data: list[RuleView]


@endpoint("GET", "/api/orgs/{org_id}/policy", needs=Right.READ_LIMITS, tagged=True)
async def get(ask: Ask, org_id: UUID) -> PolicyView:
    """What the organisation chose, or the defaults. `ETag` is for the next change."""
    org = await ask.house.orgs.get(ask.org(org_id))
    return _answered(ask, org.org_id, await ask.house.ledger.policies.get(org.org_id))


@endpoint("PUT", "/api/orgs/{org_id}/policy", needs=Right.WRITE_LIMITS, tagged=True, versioned=True)
async def put(ask: Ask, org_id: UUID, body: PolicyBody) -> PolicyView:
    """Chooses anew. Every process follows as soon as the database has told it, which takes milliseconds."""
    org_id = ask.org(org_id)
    policy = await ask.house.ledger.policies.set(
        org_id,
        payment_order=body.payment_order,
        time_zone=body.time_zone,
        unsupported_fields=body.unsupported_fields,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body),
        guard=if_match(ask, what="policy"),
    )
    ask.house.key_ring.forget_org(org_id)
    ask.replayed(policy.repeated)
    return _answered(ask, org_id, policy)


@endpoint("GET", "/api/orgs/{org_id}/allocation-rules", needs=Right.READ_LIMITS)
async def rules(ask: Ask, org_id: UUID) -> RuleList:
    """What new users of a role begin with; a role without a rule begins with nothing."""
    org = await ask.house.orgs.get(ask.org(org_id))
    return RuleList(data=[_rule_view(rule) for rule in await ask.house.ledger.allocations.rules(org.org_id)])


@endpoint("PUT", "/api/orgs/{org_id}/allocation-rules/{role}", needs=Right.WRITE_LIMITS, tagged=True, versioned=True)
async def put_rule(ask: Ask, org_id: UUID, role: Role, body: RuleBody) -> RuleView:
    """What users of this role begin with, from the next one that is made on."""
    org_id = ask.org(org_id)
    rule = AllocationRule(
        role=role, kind=body.kind, amount_ucr=amount_ucr(body.amount, field="amount"), period=body.period
    )
    made = await ask.house.ledger.allocations.set_rule(
        org_id,
        rule,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, rule),
        guard=if_match(ask, what="allocation rule"),
    )
    ask.replayed(made.repeated)
    view = _rule_view(made)
    ask.headers["etag"] = view.etag
    return view


@endpoint("DELETE", "/api/orgs/{org_id}/allocation-rules/{role}", needs=Right.WRITE_LIMITS, status=204, versioned=True)
async def delete_rule(ask: Ask, org_id: UUID, role: Role) -> None:
    """New users of this role begin with nothing. Again changes nothing."""
    org = await ask.house.orgs.get(ask.org(org_id))
    made = await ask.house.ledger.allocations.drop_rule(
        org.org_id,
        role,
        by=ask.origin,
        idempotency=ask.idempotency(org.org_id, role),
        guard=if_match(ask, what="allocation rule"),
    )
    ask.replayed(made.repeated)


def _answered(ask: Ask, org_id: UUID, policy: Policy) -> PolicyView:
    ask.headers["etag"] = etag(policy)
    return PolicyView(
        organization_id=org_id,
        payment_order=policy.payment_order,
        time_zone=policy.time_zone,
        unsupported_fields=policy.unsupported_fields,
    )


def _rule_view(rule: AllocationRule) -> RuleView:
    return RuleView(
        role=rule.role,
        kind=rule.kind,
        amount_ucr=rule.amount_ucr,
        amount=credits_text(rule.amount_ucr),
        period=rule.period,
        etag=etag(rule),
    )
