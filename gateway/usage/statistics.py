"""What an organisation used, in groups: from day rows that are rolled up behind the calls, never from the calls."""

from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("statistics")
_VERSIONS_AT_ONCE: Final = 20_000
_ORGS_AT_ONCE: Final = 1_000
_NOBODY: Final = UUID(int=0)


class GroupBy(StrEnum):
    DAY = "day"
    MODEL = "model"
    USER = "user"
    KEY = "key"
    FEATURE = "feature"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Sums. Costs are charged + overage + waived, late corrections included; refunds by hand stand apart."""

    name: str | None
    """The day, model, feature, or the user's or key's id; None: calls that have none."""
    calls: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_ucr: int
    charged_ucr: int
    overage_ucr: int
    waived_ucr: int
    refunded_ucr: int


NOTHING: Final = Group(
    name=None,
    calls=0,
    failed=0,
    prompt_tokens=0,
    cached_tokens=0,
    output_tokens=0,
    reasoning_tokens=0,
    cost_ucr=0,
    charged_ucr=0,
    overage_ucr=0,
    waived_ucr=0,
    refunded_ucr=0,
)


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Of which use; None: any. Days are half-open."""

    first_day: date
    end_day: date
    model: str | None = None
    user_id: UUID | None = None
    key_id: UUID | None = None
    feature: str | None = None


class Statistics:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def today(self, org_id: UUID, now: datetime) -> tuple[str, date]:
        """The organisation's time zone, and what day it is there."""
        zone: str = await self._pool.fetchval(_SQL.zone_of, org_id)
        return zone, now.astimezone(ZoneInfo(zone)).date()

    @unavailable_in_outage
    async def groups(self, org_id: UUID, slice: Slice, by: GroupBy, *, limit: int) -> tuple[list[Group], Group]:
        """The groups, days in order and all else the dearest first, and the sum of all of them, shown or not.

        With every row that was committed before the call.
        """
        await self.roll_up(org_id)
        asked = (slice.model, slice.user_id, slice.key_id, slice.feature)
        rows = await self._pool.fetch(_SQL.groups, org_id, slice.first_day, slice.end_day, by, *asked, limit)
        whole = await self._pool.fetchrow(_SQL.groups, org_id, slice.first_day, slice.end_day, "all", *asked, 1)
        return [_group(row) for row in rows], NOTHING if whole is None else _group(whole)

    @unavailable_in_outage
    async def roll_up(self, org_id: UUID) -> None:
        while await self._pool.fetchval(_SQL.roll_up, org_id, _VERSIONS_AT_ONCE):
            pass

    async def roll_up_all(self) -> None:
        """Of every organisation that is behind: done before a month leaves the ledger, and before anybody must wait."""
        last = _NOBODY
        while orgs := await self._pool.fetch(_SQL.orgs_behind, last, _ORGS_AT_ONCE):
            for (org_id,) in orgs:
                await self.roll_up(org_id)
                last = org_id


def _group(row: asyncpg.Record) -> Group:
    return Group(**dict(row.items()))
