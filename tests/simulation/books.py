"""The ledger's tables, read by the tests themselves and as the schema's owner: an opinion besides the gateway's."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from tests.simulation.patience import until


@dataclass(frozen=True)
class OpenRow:
    """A reservation."""

    id: UUID
    amount_ucr: int
    spent_ucr: int
    """The watermark."""
    owner_id: UUID

    @property
    def swept_ucr(self) -> int:
        """What the sweeper must charge for it."""
        return min(self.spent_ucr, self.amount_ucr)


@dataclass(frozen=True)
class EndingRow:
    """The end of a call, or what was corrected of it later."""

    id: UUID
    kind: str
    ended: str
    ref_id: UUID | None
    cost_ucr: int
    charged_ucr: int
    overage_ucr: int
    waived_ucr: int
    output_tokens: int


class Books:
    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def open_rows(self) -> dict[UUID, OpenRow]:
        rows = await self._connection.fetch("SELECT id, amount_ucr, spent_ucr, owner_id FROM reservation")
        return {row["id"]: OpenRow(**dict(row.items())) for row in rows}

    async def watermark(self, id: UUID, *, at_least_ucr: int) -> OpenRow:
        """The call's row, once so much is written down as spent."""

        async def look() -> OpenRow | None:
            row = (await self.open_rows()).get(id)
            return row if row is not None and row.spent_ucr >= at_least_ucr else None

        return await until(look, f"a watermark of {at_least_ucr} µcr")

    async def ended(self, id: UUID, *, rows: int = 1) -> list[EndingRow]:
        """The call's rows, once there are so many."""

        async def look() -> list[EndingRow] | None:
            found = await self.rows_of(id)
            return found if len(found) >= rows else None

        return await until(look, f"{rows} rows of call {id}")

    async def rows_of(self, id: UUID) -> list[EndingRow]:
        """The call's ending, then its correction if there is one."""
        return [row for row in await self.endings() if id in (row.id, row.ref_id)]

    async def endings(self) -> list[EndingRow]:
        """Of every call, in the order they were written."""
        rows = await self._connection.fetch(
            """
            SELECT id, kind, ended, ref_id, cost_ucr(ledger), charged_ucr(ledger),
                   coalesce(overage_ucr, 0) AS overage_ucr, coalesce(waived_ucr, 0) AS waived_ucr, output_tokens
              FROM ledger WHERE ended IS NOT NULL ORDER BY org_id, account_id, version
            """
        )
        return [EndingRow(**dict(row.items())) for row in rows]

    async def fenced(self) -> set[UUID]:
        """Instances that were declared dead, or said so themselves when they stopped."""
        rows = await self._connection.fetch("SELECT instance_id FROM fence WHERE fenced_at IS NOT NULL")
        return {row["instance_id"] for row in rows}

    async def alive(self) -> set[UUID]:
        rows = await self._connection.fetch("SELECT instance_id FROM fence WHERE fenced_at IS NULL")
        return {row["instance_id"] for row in rows}


def ended_more_than_once(rows: Iterable[EndingRow]) -> list[UUID]:
    """A correction is not an end: it has an id of its own."""
    return [id for id, times in Counter(row.id for row in rows if row.ref_id is None).items() if times > 1]


@contextlib.asynccontextmanager
async def open_books(dsn: str) -> AsyncIterator[Books]:
    connection = await asyncpg.connect(dsn)
    try:
        yield Books(connection)
    finally:
        await connection.close(timeout=10)
