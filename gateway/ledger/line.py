"""What waits for the database, by organisation, and whose turn it is.

A batch holds one organisation, because in a mixed one a hot account's lock would be everyone's. An organisation has at
most one batch under way, so that its batches come one after another, and each is as large as what queued meanwhile.
Whichever lane is free takes the next organisation: one that floods keeps one lane busy, and the others serve the rest.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import TypeVar
from uuid import UUID

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.items import Hold, Unsettled
from gateway.ledger.options import LedgerSettings

_Item = TypeVar("_Item")


class Batch:
    """Items of one organisation that go together; in this order they are worked on."""

    __slots__ = ("extensions", "org_id", "settlements", "wishes")

    def __init__(self, org_id: UUID, settlements: list[Unsettled], extensions: list[Hold], wishes: list[Hold]) -> None:
        self.org_id = org_id
        self.settlements = settlements
        self.extensions = extensions
        self.wishes = wishes

    def __len__(self) -> int:
        return len(self.settlements) + len(self.extensions) + len(self.wishes)

    def halves(self) -> "tuple[Batch, Batch]":
        """Settlements before extensions before wishes in both, so that the order of work stays."""
        cut = len(self) // 2
        s, x = len(self.settlements), len(self.settlements) + len(self.extensions)
        first = Batch(
            self.org_id, self.settlements[:cut], self.extensions[: max(0, cut - s)], self.wishes[: max(0, cut - x)]
        )
        second = Batch(
            self.org_id, self.settlements[cut:], self.extensions[max(0, cut - s) :], self.wishes[max(0, cut - x) :]
        )
        return first, second

    def drop_given_up(self, now: float) -> None:
        """Forget holds that nobody waits for, and give up those whose time is over."""
        self.extensions = [hold for hold in self.extensions if _still_wanted(hold, now)]
        self.wishes = [hold for hold in self.wishes if _still_wanted(hold, now)]


class _Waiting:
    __slots__ = ("extensions", "settlements", "wishes")

    def __init__(self) -> None:
        self.settlements: deque[Unsettled] = deque()
        self.extensions: deque[Hold] = deque()
        self.wishes: deque[Hold] = deque()

    def __bool__(self) -> bool:
        return bool(self.settlements or self.extensions or self.wishes)

    def holds(self) -> Iterator[Hold]:
        yield from self.extensions
        yield from self.wishes


class Line:
    def __init__(self, *, settings: LedgerSettings) -> None:
        self._batch_max = settings.batch_max
        self._holds_max = settings.holds_waiting_max
        self._waiting: dict[UUID, _Waiting] = {}
        """Only organisations with something waiting."""
        self._under_way: set[UUID] = set()
        self._turns: asyncio.Queue[UUID] = asyncio.Queue()
        """Those that wait and have no batch under way, each once."""

    def put_ending(self, org_id: UUID, item: Unsettled) -> None:
        self._of(org_id).settlements.append(item)

    def put_hold(self, hold: Hold) -> None:
        """Raises LedgerUnavailable when the organisation has too many waiting already."""
        waiting = self._of(hold.org_id)
        if len(waiting.extensions) + len(waiting.wishes) >= self._holds_max:
            raise LedgerUnavailable("Too many calls are waiting for the ledger; nothing was reserved.")
        (waiting.extensions if hold.extends else waiting.wishes).append(hold)

    async def take(self) -> Batch:
        """Whoever took a batch says when it is `over`."""
        org_id = await self._turns.get()
        self._under_way.add(org_id)
        waiting = self._waiting[org_id]
        batch = Batch(org_id, _first(waiting.settlements, self._batch_max), [], [])
        batch.extensions = _first(waiting.extensions, self._batch_max - len(batch))
        batch.wishes = _first(waiting.wishes, self._batch_max - len(batch))
        if not waiting:
            del self._waiting[org_id]
        return batch

    def put_back(self, batch: Batch) -> None:
        """To the front, in their order."""
        waiting = self._of(batch.org_id)
        waiting.settlements.extendleft(reversed(batch.settlements))
        waiting.extensions.extendleft(reversed(batch.extensions))
        waiting.wishes.extendleft(reversed(batch.wishes))

    def over(self, org_id: UUID) -> None:
        """Its batch is; with what waits it goes behind the other organisations."""
        self._under_way.remove(org_id)
        if org_id in self._waiting:
            self._turns.put_nowait(org_id)

    def expire(self) -> None:
        """While the database does not answer: nobody waits beyond his time."""
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting.values():
            for hold in waiting.holds():
                _still_wanted(hold, now)

    def fail_holds(self, error: LedgerUnavailable) -> None:
        for waiting in self._waiting.values():
            for hold in waiting.holds():
                hold.fail(error)

    def _of(self, org_id: UUID) -> _Waiting:
        waiting = self._waiting.get(org_id)
        if waiting is None:
            waiting = self._waiting[org_id] = _Waiting()
            if org_id not in self._under_way:
                self._turns.put_nowait(org_id)
        return waiting


def _first(queue: deque[_Item], most: int) -> list[_Item]:
    return [queue.popleft() for _ in range(min(most, len(queue)))]


def _still_wanted(hold: Hold, now: float) -> bool:
    if hold.deadline <= now:
        hold.fail(LedgerUnavailable("The ledger does not answer; nothing was reserved."))
    return not hold.answer.done()
