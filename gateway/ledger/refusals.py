"""A short memory of refusals, so that an account without credits costs no database work."""

import asyncio
from uuid import UUID

from gateway.ledger.items import HoldAnswer


class RefusalMemory:
    """Per account the smallest amount that was refused; as much or more is refused again for a moment, unasked.

    Whatever may change the answer from within this process clears it at once; from outside, the moment is the delay.
    """

    def __init__(self, *, memory_s: float, accounts_max: int) -> None:
        self._memory_s = memory_s
        self._accounts_max = accounts_max
        self._refused: dict[UUID, tuple[int, float, HoldAnswer]] = {}

    def recall(self, account_id: UUID, ucr: int) -> HoldAnswer | None:
        known = self._refused.get(account_id) if self._refused else None
        if known is None:
            return None
        smallest_ucr, until, answer = known
        if until <= asyncio.get_running_loop().time():
            del self._refused[account_id]
            return None
        return answer if ucr >= smallest_ucr else None

    def remember(self, account_id: UUID, ucr: int, answer: HoldAnswer) -> None:
        """`ucr` 0 where the account admits nothing, whatever the amount."""
        now = asyncio.get_running_loop().time()
        known = self._refused.pop(account_id, None)
        if known is not None and known[1] > now and known[0] <= ucr:
            self._refused[account_id] = known
            return
        if len(self._refused) >= self._accounts_max:
            del self._refused[next(iter(self._refused))]
        self._refused[account_id] = (ucr, now + self._memory_s, answer)

    def forget(self, account_id: UUID) -> None:
        if self._refused:
            self._refused.pop(account_id, None)
