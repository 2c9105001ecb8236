"""The fair queue by itself: an answer belongs to the call that asked for it."""

import asyncio
from uuid import UUID

from gateway.ledger.items import HoldAnswer
from gateway.ledger.queue import FairQueue

ACCOUNT = UUID(int=1)
BUSY = HoldAnswer("busy", 0, 0, 100, ACCOUNT)
HELD = HoldAnswer("ok", 100, 0, 100, ACCOUNT)


class Caller:
    """Waits in the line; what he asks for when he is its head is answered when the test says so."""

    def __init__(self, queue: FairQueue) -> None:
        self.asks = asyncio.Event()
        self.answered = asyncio.Event()
        self.told = asyncio.ensure_future(queue.wait(ACCOUNT, BUSY, self._attempt, extends=None))

    async def _attempt(self) -> HoldAnswer:
        self.asks.set()
        await self.answered.wait()
        return HELD


async def test_what_one_caller_got_is_told_neither_to_a_newcomer_nor_to_who_waits_in_vain() -> None:
    queue = FairQueue(wait_s=0.05, poll_s=0.01, waiting_max=10, changed=lambda _: None)
    first = Caller(queue)
    await first.asks.wait()
    second, third = Caller(queue), Caller(queue)
    first.answered.set()
    assert await first.told is HELD
    await second.asks.wait()
    assert queue.line(ACCOUNT) is BUSY
    assert await third.told is BUSY
    second.answered.set()
    assert await second.told is HELD
    assert queue.line(ACCOUNT) is None
