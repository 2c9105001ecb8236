"""Charging for what has a price of its own, such as a feature: reserved and settled in one statement, like a call."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.errors import (
    BudgetExceeded,
    CreditsReserved,
    Forbidden,
    InsufficientCredits,
    InvalidRequest,
    OrgSuspended,
    TollgateError,
    TooManyOpen,
)
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.ledger.accounts import Executor
from gateway.ledger.operations import Facts, Standing, check_amount, check_texts, perform
from gateway.postgres.queries import load

_SQL = load("operations")
_LINE_CHARS_MAX: Final = 64
_RETRY_AFTER_S: Final = 1


class Deduction(msgspec.Struct, frozen=True, kw_only=True):
    """So many of one thing at its price. A plain amount is that many microcredits at one each."""

    id: UUID
    account_id: UUID
    feature: str
    """The name of its line in the charge, for example `ai_generated_report`."""
    price_ucr: int
    quantity: int = 1
    user_id: UUID | None = None
    key_id: UUID | None = None

    @property
    def amount_ucr(self) -> int:
        return self.price_ucr * self.quantity


class Deducted(Standing, frozen=True, kw_only=True):
    """The charge, and its account right after."""

    id: UUID
    amount_ucr: int
    created_at: datetime
    repeated: bool = False


async def deduct(
    connection: Executor,
    org_id: UUID,
    deduction: Deduction,
    *,
    receivable_max_ucr: int,
    by: Origin,
    idempotency: Idempotency | None,
) -> Deducted:
    """Raises InvalidRequest, NotFound, Conflict, InsufficientCredits, CreditsReserved, BudgetExceeded, TooManyOpen,
    OrgSuspended or Forbidden.
    """
    if deduction.quantity < 1 or deduction.price_ucr < 0:
        raise InvalidRequest("The quantity must be above zero and the price not negative.", param="quantity")
    check_amount(deduction.amount_ucr)
    check_texts(feature=deduction.feature)
    if not 1 <= len(deduction.feature) <= _LINE_CHARS_MAX:
        raise InvalidRequest(f"feature must have 1 to {_LINE_CHARS_MAX} characters.", param="feature")
    required_ucr = deduction.amount_ucr

    def insufficient(facts: Facts) -> TollgateError:
        return InsufficientCredits(
            "The account has less available; nothing was deducted.",
            available_ucr=facts["available_ucr"],
            required_ucr=required_ucr,
        )

    def busy(facts: Facts) -> TollgateError:
        return CreditsReserved(
            "Open calls hold the credits; nothing was deducted.",
            available_ucr=facts["available_ucr"],
            required_ucr=required_ucr,
            retry_after_s=_RETRY_AFTER_S,
        )

    def budget(facts: Facts) -> TollgateError:
        resets_at = facts["resets_at"]
        return BudgetExceeded(
            f"The {facts['budget_scope']}'s budget does not cover it; nothing was deducted.",
            limit_source=f"{facts['budget_scope']}_budget",
            available_ucr=facts["available_ucr"],
            required_ucr=required_ucr,
            affordable_max_tokens=None,
            resets_at=None if resets_at is None else datetime.fromisoformat(resets_at),
        )

    return await perform(
        connection,
        _SQL.deduct,
        (
            org_id,
            deduction.account_id,
            deduction.id,
            deduction.feature,
            deduction.price_ucr,
            deduction.quantity,
            deduction.user_id,
            deduction.key_id,
            receivable_max_ucr,
        ),
        by=by,
        idempotency=idempotency,
        answer=Deducted,
        refusals={
            "insufficient": insufficient,
            "busy": busy,
            "budget": budget,
            "concurrency": lambda facts: TooManyOpen(
                f"As many calls are open as the {facts['budget_scope']}'s limit allows; nothing was deducted."
            ),
            "receivable": lambda _: Forbidden("Credits are owed; nothing was deducted before they are repaid."),
            "suspended": lambda _: OrgSuspended("The account is suspended; nothing was deducted."),
            "parked": lambda _: OrgSuspended("The account is parked; nothing was deducted."),
        },
    )
