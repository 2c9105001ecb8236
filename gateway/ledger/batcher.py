"""Group commit: whatever an organisation has waiting travels in one statement and one commit.

Self-clocking: a batch takes what queued while the one before was under way, so that it is as small as the load allows
and needs no timer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from gateway.core.errors import InvalidRequest, LedgerUnavailable
from gateway.ledger.errors import is_contention, is_data, is_passing
from gateway.ledger.items import Hold, HoldAnswer, Unsettled
from gateway.ledger.line import Batch, Line
from gateway.ledger.options import LedgerSettings
from gateway.ledger.settlement import Settler
from gateway.ops.metrics import Metrics
from gateway.postgres.queries import load

_SQL = load("ledger")
_log = structlog.get_logger()
_ANSWERS_A_TURN: Final = 50

Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Lane:
    """One connection: it posts what stands in line, a batch at a time."""

    def __init__(
        self,
        *,
        line: Line,
        connect: Connect,
        instance_id: Callable[[], UUID],
        settler: Settler,
        settings: LedgerSettings,
        metrics: Metrics,
    ) -> None:
        self._line = line
        self._connect = connect
        self._instance_id = instance_id
        self._settler = settler
        self._settings = settings
        self._metrics = metrics
        self._connection: asyncpg.Connection | None = None
        self._statement: asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record] | None = None
        self._under_way: Batch | None = None
        self._pause_s = settings.retry_first_s
        self._task: asyncio.Task[None] | None = None

    async def rehearse(self) -> None:
        """Before the start, so that no caller waits for a connection and its plans; unless this fails."""
        try:
            await self._prepared()
            await (await self._connected()).execute(_SQL.rehearse_batch)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            _log.warning("ledger.rehearsal_failed", error=repr(error))
            self._drop_connection()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="ledger lane")

    async def stop(self) -> None:
        """End in the middle of whatever goes on: what was sent is settled or will be swept."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        under_way = self._under_way
        for hold in (*under_way.extensions, *under_way.wishes) if under_way is not None else ():
            hold.fail(LedgerUnavailable("The gateway is stopping; what was reserved is released."))
        self._drop_connection()

    async def _run(self) -> None:
        while True:
            batch = self._under_way = await self._line.take()
            await self._post(batch)
            self._under_way = None
            self._line.over(batch.org_id)

    async def _post(self, batch: Batch) -> None:
        """Sends it once; what has no answer then goes back into line."""
        try:
            answers = await self._send(batch)
        except Exception as error:  # noqa: BLE001 — whatever it is, every item gets its answer.
            if is_passing(error):
                await self._again(batch, error)
            else:
                await self._part(batch, error)
            return
        self._pause_s = self._settings.retry_first_s
        if answers is not None:
            for item, reason in self._deliver(batch, answers):
                await self._keep(item, reason)

    async def _again(self, batch: Batch, error: Exception) -> None:
        """Nothing is wrong with it: back to the front of what its organisation has waiting, and that behind the others.

        So an account that somebody keeps locked costs the other organisations a lane for a while, not their calls.
        """
        _log.warning("ledger.batch_retried", error=repr(error), items=len(batch), pause_s=self._pause_s)
        if not is_contention(error):
            self._drop_connection()
        self._line.put_back(batch)
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, self._settings.retry_most_s)
        self._line.expire()

    async def _send(self, batch: Batch) -> asyncpg.Record | None:
        statement = await self._prepared()
        # From here to the sending nothing is awaited: who gives up before was not sent, who gives up later was.
        batch.drop_given_up(asyncio.get_running_loop().time())
        if not len(batch):
            return None
        for hold in batch.extensions:
            hold.sent = True
        for hold in batch.wishes:
            hold.sent = True
        began = asyncio.get_running_loop().time()
        answers = await statement.fetchrow(
            batch.org_id,
            self._instance_id(),
            self._settings.receivable_max_ucr,
            [item.row for item in batch.settlements],
            [hold.row for hold in batch.extensions],
            [hold.row for hold in batch.wishes],
        )
        duration_s = asyncio.get_running_loop().time() - began
        self._metrics.batch_committed(_kind(batch), items=len(batch), duration_s=duration_s)
        return answers

    async def _part(self, batch: Batch, error: Exception) -> None:
        """Some item is wrong in itself: find it by halving, so that it stops no other."""
        if not is_data(error):
            self._drop_connection()  # A stale statement, a changed schema: a new session may do better.
        if len(batch) > 1:
            for half in batch.halves():
                await self._post(half)
        elif batch.settlements:
            await self._part_ending(batch.settlements[0], batch, error)
        else:
            hold = (batch.extensions or batch.wishes)[0]
            _log.error("ledger.hold_refused", id=str(hold.id), error=repr(error))
            hold.fail(
                InvalidRequest("This call cannot be recorded; nothing was reserved.")
                if is_data(error)
                else LedgerUnavailable("The ledger cannot work; nothing was reserved.")
            )

    async def _part_ending(self, item: Unsettled, batch: Batch, error: Exception) -> None:
        try:
            done = await self._settler.refused(item, error, await self._connected())
        except Exception as second:  # noqa: BLE001 — a settlement ends here, or is tried again.
            self._put_later(item, second)
        else:
            if not done:
                self._line.put_ending(batch.org_id, item)

    def _put_later(self, item: Unsettled, error: Exception) -> None:
        """Tried again after a pause, and meanwhile it holds up nobody."""
        _log.error("ledger.ending_stuck", id=str(item.id), error=repr(error))
        self._drop_connection()
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.retry_most_s, self._line.put_ending, item.ending.org_id, item)

    def _deliver(self, batch: Batch, answers: asyncpg.Record) -> list[tuple[Unsettled, str]]:
        for holds, rows in ((batch.extensions, answers["extensions"]), (batch.wishes, answers["wishes"])):
            if not holds:
                continue
            held_ucr = sum(row[1] for row in rows if row[0] == "ok") if holds is batch.wishes else 0
            if held_ucr:
                self._metrics.credits_moved("reserved", org=str(batch.org_id), ucr=held_ucr)
            _answer(holds, rows)
        if not batch.settlements:
            return []
        return self._settler.posted(batch.org_id, batch.settlements, answers["settlements"])

    async def _keep(self, item: Unsettled, reason: str) -> None:
        try:
            await self._settler.keep(item, reason, await self._connected())
        except Exception as error:  # noqa: BLE001 — it is asked about again, and answered alike.
            self._put_later(item, error)

    async def _prepared(self) -> "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]":
        connection = await self._connected()
        if self._statement is None:
            self._statement = await connection.prepare(_SQL.post_batch)
        return self._statement

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await self._connect()
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection, self._statement = self._connection, None, None
        if connection is not None:
            connection.terminate()


def _answer(holds: list[Hold], rows: list[asyncpg.Record], begin: int = 0) -> None:
    """Some now, the rest after what else the loop has to do.

    Whoever is answered goes on with its call in the loop's next turn. A large batch answered at once would make that a
    turn of milliseconds, in which no other organisation's batch is sent or answered. The lane does not wait for this:
    the database works on its next batch meanwhile.
    """
    end = begin + _ANSWERS_A_TURN
    for hold, row in zip(holds[begin:end], rows[begin:end], strict=True):
        if not hold.answer.done():
            hold.answer.set_result(HoldAnswer(*row))
    if end < len(holds):
        asyncio.get_running_loop().call_soon(_answer, holds, rows, end)


def _kind(batch: Batch) -> str:
    kinds = [
        name
        for name, items in (("settle", batch.settlements), ("extend", batch.extensions), ("reserve", batch.wishes))
        if items
    ]
    return kinds[0] if len(kinds) == 1 else "mixed"
