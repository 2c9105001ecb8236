"""Credits coming in. A grant is made once per id and once per idempotency key, and stored with its answer."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import IdempotencyMismatch, InvalidRequest, NotFound
from gateway.core.units import UCR_MAX
from gateway.ledger.accounts import Executor
from gateway.postgres.queries import load

_SQL = load("grants")
PRIORITY_MAX: Final = 32_767
TEXT_MAX: Final = 1_000


class TransactionType(StrEnum):
    """Where credits come from, as callers of the API say it."""

    PURCHASE = "PURCHASE"
    BONUS = "BONUS"
    SUBSCRIPTION = "SUBSCRIPTION"
    REFILL = "REFILL"
    REFUND = "REFUND"
    ADJUSTMENT = "ADJUSTMENT"


KINDS: Final = {
    TransactionType.PURCHASE: "prepaid",
    TransactionType.BONUS: "bonus",
    TransactionType.SUBSCRIPTION: "subscription",
    TransactionType.REFILL: "subscription",
    TransactionType.REFUND: "refund",
    TransactionType.ADJUSTMENT: "adjustment",
}


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Spending power for an account. Lower priorities burn first; among equals, what expires first."""

    id: UUID
    org_id: UUID
    account_id: UUID
    amount_ucr: int
    transaction_type: TransactionType
    reason: str = ""
    description: str = ""
    effective_at: datetime | None = None
    """None: now. One of the future is not spendable before."""
    expires_at: datetime | None = None
    priority: int = 50
    category: Literal["promo", "paid"] = "paid"
    actor: str = ""


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key, and a hash of what it asks for: the same key with another hash is a mistake."""

    key: str
    request_hash: bytes


class GrantResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, and the account right after. A repetition gets the first answer, `repeated` set."""

    id: UUID
    amount_ucr: int
    balance_ucr: int
    held_ucr: int
    receivable_ucr: int
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime
    repeated: bool = False


async def add_grant(connection: Executor, grant: Grant, idempotency: Idempotency | None) -> GrantResult:
    """Raises InvalidRequest, NotFound (no such account) or IdempotencyMismatch; then nothing changed."""
    _check(grant, idempotency)
    try:
        row = await connection.fetchrow(
            _SQL.add_grant,
            grant.org_id,
            grant.account_id,
            grant.id,
            KINDS[grant.transaction_type],
            grant.category,
            grant.priority,
            grant.amount_ucr,
            grant.effective_at,
            grant.expires_at,
            grant.transaction_type,
            grant.reason,
            grant.description,
            grant.actor,
            idempotency.key if idempotency else None,
            idempotency.request_hash if idempotency else None,
        )
    except asyncpg.CheckViolationError as error:
        if error.constraint_name == "ucr_within_bounds":
            raise InvalidRequest("The balance would pass the largest amount; nothing was granted.") from None
        raise
    assert row is not None
    match row["status"]:
        case "ok" | "exists":
            return msgspec.structs.replace(
                msgspec.json.decode(row["answer"], type=GrantResult), repeated=row["status"] == "exists"
            )
        case "mismatch":
            raise IdempotencyMismatch("This Idempotency-Key came before with another request; nothing changed.")
        case "expired":
            raise InvalidRequest("expires_at lies in the past; nothing was granted.", param="expires_at")
    raise NotFound("There is no such account; nothing was granted.")


def _check(grant: Grant, idempotency: Idempotency | None) -> None:
    if not 0 < grant.amount_ucr <= UCR_MAX:
        raise InvalidRequest("The amount must be above zero and within the largest amount.", param="amount")
    if not 0 <= grant.priority <= PRIORITY_MAX:
        raise InvalidRequest(f"The priority must be between 0 and {PRIORITY_MAX}.", param="priority")
    if grant.expires_at is not None and grant.effective_at is not None and grant.expires_at <= grant.effective_at:
        raise InvalidRequest("expires_at must be after effective_at.", param="expires_at")
    for param, text in (
        ("reason", grant.reason),
        ("description", grant.description),
        ("actor", grant.actor),
        ("Idempotency-Key", idempotency.key if idempotency else ""),
    ):
        if len(text) > TEXT_MAX or "\x00" in text:
            raise InvalidRequest(f"{param} must have at most {TEXT_MAX} characters and no NUL.", param=param)
