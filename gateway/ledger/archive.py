"""Old months leave the ledger, and what stays is proven from there on.

For each month, oldest first: all books are proven; the month is closed, so that nothing is added; what came since is
proven; every account gets its closing; the rows are exported and read back; in one commit the partition is detached
and the closings come into force. Whatever interrupts it, the next run goes on. Only the schema's owner can.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Conflict, Forbidden
from gateway.ledger.accounts import Executor
from gateway.ledger.audit import find_violations
from gateway.ledger.month_file import Manifest, Month, export_month
from gateway.ledger.options import LedgerSettings
from gateway.postgres.queries import load

_SQL = load("archive")
_FIRST: Final = UUID(int=0)
_LOCK_WAIT_MS: Final = 100
"""How long calls may queue behind a lock that is asked for, before it is given up and asked for anew."""
_LOCK_TRIES: Final = 600
_LOCK_PAUSE_S: Final = 0.5

Progress = Callable[[str], None]


class MonthState(msgspec.Struct, frozen=True, kw_only=True):
    """attached, closed (about to leave) or archived. `rows` is an estimate until then, `bytes` None without a table."""

    name: str
    state: str
    rows: int | None
    bytes: int | None
    closed_at: datetime | None
    archived_at: datetime | None


async def list_months(connection: Executor) -> list[MonthState]:
    """Oldest first."""
    return [MonthState(**dict(row.items())) for row in await connection.fetch(_SQL.months)]


async def archive_months(
    connection: asyncpg.Connection,
    *,
    before: date,
    folder: Path,
    keep_table: bool,
    settings: LedgerSettings,
    progress: Progress,
) -> AsyncGenerator[Manifest]:
    """Each month before `before` that rests: it ended so long ago that nothing which began in it can be open, and that
    no real cost may still come. Yields a month when it has left.

    `connection` is the schema's owner's and not in a transaction. Raises Forbidden for another, and Conflict where the
    books are not sound, the month's reservations are open, or somebody else is at it; the month is then as it was.
    """
    await _require_owner(connection)
    if not await connection.fetchval(_SQL.take_turn):
        raise Conflict("Another process is archiving; nothing was changed.")
    try:
        unrest_s = max(settings.reservation_life_max_s, settings.job_life_max_s) + settings.late_window_s
        for row in await connection.fetch(_SQL.months_before, before, unrest_s):
            if not row["rests"]:
                progress(f"{row['name']} stays until {row['rests_at']:%Y-%m-%d %H:%M} UTC, and what follows it")
                return
            month = Month(**{name: row[name] for name in Month.__struct_fields__})
            yield await _Leaving(connection, month, settings, progress).archive(folder, keep_table=keep_table)
    finally:
        if not connection.is_closed():
            await connection.execute(_SQL.end_turn)


class _Leaving:
    """One month on its way out."""

    def __init__(
        self, connection: asyncpg.Connection, month: Month, settings: LedgerSettings, progress: Progress
    ) -> None:
        self._connection = connection
        self._month = month
        self._settings = settings
        self._progress = progress

    async def archive(self, folder: Path, *, keep_table: bool) -> Manifest:
        self._say("checking all books")
        await self._prove(full=True)
        self._say("closing")
        await self._close()
        self._say("checking what came meanwhile")
        await self._prove(full=False)
        self._say("writing the closings")
        await self._write_closings()
        self._say("exporting")
        try:
            manifest = await export_month(self._connection, self._month, folder, self._progress)
        except (OSError, EOFError) as error:
            raise Conflict(f"{self._month.name} was not exported and stays: {error}") from error
        self._say("detaching")
        await self._briefly(_SQL.detach_month, self._month.first_day, manifest.totals.rows, keep_table)
        self._say("archived")
        return manifest

    async def _prove(self, *, full: bool) -> None:
        """What is found takes the closing back, also that of a run which did not come to its end."""
        at_once = self._settings.audit_accounts
        found = [
            violation
            async for page in find_violations(self._connection, full=full, accounts_at_once=at_once)
            for violation in page
        ]
        if found:
            await self._briefly(_SQL.reopen_month, self._month.first_day)
            raise Conflict(
                f"{len(found)} breaches of the ledger's invariants (tollgate audit --full shows them): "
                f"{self._month.name} stays as it is."
            )

    async def _close(self) -> None:
        if not await self._briefly(_SQL.close_month, self._month.first_day):
            raise Conflict(f"Reservations of {self._month.name} are still open: it stays as it is.")

    async def _write_closings(self) -> None:
        at, done = (_FIRST, _FIRST), 0
        while rows := await self._connection.fetch(
            _SQL.write_closings, self._month.first_day, *at, self._settings.audit_accounts
        ):
            if not all(row["proven"] for row in rows):
                await self._briefly(_SQL.reopen_month, self._month.first_day)
                raise Conflict(f"An account's rows of {self._month.name} are not proven: it stays as it is.")
            at, done = (rows[-1]["org_id"], rows[-1]["account_id"]), done + len(rows)
            self._say(f"closed {done:,} accounts")

    async def _briefly(self, statement: str, *arguments: object) -> Any:
        """One statement that needs a lock which calls must not wait behind: soon, or again later."""
        for _ in range(_LOCK_TRIES):
            try:
                async with self._connection.transaction():
                    await self._connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_MS}ms'")
                    return await self._connection.fetchval(statement, *arguments)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                await asyncio.sleep(_LOCK_PAUSE_S)
        raise Conflict(f"The ledger was never free for a moment: {self._month.name} stays. Run it again.")

    def _say(self, what: str) -> None:
        self._progress(f"{self._month.name}: {what}")


async def _require_owner(connection: asyncpg.Connection) -> None:
    if not await connection.fetchval(_SQL.owns_ledger):
        raise Forbidden("Only the owner of the ledger's tables archives; nothing was changed.")
