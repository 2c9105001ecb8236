"""The rows of an organisation's ledger as its people look through them: page by page, with filters.

They are listed by their ids, which say when each call or operation began: that order is the primary key's, it never
changes, and a page that goes on after an id neither repeats nor misses a row that was there before. Filters have no
indexes, because every call would pay for them. Instead a page looks at so many rows and no more; where it finds too
few, it says from which row to look on.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.ids import first_id_at, unix_ms_of
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("transactions")
LOOK_ROWS: Final = 10_000
"""How many ledger rows a page looks at, beside those that it was told to pass over."""
EXPORT_ROWS: Final = 1_000
_OF_CALLS: Final = "USAGE"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = UUID(int=0)
_END: Final = UUID(int=2**128 - 1)


class OrderBy(StrEnum):
    CREATED_AT = "created_at"
    AMOUNT = "amount"


class Direction(StrEnum):
    ASC = "asc"
    DESC = "desc"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows; None: any."""

    type: str | None = None
    """PURCHASE, USAGE, EXPIRY, …"""
    reason: str | None = None
    model: str | None = None
    user_id: UUID | None = None
    """Whose calls, or whose account."""
    key_id: UUID | None = None
    tag: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Of when they began: half-open."""

    def ids(self) -> tuple[UUID, UUID]:
        """The first id that may be meant, and the one past the last."""
        return (
            _FIRST if self.since is None else first_id_from(self.since),
            _END if self.until is None else first_id_from(self.until),
        )

    @property
    def beside_calls(self) -> bool:
        """No row of a call can be meant."""
        return self.type not in (None, _OF_CALLS)

    def row(self) -> tuple[object, ...]:
        """In the order of the statements."""
        return self.type, self.reason, self.model, self.user_id, self.key_id, self.tag


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """One ledger row. `amount_ucr` has a sign; what is of calls is None where it is none."""

    id: UUID
    account_id: UUID
    kind: str
    transaction_type: str
    reason: str | None
    note: str | None
    actor: str | None
    amount_ucr: int
    balance_after_ucr: int
    ref_id: UUID | None
    posted_at: datetime
    ended: str | None
    user_id: UUID | None
    key_id: UUID | None
    model: str | None
    feature: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_ucr: int | None
    charged_ucr: int | None
    overage_ucr: int
    waived_ucr: int
    tags: str | None
    """JSON."""

    @property
    def created_at(self) -> datetime:
        """When it began, to the millisecond."""
        return _EPOCH + timedelta(milliseconds=unix_ms_of(self.id))


class OpenReservation(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    account_id: UUID
    held_ucr: int
    created_at: datetime
    expires_at: datetime | None
    """None: it lives as long as its call's process."""
    owner_kind: str
    """instance · api · job"""
    user_id: UUID | None
    key_id: UUID | None
    model: str | None
    feature: str | None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a list goes on: after this row, whether it is still there or not."""

    id: UUID
    amount_ucr: int = 0
    """For lists by amount."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    rows: list[Transaction]
    next: Place | None
    """None: this was all. Else the list goes on, even where the page is not full."""
    total: int | None
    """None where it was not asked from the beginning, or is above what one page looks at."""


class Transactions:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def page(
        self,
        org_id: UUID,
        wanted: Wanted,
        *,
        limit: int,
        offset: int = 0,
        order_by: OrderBy = OrderBy.CREATED_AT,
        direction: Direction = Direction.DESC,
        after: Place | None = None,
    ) -> Page:
        """By amount only where at most LOOK_ROWS rows lie between `since` and `until`: else InvalidRequest."""
        if order_by is OrderBy.AMOUNT:
            return await self._by_amount(org_id, wanted, limit=limit, offset=offset, direction=direction, after=after)
        first, end = wanted.ids()
        back = direction is Direction.DESC
        if after is not None and back:
            end = min(end, after.id)
        elif after is not None:
            first = max(first, UUID(int=after.id.int + 1))
        look = LOOK_ROWS + offset
        source = (org_id, first, end, look, wanted.beside_calls, *wanted.row())
        statement = _SQL.newest_first if back else _SQL.oldest_first
        found = [_transaction(row) for row in await self._pool.fetch(statement, *source, limit + 1, offset)]
        rows = found[:limit]
        if after is not None and len(found) > limit:
            return Page(rows=rows, next=Place(id=rows[-1].id), total=None)
        seen = await self._pool.fetchrow(_SQL.look_back if back else _SQL.look_ahead, *source)
        assert seen is not None
        all_seen = seen["looked"] < look
        last = rows[-1].id if len(found) > limit else None if all_seen else seen["last_id"]
        return Page(
            rows=rows,
            next=None if last is None else Place(id=last),
            total=seen["meant"] if all_seen and after is None else None,
        )

    async def _by_amount(
        self, org_id: UUID, wanted: Wanted, *, limit: int, offset: int, direction: Direction, after: Place | None
    ) -> Page:
        look = LOOK_ROWS + 1
        first, end = wanted.ids()
        source = (org_id, first, end, look, wanted.beside_calls)
        if await self._pool.fetchval(_SQL.is_longer_than, *source, LOOK_ROWS):
            raise InvalidRequest(
                f"order_by=amount sorts at most {LOOK_ROWS:,} rows, and there are more: narrow them with from and to, "
                "or with a type other than USAGE.",
                param="order_by",
            )
        sign = -1 if direction is Direction.DESC else 1
        found = [
            _transaction(row)
            for row in await self._pool.fetch(
                _SQL.by_amount,
                *source,
                *wanted.row(),
                limit + 1,
                offset,
                direction is Direction.DESC,
                None if after is None else sign * after.amount_ucr,
                None if after is None else after.id,
            )
        ]
        rows, last = found[:limit], found[limit - 1] if len(found) > limit else None
        seen = await self._pool.fetchrow(_SQL.look_back, *source, *wanted.row()) if after is None else None
        return Page(
            rows=rows,
            next=None if last is None else Place(id=last.id, amount_ucr=last.amount_ucr),
            total=None if seen is None else seen["meant"],
        )

    async def all(self, org_id: UUID, wanted: Wanted) -> AsyncIterator[list[Transaction]]:
        """Every row that is meant, oldest first, some at a time; between them nothing is held in the database.

        What ends meanwhile is in it if it began after the row that was read last.
        """
        after: Place | None = None
        while True:
            page = await self.page(org_id, wanted, limit=EXPORT_ROWS, direction=Direction.ASC, after=after)
            if page.rows:
                yield page.rows
            if page.next is None:
                return
            after = page.next

    @unavailable_in_outage
    async def open(self, org_id: UUID, wanted: Wanted, *, limit: int) -> list[OpenReservation]:
        """What is held now, newest first; none where a type, reason or tag is asked for that only rows have."""
        if wanted.type not in (None, _OF_CALLS) or wanted.reason is not None or wanted.tag is not None:
            return []
        rows = await self._pool.fetch(
            _SQL.open_reservations, org_id, *wanted.ids(), wanted.model, wanted.user_id, wanted.key_id, limit
        )
        return [OpenReservation(**dict(row.items())) for row in rows]


def first_id_from(at: datetime) -> UUID:
    """The smallest id that was made at the instant or later."""
    whole_ms, rest_us = divmod((at - _EPOCH) // timedelta(microseconds=1), 1000)
    return first_id_at(max(0, whole_ms + (rest_us > 0)))


def _transaction(row: asyncpg.Record) -> Transaction:
    return Transaction(**dict(row.items()))
