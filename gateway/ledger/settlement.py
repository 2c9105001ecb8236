"""The settler: takes every ending over, and does not rest until the database has it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from gateway.ledger.calls import Ending
from gateway.ledger.items import Stage, Unsettled
from gateway.ops.metrics import Metrics
from gateway.postgres.queries import load

_SQL = load("ledger")
_log = structlog.get_logger()
_WENT_NOWHERE: Final = frozenset({"conflict", "too_old", "no_account"})


class Settler:
    """Endings by id until they are posted. `put` puts one into its organisation's line.

    `moved` hears of every account where credits may have become free.
    """

    def __init__(
        self, *, put: Callable[[UUID, Unsettled], None], moved: Callable[[UUID], None], metrics: Metrics
    ) -> None:
        self._put = put
        self._moved = moved
        self._metrics = metrics
        self._unsettled: dict[UUID, Unsettled] = {}
        self._by_org: dict[UUID, int] = {}
        self._changed = asyncio.Event()
        metrics.unsettled.set_function(lambda: len(self._unsettled))

    def __len__(self) -> int:
        return len(self._unsettled)

    def __contains__(self, id: UUID) -> bool:
        return id in self._unsettled

    def settle(self, ending: Ending) -> None:
        """Hand over; never waits, never raises. The same id again, while the first is on its way, must be the same."""
        before = self._unsettled.get(ending.id)
        if before is not None:
            if before.ending.cost_ucr != ending.cost_ucr:
                _log.error("ledger.conflict", id=str(ending.id), first=before.ending.cost_ucr, then=ending.cost_ucr)
            return
        item = Unsettled(ending)
        self._unsettled[ending.id] = item
        self._by_org[ending.org_id] = self._by_org.get(ending.org_id, 0) + 1
        self._put(ending.org_id, item)

    async def settled(self, org_id: UUID, *, within_s: float) -> bool:
        """Whether the organisation's endings, as handed over until now, were posted in time."""
        return await self._wait_until(lambda: org_id not in self._by_org, within_s)

    async def drain(self, *, within_s: float) -> int:
        """How many are still not posted then."""
        await self._wait_until(lambda: not self._unsettled, within_s)
        return len(self._unsettled)

    async def _wait_until(self, done: Callable[[], bool], within_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not done():
                    self._changed.clear()
                    await self._changed.wait()
        return done()

    # --- what became of them ----------------------------------------------------------------------------------------

    def posted(
        self, org_id: UUID, items: list[Unsettled], answers: list[asyncpg.Record]
    ) -> list[tuple[Unsettled, str]]:
        """One batch's answers, in the items' order. Returns those that went nowhere, each with its reason."""
        charged = overage = waived = released = 0
        odd: list[tuple[Unsettled, str]] = []
        moved: set[UUID] = set()
        for item, (status, charged_ucr, overage_ucr, waived_ucr, held_ucr, payer) in zip(items, answers, strict=True):
            ending = item.ending
            charged += charged_ucr
            overage += overage_ucr
            waived += waived_ucr
            released += max(0, held_ucr - charged_ucr)
            moved.add(payer or ending.account_id)
            if status in _WENT_NOWHERE:
                odd.append((item, status))
                continue
            if status == "tombstone" and ending.cost_ucr:
                _log.error("ledger.ending_of_nothing", id=str(ending.id), org=str(org_id), cost_ucr=ending.cost_ucr)
            self._unsettled.pop(ending.id, None)
        self._done(org_id, len(items) - len(odd))
        org = str(org_id)
        for event, ucr in (("settled", charged), ("released", released), ("overage", overage), ("waived", waived)):
            if ucr:
                self._metrics.credits_moved(event, org=org, ucr=ucr)
        for account_id in moved:
            self._moved(account_id)
        return odd

    def _done(self, org_id: UUID, count: int) -> None:
        if not count:
            return
        left = self._by_org[org_id] - count
        if left:
            self._by_org[org_id] = left
        else:
            del self._by_org[org_id]
        self._changed.set()

    async def refused(self, item: Unsettled, error: Exception, connection: asyncpg.Connection) -> bool:
        """The item fails alone, on its data: keep the payload for a person, and post less of it. True: it is done."""
        ending = item.ending
        _log.error(
            "ledger.ending_quarantined",
            id=str(ending.id),
            org=str(ending.org_id),
            stage=item.stage.name,
            error=repr(error),
        )
        if item.stage is Stage.WHOLE:
            await self._quarantine(ending, repr(error), connection)
            item.stage = Stage.STRIPPED
            return False
        await connection.execute(_SQL.recover, ending.org_id, ending.account_id, [ending.id])
        item.stage = Stage.RECOVERED
        self._unsettled.pop(ending.id, None)
        self._done(ending.org_id, 1)
        self._moved(ending.account_id)
        return True

    async def keep(self, item: Unsettled, reason: str, connection: asyncpg.Connection) -> None:
        """An ending that the ledger has no place for: a person has to look at it."""
        _log.error("ledger.ending_kept", id=str(item.id), org=str(item.ending.org_id), reason=reason)
        await self._quarantine(item.ending, reason, connection)
        self._unsettled.pop(item.id, None)
        self._done(item.ending.org_id, 1)

    async def _quarantine(self, ending: Ending, reason: str, connection: asyncpg.Connection) -> None:
        await connection.execute(_SQL.quarantine, ending.org_id, ending.id, _payload(ending), reason[:1000])
        self._metrics.quarantined.inc()


def _payload(ending: Ending) -> bytes:
    try:
        return msgspec.json.encode(ending)
    except (UnicodeError, msgspec.MsgspecError, OverflowError):
        return repr(ending).encode("utf-8", "backslashreplace")
