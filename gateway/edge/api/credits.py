"""/api/credits: credits given to organisations and what became of them, in µcr and in decimals."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, TypedDict
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.requests import Amount, Instant, Limit, Offset, amount_ucr, invalid
from gateway.ledger.accounts import Balance, Transaction
from gateway.ledger.grants import PRIORITY_MAX, Grant, TransactionType
from gateway.ledger.operations import TEXT_MAX

# Ledger rows that no caller of the API named: what document 004 calls them.
_TYPES: Final = {"CHARGE": "USAGE", "RELEASE": "USAGE", "LATE_CHARGE": "USAGE"}
_CALL_REASON: Final = "MODEL_USAGE"


class Addition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID
    user_id: UUID | None = None
    """Whose allocation they go to; left out, the organisation's pool."""
    amount: Amount
    transaction_type: TransactionType
    reason: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
    """AI_CHAT, MODEL_USAGE, VOICE_SYNTHESIS, PODCAST_GENERATION, MANUAL_ADJUSTMENT, SUBSCRIPTION_REFILL,
    WELCOME_BONUS, REFERRAL_BONUS, or the operator's own word of that form."""
    description: Annotated[str, msgspec.Meta(max_length=TEXT_MAX, pattern=r"^[^\x00]*$")] = ""
    expires_at: Instant | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 50
    """The lower, the earlier it is burned."""


class OfOrg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    organization_id: UUID | None = None
    """Whoever is not the operator may leave it out: their own is meant."""


class OrderBy(StrEnum):
    CREATED_AT = "created_at"
    AMOUNT = "amount"


class OrderDirection(StrEnum):
    ASC = "asc"
    DESC = "desc"


class HistoryQuery(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50
    offset: Offset = 0
    order_by: OrderBy = OrderBy.CREATED_AT
    order_direction: OrderDirection = OrderDirection.DESC


class StandingView(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account stands, in µcr and in decimal credits."""

    balance_ucr: int
    """Posted; includes what is held."""
    held_ucr: int
    available_ucr: int
    receivable_ucr: int
    """Owed; the next credits repay it first."""
    balance: str
    held: str
    available: str
    receivable: str


class BalanceView(StandingView, frozen=True, kw_only=True):
    organization_id: UUID
    open_count: int
    """Calls and reservations that hold credits."""


class GrantView(StandingView, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID
    transaction_type: TransactionType
    reason: str
    description: str
    priority: int
    amount_ucr: int
    amount: str
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime


class TransactionView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    created_at: datetime
    kind: str
    """What the ledger calls it."""
    transaction_type: str
    reason: str | None
    description: str
    actor: str | None
    amount_ucr: int
    """Negative where credits went."""
    amount: str
    balance_after_ucr: int
    balance_after: str
    reference_id: UUID | None
    end: str | msgspec.UnsetType | None = msgspec.UNSET
    """How a call ended; this and what follows, of calls alone."""
    key_id: UUID | msgspec.UnsetType | None = msgspec.UNSET
    model: str | msgspec.UnsetType | None = msgspec.UNSET
    cost_ucr: int | msgspec.UnsetType | None = msgspec.UNSET
    overage_ucr: int | msgspec.UnsetType | None = msgspec.UNSET
    waived_ucr: int | msgspec.UnsetType | None = msgspec.UNSET


class TransactionPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[TransactionView]
    total: int
    limit: Limit
    offset: Offset


@endpoint("POST", "/api/credits/add", needs=Right.GIVE_CREDITS, status=201)
async def add(ask: Ask, body: Addition) -> GrantView:
    """Gives credits: a purchase, a bonus, a refill, an adjustment.

    Answers with the grant and where the account stands right after it; repeated under its Idempotency-Key, the same
    again.
    """
    house = ask.house
    amount = amount_ucr(body.amount, field="amount")
    if body.expires_at is not None and body.expires_at <= house.clock.now():
        raise invalid("expires_at", "must be in the future")
    org = await house.orgs.get(ask.org(body.organization_id))
    grant = Grant(
        id=house.ids.next(),
        org_id=org.org_id,
        account_id=body.user_id or org.account_id,
        amount_ucr=amount,
        transaction_type=body.transaction_type,
        reason=body.reason,
        description=body.description,
        expires_at=body.expires_at,
        priority=body.priority,
    )
    meaning = (
        grant.org_id,
        grant.account_id,
        grant.amount_ucr,
        grant.transaction_type,
        grant.reason,
        grant.description,
        grant.expires_at,
        grant.priority,
    )
    made = await house.ledger.grant(grant, by=ask.origin, idempotency=ask.idempotency(*meaning))
    ask.replayed(made.repeated)
    return GrantView(
        id=made.id,
        organization_id=org.org_id,
        transaction_type=grant.transaction_type,
        reason=grant.reason,
        description=grant.description,
        priority=body.priority,
        amount_ucr=made.amount_ucr,
        amount=credits_text(made.amount_ucr),
        effective_at=made.effective_at,
        expires_at=made.expires_at,
        created_at=made.created_at,
        **standing(made.balance_ucr, made.held_ucr, made.receivable_ucr),
    )


@endpoint("GET", "/api/credits/balance", needs=Right.READ_CREDITS)
async def balance(ask: Ask, query: OfOrg) -> BalanceView:
    """What an organisation has, with every call that was answered before the question was asked."""
    house = ask.house
    org = await house.orgs.get(ask.org(query.organization_id))
    await house.ledger.settled(org.org_id)
    return balance_view(org.org_id, await house.ledger.balance(org.org_id))


@endpoint("GET", "/api/credits/transactions", needs=Right.READ_CREDITS)
async def transactions(ask: Ask, query: HistoryQuery) -> TransactionPage:
    """Rows that changed a balance, with every call that was answered before the question was asked."""
    house = ask.house
    org = await house.orgs.get(ask.org(query.organization_id))
    await house.ledger.settled(org.org_id)
    rows, total = await house.ledger.transactions(
        org.org_id,
        limit=query.limit,
        offset=query.offset,
        order_by=query.order_by.value,
        order_direction=query.order_direction.value,
    )
    return TransactionPage(
        data=[transaction_view(row) for row in rows], total=total, limit=query.limit, offset=query.offset
    )


def balance_view(org_id: UUID, balance: Balance) -> BalanceView:
    return BalanceView(
        organization_id=org_id,
        open_count=balance.open_count,
        **standing(balance.balance_ucr, balance.held_ucr, balance.receivable_ucr),
    )


def transaction_view(row: Transaction) -> TransactionView:
    view = TransactionView(
        id=row.id,
        created_at=row.created_at,
        kind=row.kind,
        transaction_type=row.transaction_type or _TYPES.get(row.kind, row.kind),
        reason=row.reason or (_CALL_REASON if row.kind in _TYPES else None),
        description=row.note or "",
        actor=row.actor or None,
        amount_ucr=row.amount_ucr,
        amount=credits_text(row.amount_ucr),
        balance_after_ucr=row.balance_after_ucr,
        balance_after=credits_text(row.balance_after_ucr),
        reference_id=row.ref_id,
    )
    if row.kind not in _TYPES:
        return view
    return msgspec.structs.replace(
        view,
        end=row.ended,
        key_id=row.key_id,
        model=row.model,
        cost_ucr=row.cost_ucr,
        overage_ucr=row.overage_ucr,
        waived_ucr=row.waived_ucr,
    )


class _Figures(TypedDict):
    balance_ucr: int
    held_ucr: int
    available_ucr: int
    receivable_ucr: int
    balance: str
    held: str
    available: str
    receivable: str


def standing(balance_ucr: int, held_ucr: int, receivable_ucr: int) -> _Figures:
    """The fields of a StandingView."""
    available_ucr = balance_ucr - held_ucr
    return {
        "balance_ucr": balance_ucr,
        "held_ucr": held_ucr,
        "available_ucr": available_ucr,
        "receivable_ucr": receivable_ucr,
        "balance": credits_text(balance_ucr),
        "held": credits_text(held_ucr),
        "available": credits_text(available_ucr),
        "receivable": credits_text(receivable_ucr),
    }
