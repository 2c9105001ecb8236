"""What happened a moment ago, as if it had happened months ago; and archiving it."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg

from gateway.ledger.accounts import Executor
from gateway.ledger.archive import archive_months
from gateway.ledger.audit import Violation, find_violations
from gateway.ledger.month_file import Manifest
from gateway.ledger.options import LedgerSettings

# References to rows move with the rows. A late row's id follows from its call's.
_MOVE = """
CREATE TEMP TABLE chapter AS
SELECT begins_at, coalesce(lead(begins_at) OVER (ORDER BY begins_at), 'infinity') AS ends_at,
       begins_at - (first_day + 9)::timestamp AT TIME ZONE 'UTC' AS shift
  FROM unnest($1::timestamptz[], $2::date[]) AS c (begins_at, first_day)
"""
_MOVED = """
CREATE FUNCTION pg_temp.moved(p_id uuid) RETURNS uuid LANGUAGE sql AS $$
    SELECT coalesce((SELECT overlay(p_id::text PLACING left(first_id_at(id_time(p_id) - shift)::text, 13) FROM 1)::uuid
                       FROM chapter WHERE id_time(p_id) >= begins_at AND id_time(p_id) < ends_at), p_id)
$$
"""
_ROWS = """
UPDATE ledger l
   SET id = CASE WHEN l.ref_id IS NOT NULL AND l.id = late_id(l.ref_id) THEN late_id(pg_temp.moved(l.ref_id))
                 ELSE pg_temp.moved(l.id) END,
       ref_id = CASE WHEN l.kind IN ('EXPIRY', 'VOID', 'GRANT') THEN l.ref_id ELSE pg_temp.moved(l.ref_id) END,
       created_at = l.created_at - coalesce((SELECT shift FROM chapter WHERE l.created_at >= begins_at
                                                AND l.created_at < ends_at), '0')
"""


def months_ago(months: int) -> date:
    today = datetime.now(UTC).date()
    number = today.year * 12 + today.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


class Past:
    """Chapters of the test's own story; each becomes a month, the last stays the present."""

    def __init__(self, owner: asyncpg.Connection) -> None:
        self._owner = owner
        self._begins: list[datetime] = []

    async def next_chapter(self) -> None:
        self._begins.append(await self._owner.fetchval("SELECT date_trunc('milliseconds', clock_timestamp())"))

    async def settle_down(self) -> list[date]:
        """Moves every chapter but the last to a month of its own; the months, oldest first. Calls still open stay."""
        await self.next_chapter()
        months = [months_ago(ago) for ago in range(len(self._begins) + 1, 2, -1)]
        async with self._owner.transaction():
            await self._owner.execute("SET LOCAL session_replication_role = replica")
            for month in months:
                await self._owner.execute("SELECT make_ledger_month($1)", month)
            await self._owner.execute(_MOVE, self._begins, [*months, months_ago(0)])
            await self._owner.execute("DELETE FROM chapter WHERE ends_at = 'infinity'")
            await self._owner.execute(_MOVED)
            await self._owner.execute(_ROWS)
            await self._owner.execute("DROP TABLE chapter; DROP FUNCTION pg_temp.moved(uuid)")
        return months


async def archive(
    owner: asyncpg.Connection,
    folder: Path,
    *,
    before: date | None = None,
    keep_table: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Manifest]:
    """All that rests, or what of it is older."""
    leaving = archive_months(
        owner,
        before=before or months_ago(0),
        folder=folder,
        keep_table=keep_table,
        settings=LedgerSettings(),
        progress=progress,
    )
    return [manifest async for manifest in leaving]


async def audited(connection: Executor, *, full: bool) -> list[Violation]:
    return [found async for page in find_violations(connection, full=full, accounts_at_once=2) for found in page]
