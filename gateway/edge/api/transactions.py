"""/api/credits/transactions, /history and /export: what became of an organisation's credits, row by row."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

import msgspec

from gateway.core.access import Right
from gateway.core.units import credits_text
from gateway.edge.api.ask import Ask
from gateway.edge.api.credits import OfOrg
from gateway.edge.api.cursors import Cursor, place_cursor, read_place
from gateway.edge.api.endpoint import endpoint
from gateway.edge.api.subject import whose
from gateway.edge.requests import Instant, Limit, invalid
from gateway.usage.transactions import (
    LOOK_ROWS,
    Direction,
    OpenReservation,
    OrderBy,
    Page,
    Transaction,
    Wanted,
)

# What the history calls an allocation; every other type is its own word there, in small letters.
_ALLOCATIONS: Final = frozenset({"SUBSCRIPTION", "REFILL", "TRANSFER_IN"})

Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Passed = Annotated[int, msgspec.Meta(ge=0, le=LOOK_ROWS)]
"""Rows to pass over. Farther down, a cursor leads."""


class Include(StrEnum):
    RESERVATIONS = "reservations"


class Filter(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which rows; what is left out does not matter."""

    type: Word | None = None
    """PURCHASE, USAGE, REFUND, BONUS, SUBSCRIPTION, REFILL, ADJUSTMENT, TRANSFER_IN, TRANSFER_OUT, EXPIRY, VOID, …"""
    reason: Word | None = None
    model: Name | None = None
    user: UUID | None = None
    """Whose calls, or whose allocation."""
    key: UUID | None = None
    tag: Name | None = None
    from_: Instant | None = msgspec.field(default=None, name="from")
    """Of `created_at`: from here on …"""
    to: Instant | None = None
    """… and before this."""


class TransactionQuery(Filter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50
    offset: Passed = 0
    cursor: Cursor | None = None
    """The `next_cursor` of the page before; instead of `offset`."""
    order_by: OrderBy = OrderBy.CREATED_AT
    order_direction: Direction = Direction.DESC
    include: Include | None = None
    """`reservations`: also those that are open, on the first page."""


class HistoryQuery(OfOrg, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: UUID | None = None
    from_: Instant | None = msgspec.field(default=None, name="from")
    to: Instant | None = None
    limit: Limit = 50
    offset: Passed = 0
    cursor: Cursor | None = None


class TransactionView(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    account_id: UUID
    created_at: datetime
    """When the call or operation began: what lists are ordered by."""
    posted_at: datetime
    """When it changed the balance: a call, at its end."""
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
    """Of its account, in the order of `posted_at`."""
    balance_after: str
    reference_id: UUID | None
    tags: list[str] | None
    end: str | msgspec.UnsetType | None = msgspec.UNSET
    """How a call ended; this and what follows, of calls alone."""
    user_id: UUID | msgspec.UnsetType | None = msgspec.UNSET
    key_id: UUID | msgspec.UnsetType | None = msgspec.UNSET
    model: str | msgspec.UnsetType | None = msgspec.UNSET
    feature: str | msgspec.UnsetType | None = msgspec.UNSET
    prompt_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    output_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    cost_ucr: int | msgspec.UnsetType | None = msgspec.UNSET
    overage_ucr: int | msgspec.UnsetType = msgspec.UNSET
    waived_ucr: int | msgspec.UnsetType = msgspec.UNSET


class OpenView(msgspec.Struct, frozen=True, kw_only=True):
    """Credits that are held: no row yet."""

    id: UUID
    account_id: UUID
    created_at: datetime
    expires_at: datetime | None
    """null: it lives as long as its call."""
    owner: str
    """`instance` (a call of the gateway), `api` or `job`."""
    held_ucr: int
    held: str
    user_id: UUID | None
    key_id: UUID | None
    model: str | None
    feature: str | None


class TransactionPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[TransactionView]
    total: int | None
    """null with a cursor, and above 10,000."""
    limit: Limit
    offset: Passed
    next_cursor: str | None
    """null: that was all. A page that is not full may have one: rows that fit are rare, and it looked at 10,000."""
    reservations: list[OpenView] | msgspec.UnsetType = msgspec.UNSET


class HistoryView(msgspec.Struct, frozen=True, kw_only=True):
    """A row in fewer words."""

    id: UUID
    type: str
    """`allocation`, `purchase`, `usage`, or another type in small letters."""
    amount: str
    amount_ucr: int
    balance: str
    """After it."""
    balance_ucr: int
    feature: str | None
    """What was used: a feature, or a model."""
    description: str
    user_id: UUID | None
    created_at: datetime


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    data: list[HistoryView]
    total: int | None
    limit: Limit
    offset: Passed
    next_cursor: str | None


@endpoint("GET", "/api/credits/transactions", needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS)
async def transactions(ask: Ask, query: TransactionQuery) -> TransactionPage:
    """Rows that changed a balance, with every call that was answered before the question was asked.

    A page costs alike however long the history is: it looks at 10,000 rows at most, and says where to look on. By
    amount only that many rows are sorted; narrow them with `from` and `to`.
    """
    wanted, org_id = wanted_of(ask, query), await settled_org(ask, query)
    page = await _page(ask, org_id, wanted, query)
    open_: list[OpenView] | msgspec.UnsetType = msgspec.UNSET
    if query.include is Include.RESERVATIONS and query.cursor is None:
        open_ = [open_view(one) for one in await ask.house.transactions.open(org_id, wanted, limit=query.limit)]
    return TransactionPage(
        data=[transaction_view(row) for row in page.rows],
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        next_cursor=_next(page, query),
        reservations=open_,
    )


@endpoint("GET", "/api/credits/history", needs=Right.READ_CREDITS, own_without=Right.READ_ALL_CREDITS)
async def history(ask: Ask, query: HistoryQuery) -> HistoryPage:
    """The same rows as `transactions`, latest first, in fewer words."""
    asked = TransactionQuery(
        organization_id=query.organization_id,
        user=query.user_id,
        from_=query.from_,
        to=query.to,
        limit=query.limit,
        offset=query.offset,
        cursor=query.cursor,
    )
    page = await _page(ask, await settled_org(ask, asked), wanted_of(ask, asked), asked)
    return HistoryPage(
        data=[_history(row) for row in page.rows],
        total=page.total,
        limit=query.limit,
        offset=query.offset,
        next_cursor=_next(page, asked),
    )


def wanted_of(ask: Ask, query: Filter) -> Wanted:
    """Raises like Ask.org, InvalidRequest, or Forbidden where a member asks for a colleague's."""
    ask.org(query.organization_id)
    if query.from_ is not None and query.to is not None and query.to <= query.from_:
        raise invalid("to", "must be after `from`")
    return Wanted(
        type=query.type,
        reason=query.reason,
        model=query.model,
        user_id=whose(ask, query.user),
        key_id=query.key,
        tag=query.tag,
        since=query.from_,
        until=query.to,
    )


async def settled_org(ask: Ask, query: OfOrg) -> UUID:
    """The organisation that is meant, whose calls that have ended are posted. Raises like Ask.org, and NotFound."""
    org = await ask.house.orgs.get(ask.org(query.organization_id))
    await ask.house.ledger.settled(org.org_id)
    return org.org_id


async def _page(ask: Ask, org_id: UUID, wanted: Wanted, query: TransactionQuery) -> Page:
    if query.cursor is not None and query.offset:
        raise invalid("offset", "cannot be given beside `cursor`")
    return await ask.house.transactions.page(
        org_id,
        wanted,
        limit=query.limit,
        offset=query.offset,
        order_by=query.order_by,
        direction=query.order_direction,
        after=None if query.cursor is None else read_place(query.cursor, query.order_by, query.order_direction),
    )


def _next(page: Page, query: TransactionQuery) -> str | None:
    return None if page.next is None else place_cursor(page.next, query.order_by, query.order_direction)


def transaction_view(row: Transaction) -> TransactionView:
    view = TransactionView(
        id=row.id,
        account_id=row.account_id,
        created_at=row.created_at,
        posted_at=row.posted_at,
        kind=row.kind,
        transaction_type=row.transaction_type,
        reason=row.reason,
        description=row.note or "",
        actor=row.actor or None,
        amount_ucr=row.amount_ucr,
        amount=credits_text(row.amount_ucr),
        balance_after_ucr=row.balance_after_ucr,
        balance_after=credits_text(row.balance_after_ucr),
        reference_id=row.ref_id,
        tags=None if row.tags is None else msgspec.json.decode(row.tags, type=list[str]),
    )
    if row.ended is None:
        return view
    return msgspec.structs.replace(
        view,
        end=row.ended,
        user_id=row.user_id,
        key_id=row.key_id,
        model=row.model,
        feature=row.feature,
        prompt_tokens=row.prompt_tokens,
        output_tokens=row.output_tokens,
        cost_ucr=row.cost_ucr,
        overage_ucr=row.overage_ucr,
        waived_ucr=row.waived_ucr,
    )


def open_view(one: OpenReservation) -> OpenView:
    return OpenView(
        id=one.id,
        account_id=one.account_id,
        created_at=one.created_at,
        expires_at=one.expires_at,
        owner=one.owner_kind,
        held_ucr=one.held_ucr,
        held=credits_text(one.held_ucr),
        user_id=one.user_id,
        key_id=one.key_id,
        model=one.model,
        feature=one.feature,
    )


def _history(row: Transaction) -> HistoryView:
    allocation = row.transaction_type in _ALLOCATIONS
    return HistoryView(
        id=row.id,
        type="allocation" if allocation else row.transaction_type.lower(),
        amount=credits_text(row.amount_ucr),
        amount_ucr=row.amount_ucr,
        balance=credits_text(row.balance_after_ucr),
        balance_ucr=row.balance_after_ucr,
        feature=row.feature or row.model,
        description=row.note or "",
        user_id=row.user_id,
        created_at=row.created_at,
    )
