"""/api/credits: credits given to organisations and what became of them, in µcr and in decimals."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, TypedDict
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.errors import NotFound
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.subject import own_id, whose
from gateway.edge.api.ways import Way, Ways
from gateway.edge.requests import Amount, Instant, amount_ucr, invalid
from gateway.ledger.accounts import Balance
from gateway.ledger.grants import PRIORITY_MAX, Grant, LiveGrant, TransactionType
from gateway.ledger.operations import TEXT_MAX

GRANTS_MAX: Final = 200
"""Shown in a balance."""


class Addition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Into the pool, a user's allocation, or any account of the organisation."""

    ways: ClassVar[Ways] = (
        Way(without=("user_id", "account_id")),
        Way(needs=("user_id",), without=("account_id",)),
        Way(needs=("account_id",), without=("user_id",)),
    )
    organization_id: UUID
    user_id: UUID | None = None
    """Whose allocation they go to; left out, the organisation's pool."""
    account_id: UUID | None = None
    """In place of `user_id`: the account they go to, such as a restricted one."""
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


class WhoseBalance(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: UUID | None = None
    """Their allocation alone."""


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


class BalancePart(msgspec.Struct, frozen=True, kw_only=True):
    """A grant that has something left, or is still to come."""

    id: UUID
    account_id: UUID
    kind: str
    """subscription, prepaid, quota, credit_line, bonus, refund, transfer_in or adjustment."""
    transaction_type: str | None
    reason: str | None
    priority: int
    """The lower, the earlier it is burned."""
    remaining_ucr: int
    remaining: str
    amount_ucr: int
    amount: str
    effective_at: datetime
    expires_at: datetime | None


class BalanceView(StandingView, frozen=True, kw_only=True):
    organization_id: UUID
    user_id: UUID | None
    """Whose allocation; null: all the organisation's accounts together."""
    open_count: int
    """Calls and reservations that hold credits."""
    granted_ucr: int
    """Since the accounts were opened; so is what was used."""
    granted: str
    used_ucr: int
    used: str
    grants: list[BalancePart]
    grants_complete: bool
    """False: there are more than are shown."""


class GrantView(StandingView, frozen=True, kw_only=True):
    id: UUID
    organization_id: UUID
    account_id: UUID
    transaction_type: TransactionType
    reason: str
    description: str
    priority: int
    amount_ucr: int
    amount: str
    effective_at: datetime
    expires_at: datetime | None
    created_at: datetime


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
    if body.account_id is not None and body.user_id is not None:
        raise invalid("account_id", "or `user_id` may be given, and not both")
    org = await house.orgs.get(ask.org(body.organization_id))
    grant = Grant(
        id=house.ids.next(),
        org_id=org.org_id,
        account_id=body.account_id or body.user_id or org.account_id,
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
        account_id=grant.account_id,
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


@endpoint("GET", "/api/credits/balance", needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS)
async def balance(ask: Ask, query: WhoseBalance) -> BalanceView:
    """What an organisation has, or one user's allocation, with every call that was answered before the question.

    `grants` is what the balance consists of, in the order in which each account burns it; those of the future have
    nothing remaining yet.
    """
    house = ask.house
    org_id = ask.org(query.organization_id)
    if query.user_id is not None:
        whose(ask, query.user_id)
    org = await house.orgs.get(org_id)
    await house.ledger.settled(org.org_id)
    account_id = None
    found: Balance | None
    if query.user_id is None:
        found = await house.ledger.balance(org.org_id)
    else:
        account_id = (await house.users.get(org.org_id, query.user_id)).account_id
        found = await house.ledger.account(org.org_id, account_id)
        if found is None:
            raise NotFound(f"User {query.user_id} has no account.")
    grants = await house.ledger.live_grants(org.org_id, account_id, seen_by=own_id(ask), limit=GRANTS_MAX + 1)
    return BalanceView(
        organization_id=org.org_id,
        user_id=query.user_id,
        open_count=found.open_count,
        granted_ucr=found.granted_ucr,
        granted=credits_text(found.granted_ucr),
        used_ucr=found.used_ucr,
        used=credits_text(found.used_ucr),
        grants=[_part(grant) for grant in grants[:GRANTS_MAX]],
        grants_complete=len(grants) <= GRANTS_MAX,
        **standing(found.balance_ucr, found.held_ucr, found.receivable_ucr),
    )


def _part(grant: LiveGrant) -> BalancePart:
    return BalancePart(
        id=grant.id,
        account_id=grant.account_id,
        kind=grant.kind,
        transaction_type=grant.transaction_type,
        reason=grant.reason,
        priority=grant.priority,
        remaining_ucr=grant.remaining_ucr,
        remaining=credits_text(grant.remaining_ucr),
        amount_ucr=grant.amount_ucr,
        amount=credits_text(grant.amount_ucr),
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
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
