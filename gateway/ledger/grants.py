"""Credits coming in. A grant is made once per id and once per idempotency key, and stored with its answer."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.ledger.accounts import Executor
from gateway.ledger.operations import Standing, check_amount, check_texts, perform
from gateway.postgres.queries import load

_SQL = load("grants")
PRIORITY_MAX: Final = 32_767
PRIORITY_DEFAULT: Final = 50
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class TransactionType(StrEnum):
    """Where credits come from, as callers of the API say it."""

    PURCHASE = "PURCHASE"
    BONUS = "BONUS"
    SUBSCRIPTION = "SUBSCRIPTION"
    REFILL = "REFILL"
    REFUND = "REFUND"
    ADJUSTMENT = "ADJUSTMENT"


class GrantKind(StrEnum):
    """What a grant is. Transfers make one more kind by themselves."""

    SUBSCRIPTION = "subscription"
    PREPAID = "prepaid"
    QUOTA = "quota"
    CREDIT_LINE = "credit_line"
    """Paid afterwards; burned last of all."""
    BONUS = "bonus"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"


KINDS: Final = {
    TransactionType.PURCHASE: GrantKind.PREPAID,
    TransactionType.BONUS: GrantKind.BONUS,
    TransactionType.SUBSCRIPTION: GrantKind.SUBSCRIPTION,
    TransactionType.REFILL: GrantKind.SUBSCRIPTION,
    TransactionType.REFUND: GrantKind.REFUND,
    TransactionType.ADJUSTMENT: GrantKind.ADJUSTMENT,
}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Spending power for an account. Lower priorities burn first; among equals, what expires first."""

    id: UUID
    org_id: UUID
    account_id: UUID
    amount_ucr: int
    transaction_type: TransactionType
    kind: GrantKind | None = None
    """None: what the transaction type says."""
    reason: str = ""
    description: str = ""
    effective_at: datetime | None = None
    """None: now. One of the future is not spendable before."""
    expires_at: datetime | None = None
    priority: int | None = None
    """None: 50. A credit line has the last one, whatever is asked."""
    category: Literal["promo", "paid"] | None = None
    """None: promo for a bonus, paid for others."""
    source_id: UUID | None = None
    """What it was made from: an order, a subscription."""
    paid_minor: int | None = None
    """What was paid, in the currency's smallest unit."""
    paid_currency: str | None = None
    """ISO 4217."""

    def row(self) -> tuple[object, ...]:
        """In the order of `grant_item`."""
        kind = self.kind or KINDS[self.transaction_type]
        priority = PRIORITY_DEFAULT if self.priority is None else self.priority
        return (
            self.id,
            self.account_id,
            kind,
            self.category or ("promo" if kind is GrantKind.BONUS else "paid"),
            PRIORITY_MAX if kind is GrantKind.CREDIT_LINE else priority,
            self.amount_ucr,
            self.effective_at,
            self.expires_at,
            self.transaction_type,
            self.reason,
            self.description,
            self.source_id,
            self.paid_minor,
            self.paid_currency,
        )


class GrantResult(Standing, frozen=True, kw_only=True):
    """What was granted, and the account right after. A repetition gets the first answer, `repeated` set."""

    id: UUID
    amount_ucr: int
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    repeated: bool = False


class LiveGrant(msgspec.Struct, frozen=True, kw_only=True):
    """One that has something left, or is still to come: then nothing remains yet."""

    id: UUID
    account_id: UUID
    kind: str
    category: str
    priority: int
    amount_ucr: int
    remaining_ucr: int
    effective_at: datetime
    expires_at: datetime | None
    transaction_type: str | None
    reason: str | None


async def read_live_grants(
    connection: Executor, org_id: UUID, account_id: UUID | None, *, limit: int, seen_by: UUID | None = None
) -> list[LiveGrant]:
    """In the order in which each account burns them; None: of all the organisation's accounts.

    `seen_by`: without those of other users' allocations.
    """
    rows = await connection.fetch(_SQL.live_grants, org_id, account_id, limit, seen_by)
    return [LiveGrant(**dict(row.items())) for row in rows]


async def add_grant(
    connection: Executor, grant: Grant, *, by: Origin, idempotency: Idempotency | None = None
) -> GrantResult:
    """Raises InvalidRequest, NotFound (no such account), Conflict or IdempotencyMismatch; then nothing changed."""
    _check(grant)
    return await perform(
        connection,
        _SQL.add_grant,
        (grant.org_id, grant.row()),
        by=by,
        idempotency=idempotency,
        answer=GrantResult,
        refusals={
            "expired": lambda _: InvalidRequest("expires_at lies in the past; nothing was granted.", param="expires_at")
        },
    )


def _check(grant: Grant) -> None:
    check_amount(grant.amount_ucr)
    check_texts(reason=grant.reason, description=grant.description)
    if grant.priority is not None and not 0 <= grant.priority <= PRIORITY_MAX:
        raise InvalidRequest(f"The priority must be between 0 and {PRIORITY_MAX}.", param="priority")
    if grant.expires_at is not None and grant.effective_at is not None and grant.expires_at <= grant.effective_at:
        raise InvalidRequest("expires_at must be after effective_at.", param="expires_at")
    if (grant.paid_minor is None) != (grant.paid_currency is None):
        raise InvalidRequest("paid_minor and paid_currency belong together.", param="paid_currency")
    if grant.paid_minor is not None and not 0 <= grant.paid_minor < 1 << 63:
        raise InvalidRequest("paid_minor must not be negative.", param="paid_minor")
    if grant.paid_currency is not None and _CURRENCY.fullmatch(grant.paid_currency) is None:
        raise InvalidRequest("paid_currency must be a currency of ISO 4217.", param="paid_currency")
