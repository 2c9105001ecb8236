"""Charging for what has a price of its own, such as a feature: reserved and settled in one statement, like a call."""

from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.errors import InvalidRequest, TollgateError
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.tags import FEATURE_CHARS_MAX
from gateway.ledger.accounts import Executor
from gateway.ledger.operations import Facts, Standing, check_amount, check_texts, perform
from gateway.ledger.unpaid import STATUSES, Unpaid
from gateway.ledger.used import Used
from gateway.postgres.queries import load

_SQL = load("operations")
LINE_CHARS_MAX: Final = FEATURE_CHARS_MAX


class Deduction(msgspec.Struct, frozen=True, kw_only=True):
    """What was used, to be paid whole by one account."""

    id: UUID
    account_ids: tuple[UUID, ...]
    """Those that may pay, in the order in which they are tried."""
    used: Used
    user_id: UUID | None = None
    key_id: UUID | None = None


class Deducted(Standing, frozen=True, kw_only=True):
    """The charge, and its account right after."""

    id: UUID
    account_id: UUID
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
    used = deduction.used
    if used.cost_ucr or used.feature:  # what was used elsewhere and was free is told all the same
        check_amount(used.cost_ucr)
    for name, units, price_ucr in used.lines:
        check_texts(feature=name)
        if not 1 <= len(name) <= LINE_CHARS_MAX:
            raise InvalidRequest(f"feature must have 1 to {LINE_CHARS_MAX} characters.", param="feature")
        if units < 1 or price_ucr < 0:
            raise InvalidRequest("The quantity must be above zero and the price not negative.", param="quantity")
    return await perform(
        connection,
        _SQL.deduct,
        (
            org_id,
            deduction.id,
            list(deduction.account_ids),
            used.row(),
            deduction.user_id,
            deduction.key_id,
            receivable_max_ucr,
        ),
        by=by,
        idempotency=idempotency,
        answer=Deducted,
        refusals={status: partial(_refused, status, used.cost_ucr) for status in STATUSES},
    )


def _refused(status: str, required_ucr: int, facts: Facts) -> TollgateError:
    resets_at = facts.get("resets_at")
    return Unpaid(
        required_ucr=required_ucr,
        available_ucr=facts.get("available_ucr") or 0,
        budget_scope=facts.get("budget_scope"),
        resets_at=None if resets_at is None else datetime.fromisoformat(resets_at),
        undone="nothing was deducted",
    ).error(status)
