"""/api/credits: credits that change hands inside an organisation, or are given or taken back."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg, StandingView, standing
from gateway.edge.api.endpoint import endpoint
from gateway.edge.requests import Amount, amount_ucr, invalid, left_out
from gateway.ledger.operations import TEXT_MAX, Standing

Note = Annotated[str, msgspec.Meta(max_length=TEXT_MAX, pattern=r"^[^\x00]*$")]
"""For people; it is kept in the history."""


class NewTransfer(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    from_account_id: UUID
    """The pool bears the organisation's id, a user's allocation the user's."""
    to_account_id: UUID
    amount: Amount
    description: Note = ""


class NewRefund(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    charge_id: UUID
    """The call's, the deduction's or the reservation's."""
    amount: Amount = msgspec.field(default_factory=left_out)
    """Left out: all that is left of the charge."""
    reason: Note = ""
    description: Note = ""


class Voiding(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    grant_id: UUID
    description: Note = ""


class TransferView(msgspec.Struct, frozen=True, kw_only=True):
    """Both accounts, right after."""

    id: UUID
    organization_id: UUID
    amount_ucr: int
    amount: str
    source: StandingView
    target: StandingView
    created_at: datetime


class RefundView(StandingView, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID
    account_id: UUID
    charge_id: UUID
    amount_ucr: int
    amount: str
    refundable_ucr: int
    """What is left of the charge."""
    refundable: str
    created_at: datetime


class VoidedView(StandingView, frozen=True, kw_only=True):
    id: UUID
    """The grant's."""
    organization_id: UUID
    taken_ucr: int
    taken: str
    protected_ucr: int
    """Held by open reservations; it leaves as they end."""
    protected: str
    voided_at: datetime


@endpoint("POST", "/api/credits/transfers", needs=Right.MOVE_CREDITS, status=201)
async def transfer(ask: Ask, body: NewTransfer) -> TransferView:
    """From one account of an organisation to another; priority, category and end of the credits stay as they are."""
    org_id = ask.org(body.organization_id)
    ucr = amount_ucr(body.amount, field="amount")
    if body.to_account_id == body.from_account_id:
        raise invalid("to_account_id", "must be another account than `from_account_id`")
    made = await ask.house.ledger.desk.transfer(
        org_id,
        source_id=body.from_account_id,
        target_id=body.to_account_id,
        id=ask.house.ids.next(),
        amount_ucr=ucr,
        note=body.description,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body.from_account_id, body.to_account_id, ucr, body.description),
    )
    ask.replayed(made.repeated)
    return TransferView(
        id=made.id,
        organization_id=org_id,
        amount_ucr=made.amount_ucr,
        amount=credits_text(made.amount_ucr),
        source=standing_view(made.source),
        target=standing_view(made.target),
        created_at=made.created_at,
    )


@endpoint("POST", "/api/credits/refunds", needs=Right.GIVE_CREDITS, status=201)
async def refund(ask: Ask, body: NewRefund) -> RefundView:
    """All of a charge, or a part, goes back to the grants that it burned; all refunds together never more than it."""
    org_id = ask.org(body.organization_id)
    ucr = amount_ucr(body.amount, field="amount") if bytes(body.amount) else None
    made = await ask.house.ledger.desk.refund(
        org_id,
        charge_id=body.charge_id,
        id=ask.house.ids.next(),
        amount_ucr=ucr,
        reason=body.reason,
        note=body.description,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body.charge_id, ucr, body.reason, body.description),
    )
    ask.replayed(made.repeated)
    return RefundView(
        id=made.id,
        organization_id=org_id,
        account_id=made.account_id,
        charge_id=body.charge_id,
        amount_ucr=made.amount_ucr,
        amount=credits_text(made.amount_ucr),
        refundable_ucr=made.refundable_ucr,
        refundable=credits_text(made.refundable_ucr),
        created_at=made.created_at,
        **standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    )


@endpoint("POST", "/api/credits/void", needs=Right.GIVE_CREDITS)
async def void(ask: Ask, body: Voiding) -> VoidedView:
    """Takes back what is left of a grant, but for what open reservations hold of it. Once; again changes nothing."""
    org_id = ask.org(body.organization_id)
    made = await ask.house.ledger.desk.void(
        org_id,
        body.grant_id,
        note=body.description,
        by=ask.origin,
        idempotency=ask.idempotency(org_id, body.grant_id, body.description),
    )
    ask.replayed(made.repeated)
    return VoidedView(
        id=made.id,
        organization_id=org_id,
        taken_ucr=made.taken_ucr,
        taken=credits_text(made.taken_ucr),
        protected_ucr=made.protected_ucr,
        protected=credits_text(made.protected_ucr),
        voided_at=made.voided_at,
        **standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    )


def standing_view(one: Standing) -> StandingView:
    return StandingView(**standing(one.balance_ucr, one.held_ucr, one.receivable_ucr))
