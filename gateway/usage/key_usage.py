"""What one key has used: to date, and in the current day, week and month (UTC; weeks begin on Monday)."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("usage")
_VERSIONS_AT_ONCE: Final = 20_000


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Charged and overage, less refunds; a period with more refunds than charges is below zero."""

    total_ucr: int
    day_ucr: int
    week_ucr: int
    month_ucr: int


class KeyUsage:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def of(self, *, org_id: UUID, user_id: UUID | None, key_id: UUID, now: datetime) -> Used:
        """With every row that was committed before the call, on whichever account. `user_id`: whose key it is."""
        for (account_id,) in await self._pool.fetch(_SQL.accounts_of_key, org_id, user_id):
            while await self._pool.fetchval(_SQL.roll_up_key_days, org_id, account_id, _VERSIONS_AT_ONCE):
                pass
        today = now.date()
        monday = today - timedelta(days=today.weekday())
        row = await self._pool.fetchrow(_SQL.key_usage, org_id, key_id, today, monday, today.replace(day=1))
        assert row is not None
        return Used(**dict(row))
