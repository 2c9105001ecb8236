"""/api/credits: what was used is charged, by the name of a feature, as an amount, or as tokens of a model."""

from datetime import datetime
from typing import Annotated, ClassVar, Final
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.idempotency import Idempotency
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg, StandingView, standing
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.priced import OperationId, Spent, Tags, UsageType, Word, idempotency_of, tagged, used
from gateway.edge.api.subject import Subject, UserId, owner_of, subject_of
from gateway.edge.api.ways import Way, Ways
from gateway.edge.requests import Amount, amount_ucr, invalid, left_out
from gateway.ledger.deductions import Deducted, Deduction
from gateway.ledger.owned import Owner
from gateway.ledger.used import Used

QUANTITY_MAX: Final = 1_000_000
Quantity = Annotated[int, msgspec.Meta(ge=1, le=QUANTITY_MAX)]


class NewDeduction(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either a feature, or an amount with a reason."""

    ways: ClassVar[Ways] = (
        Way(needs=("feature",), without=("amount", "reason")),
        Way(needs=("amount", "reason"), without=("feature", "quantity")),
    )
    user_id: UserId = None
    feature: Word | None = None
    """An id of the features file; `quantity` times its price."""
    quantity: Quantity = 1
    amount: Amount = msgspec.field(default_factory=left_out)
    reason: Word | None = None
    """What the amount is for: the name of its line in the charge."""
    tags: Tags = ()
    """Up to 8, each of 1 to 64 visible ASCII characters but the comma: the transaction is found by each."""


class ChargeView(StandingView, frozen=True, kw_only=True):
    """One charge, and the account that paid it, right after."""

    id: UUID
    organization_id: UUID
    account_id: UUID
    user_id: UUID | None
    cost_ucr: int
    cost: str
    overage_ucr: int
    """Above what was reserved and could not be paid: owed now."""
    overage: str
    created_at: datetime | None
    """None where a reservation was settled."""


class NewUsage(Spent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What did not pass the proxy."""

    user_id: UserId = None
    usage_type: UsageType = "MODEL_CALL"
    reservation_id: UUID | None = None
    """Is settled with it."""
    operation_id: OperationId | None = None
    """Once under this name, whatever the Idempotency-Key."""


@endpoint("POST", "/api/credits/deduct", needs=Right.SPEND_CREDITS, status=201)
async def deduct(ask: Ask, body: NewDeduction) -> ChargeView:
    """Charges for a feature by its name, or an amount with a reason: whole or not at all.

    The accounts that may pay are tried in the order of the organisation's policy; budgets count like for calls.
    """
    subject = subject_of(ask, body.organization_id, body.user_id)
    asked, what = _deducted(ask, body)
    asked = tagged(asked, body.tags)
    lines = asked.lines if what is None else None
    meaning = (subject.org_id, subject.user_id, body.feature, body.quantity, lines, body.tags)
    return await _charge(ask, subject, asked, feature=body.feature or "", idempotency=ask.idempotency(*meaning))


@endpoint("POST", "/api/credits/usage", needs=Right.SPEND_CREDITS, status=201)
async def usage(ask: Ask, body: NewUsage) -> ChargeView:
    """Records what did not pass the proxy: a model's tokens at its prices of now, or an amount.

    With a reservation it is settled: what the cost is above it is charged too, and owed where the account has no more.
    Without one it is charged whole or, with 402, not at all. Once under its `operation_id`.
    """
    subject = subject_of(ask, body.organization_id, body.user_id)
    asked = await used(ask, subject.org_id, body, name=body.usage_type)
    tokens = body.input_tokens, body.cached_tokens, body.cache_write_tokens, body.output_tokens
    amount = asked.cost_ucr if body.model is None else None
    about = (body.usage_type, body.reservation_id, body.tags)
    meaning = (subject.org_id, subject.user_id, body.model, tokens, amount, *about)
    key = idempotency_of(ask, body.operation_id, *meaning)
    if body.reservation_id is None:
        return await _charge(ask, subject, asked, idempotency=key)
    return await settled(ask, owner_of(ask, subject.org_id), body.reservation_id, asked, idempotency=key)


async def settled(
    ask: Ask, owner: Owner, reservation_id: UUID, asked: Used, *, idempotency: Idempotency | None
) -> ChargeView:
    """A reservation's end. Raises like `OwnedReservations.settle_used`."""
    ending = await ask.house.ledger.owned.settle_used(
        owner, reservation_id, asked, by=ask.origin, idempotency=idempotency
    )
    ask.replayed(ending.repeated)
    return ChargeView(
        id=ending.id,
        organization_id=owner.org_id,
        account_id=ending.account_id,
        user_id=None,
        cost_ucr=ending.cost_ucr,
        cost=credits_text(ending.cost_ucr),
        overage_ucr=ending.overage_ucr,
        overage=credits_text(ending.overage_ucr),
        created_at=None,
        **standing(ending.balance_ucr, ending.held_ucr, ending.receivable_ucr),
    )


def _deducted(ask: Ask, body: NewDeduction) -> tuple[Used, str | None]:
    """What is charged, and the feature, where it is one. Raises InvalidRequest."""
    given = bool(bytes(body.amount))
    if body.feature is not None:
        if given or body.reason is not None:
            raise invalid("feature", "has a price and a name of its own: leave `amount` and `reason` out")
        feature = ask.house.features.get(body.feature)
        if feature is None:
            known = ", ".join(ask.house.features) or "none"
            raise invalid("feature", f"is not known; there are: {known}")
        return (
            Used.plainly(feature.id, price_ucr=feature.price_ucr, quantity=body.quantity, feature=feature.id),
            feature.id,
        )
    if not given or body.reason is None:
        raise invalid("reason", "and `amount` are required where no feature is named")
    if body.quantity != 1:
        raise invalid("quantity", "is of a feature, and an amount is whole")
    ucr = amount_ucr(body.amount, field="amount")
    return Used.plainly(body.reason, price_ucr=1, quantity=ucr, feature=body.reason), None


async def _charge(
    ask: Ask, subject: Subject, asked: Used, *, idempotency: Idempotency | None, feature: str = ""
) -> ChargeView:
    ledger = ask.house.ledger
    payers = await ledger.payers(subject.org_id, user_id=subject.user_id, model=asked.model, feature=feature)
    deduction = Deduction(
        id=ask.house.ids.next(),
        account_ids=payers,
        used=asked,
        user_id=subject.user_id,
        key_id=subject.key_id,
    )
    made = await ledger.desk.deduct(subject.org_id, deduction, by=ask.origin, idempotency=idempotency)
    ask.replayed(made.repeated)
    return _charge_view(subject, made)


def _charge_view(subject: Subject, made: Deducted) -> ChargeView:
    return ChargeView(
        id=made.id,
        organization_id=subject.org_id,
        account_id=made.account_id,
        user_id=subject.user_id,
        cost_ucr=made.amount_ucr,
        cost=credits_text(made.amount_ucr),
        overage_ucr=0,
        overage=credits_text(0),
        created_at=made.created_at,
        **standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    )
