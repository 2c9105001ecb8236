"""The fair queue: calls that would fit if others did not hold the credits wait for those to end, first come first.

Extensions go before reservations, the oldest call first: those streams are under way. Only the head of a line asks the
ledger, so that a small call behind a large one cannot keep taking what the large one waits for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from gateway.ledger.items import HoldAnswer

Attempt = Callable[[], Awaitable[HoldAnswer]]


class _Waiter:
    __slots__ = ("rank", "woken")

    def __init__(self, rank: tuple[int, int]) -> None:
        self.rank = rank
        self.woken = asyncio.Event()


class _Line:
    __slots__ = ("last", "waiters")

    def __init__(self, last: HoldAnswer) -> None:
        self.last = last
        self.waiters: list[_Waiter] = []


class FairQueue:
    def __init__(self, *, wait_s: float, poll_s: float, waiting_max: int, changed: Callable[[int], None]) -> None:
        """`changed` hears how many are waiting in all lines."""
        self._wait_s = wait_s
        self._poll_s = poll_s
        self._waiting_max = waiting_max
        self._changed = changed
        self._lines: dict[UUID, _Line] = {}
        self._count = 0
        self._arrivals = 0

    def line(self, account_id: UUID) -> HoldAnswer | None:
        """The last `busy` that the account's line got; None where nobody waits."""
        line = self._lines.get(account_id) if self._lines else None
        return line.last if line is not None else None

    def length(self, account_id: UUID) -> int:
        line = self._lines.get(account_id)
        return len(line.waiters) if line is not None else 0

    def wake(self, account_id: UUID) -> None:
        """Credits may have become free."""
        line = self._lines.get(account_id)
        if line is not None:
            line.waiters[0].woken.set()

    async def wait(self, account_id: UUID, last: HoldAnswer, attempt: Attempt, *, extends: UUID | None) -> HoldAnswer:
        """Attempts at the head of the line until the answer is another than `busy` or the time is over.

        `last` is the answer of whoever asked before. A full line answers with it at once.
        """
        line = self._lines.get(account_id) or _Line(last)
        if len(line.waiters) >= self._waiting_max:
            return line.last
        self._lines[account_id] = line
        waiter = self._join(line, extends)
        until = asyncio.get_running_loop().time() + self._wait_s
        try:
            while True:
                await self._rest(line, waiter, until)
                if line.waiters[0] is waiter:
                    answer = await attempt()
                    if answer.status != "busy":
                        return answer  # to this call alone: the others must not take it for theirs
                    line.last = answer
                if asyncio.get_running_loop().time() >= until:
                    return line.last
        finally:
            self._leave(account_id, line, waiter)

    def _join(self, line: _Line, extends: UUID | None) -> _Waiter:
        self._arrivals += 1
        waiter = _Waiter((1, self._arrivals) if extends is None else (0, extends.int))
        place = len(line.waiters)
        while place and line.waiters[place - 1].rank > waiter.rank:
            place -= 1
        line.waiters.insert(place, waiter)
        self._count += 1
        self._changed(self._count)
        return waiter

    def _leave(self, account_id: UUID, line: _Line, waiter: _Waiter) -> None:
        line.waiters.remove(waiter)
        self._count -= 1
        self._changed(self._count)
        if line.waiters:
            line.waiters[0].woken.set()
        else:
            del self._lines[account_id]

    async def _rest(self, line: _Line, waiter: _Waiter, until: float) -> None:
        """Until woken; a line's head also looks by itself now and then."""
        while True:
            now = asyncio.get_running_loop().time()
            head = line.waiters[0] is waiter
            wake_at = min(until, now + self._poll_s) if head else until
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wake_at - now)):
                    await waiter.woken.wait()
            waiter.woken.clear()
            if line.waiters[0] is waiter or asyncio.get_running_loop().time() >= until:
                return
