"""A short memory of refusals, so that an account without credits costs no database work."""

import asyncio
from uuid import UUID

from gateway.ledger.items import HoldAnswer

Payers = tuple[UUID, ...]
"""The accounts that may pay for a call, in the order in which they are tried."""


class RefusalMemory:
    """Per payers the smallest amount that was refused; as much or more is refused again for a moment, unasked.

    Whatever may change the answer from within this process clears it at once; from outside, the moment is the delay.
    """

    def __init__(self, *, memory_s: float, accounts_max: int) -> None:
        self._memory_s = memory_s
        self._accounts_max = accounts_max
        self._refused: dict[Payers, tuple[int, float, HoldAnswer]] = {}
        self._payers_of: dict[UUID, set[Payers]] = {}

    def recall(self, payers: Payers, ucr: int) -> HoldAnswer | None:
        known = self._refused.get(payers) if self._refused else None
        if known is None:
            return None
        smallest_ucr, until, answer = known
        if until <= asyncio.get_running_loop().time():
            self._drop(payers)
            return None
        return answer if ucr >= smallest_ucr else None

    def remember(self, payers: Payers, ucr: int, answer: HoldAnswer) -> None:
        """`ucr` 0 where the accounts admit nothing, whatever the amount."""
        now = asyncio.get_running_loop().time()
        known = self._refused.get(payers)
        if known is not None and known[1] > now and known[0] <= ucr:
            return
        if known is not None:
            self._drop(payers)
        if len(self._refused) >= self._accounts_max:
            self._drop(next(iter(self._refused)))
        self._refused[payers] = (ucr, now + self._memory_s, answer)
        for account_id in payers:
            self._payers_of.setdefault(account_id, set()).add(payers)

    def forget(self, account_id: UUID) -> None:
        """Something changed on this account: nobody whom it may pay for is refused unasked."""
        if self._refused:
            for payers in tuple(self._payers_of.get(account_id, ())):
                self._drop(payers)

    def _drop(self, payers: Payers) -> None:
        del self._refused[payers]
        for account_id in payers:
            others = self._payers_of[account_id]
            others.discard(payers)
            if not others:
                del self._payers_of[account_id]
