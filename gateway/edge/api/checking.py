"""/api/credits: what applications ask before they use something. Is there enough, and may it be kept for me?"""

from datetime import datetime
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.errors import TollgateError
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.keys import ModelName
from gateway.edge.api.priced import Expected, Life, OperationId, Tokens, UsageType, expected_ucr, idempotency_of
from gateway.edge.api.subject import Subject, UserId, owner_of, subject_of
from gateway.ledger.owned import OwnedHold, OwnedWish


class Validation(Expected, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: UserId = None


class Check(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: UserId = None
    model: ModelName
    expected_input_tokens: Tokens
    expected_output_tokens: Tokens
    usage_type: UsageType = "MODEL_CALL"
    """The caller's own word."""
    operation_id: OperationId | None = None
    """What is held is held once under this name, whatever the Idempotency-Key."""
    reserve: bool = False
    """Hold what it may cost, so that it is there when the work is done."""
    expires_in_s: Life | None = None
    """How long it is held, unless it is settled before; 600 unless said."""


class Enough(msgspec.Struct, frozen=True, kw_only=True):
    has_enough_credits: bool
    required_ucr: int
    required: str
    available_ucr: int
    """To the account that would pay, or within the budget that does not cover it; nothing is held for it."""
    available: str
    reason: str | None
    """Why not: the code of the error that a deduction would meet."""
    message: str | None


class CheckView(msgspec.Struct, frozen=True, kw_only=True):
    has_credits: bool
    model: str
    usage_type: str
    required_ucr: int
    required: str
    available_ucr: int
    """Left for others, once this is held."""
    available: str
    reason: str | None
    message: str | None
    reservation_id: UUID | None
    expires_at: datetime | None


@endpoint("POST", "/api/credits/validate", needs=Right.SPEND_CREDITS)
async def validate(ask: Ask, body: Validation) -> Enough:
    """Has the account enough for an amount, or for a call of a model with so many tokens?

    The ledger is asked as if it were to be held, budgets and limits included; nothing is.
    """
    subject = subject_of(ask, body.organization_id, body.user_id)
    required_ucr = await expected_ucr(ask, subject.org_id, body)
    hold = await ask.house.ledger.owned.try_out(
        owner_of(ask, subject.org_id), await wish(ask, subject, required_ucr, model=body.model or "")
    )
    no = _why_not(hold, required_ucr)
    available_ucr = hold.available_ucr + (required_ucr if no is None else 0)
    return Enough(
        has_enough_credits=no is None,
        required_ucr=required_ucr,
        required=credits_text(required_ucr),
        available_ucr=available_ucr,
        available=credits_text(available_ucr),
        reason=None if no is None else no.code,
        message=None if no is None else str(no),
    )


@endpoint("POST", "/api/credits/check", needs=Right.SPEND_CREDITS)
async def check(ask: Ask, body: Check) -> CheckView:
    """Are there credits for so many tokens of this model? With `reserve` they are held, under an id to settle later.

    A refusal is an answer here, not an error. The amount is the most that the tokens can cost at any provider that may
    serve the model.
    """
    subject = subject_of(ask, body.organization_id, body.user_id)
    owned, owner = ask.house.ledger.owned, owner_of(ask, subject.org_id)
    tokens = body.expected_input_tokens, body.expected_output_tokens
    expected = Expected(model=body.model, expected_input_tokens=tokens[0], expected_output_tokens=tokens[1])
    required_ucr = await expected_ucr(ask, subject.org_id, expected)
    wanted = await wish(ask, subject, required_ucr, model=body.model)
    if body.reserve:
        meaning = (subject.org_id, subject.user_id, body.model, tokens, body.usage_type, body.expires_in_s)
        key = idempotency_of(ask, body.operation_id, *meaning)
        [hold] = await owned.reserve(owner, [wanted], by=ask.origin, life_s=body.expires_in_s, idempotency=key)
        ask.replayed(hold.repeated)
    else:
        hold = await owned.try_out(owner, wanted)
    no = _why_not(hold, required_ucr)
    return CheckView(
        has_credits=no is None,
        model=body.model,
        usage_type=body.usage_type,
        required_ucr=required_ucr,
        required=credits_text(required_ucr),
        available_ucr=hold.available_ucr,
        available=credits_text(hold.available_ucr),
        reason=None if no is None else no.code,
        message=None if no is None else str(no),
        reservation_id=hold.id if body.reserve and no is None else None,
        expires_at=hold.expires_at if body.reserve and no is None else None,
    )


async def wish(ask: Ask, subject: Subject, required_ucr: int, *, model: str) -> OwnedWish:
    """With the accounts that may pay for it. Raises NotFound (no such user)."""
    payers = await ask.house.ledger.payers(subject.org_id, user_id=subject.user_id, model=model)
    return OwnedWish(
        id=ask.house.ids.next(),
        account_ids=payers,
        amount_ucr=required_ucr,
        user_id=subject.user_id,
        key_id=subject.key_id,
        model=model,
    )


def _why_not(hold: OwnedHold, required_ucr: int) -> TollgateError | None:
    return None if hold.held else hold.refusal(required_ucr=required_ucr)
