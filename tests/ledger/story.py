"""What may happen to an organisation, by chance."""

import random
from uuid import UUID

from gateway.core.errors import TollgateError
from gateway.core.origin import ITSELF
from gateway.ledger.calls import End, Held, Wish
from tests.ledger.conftest import Bench


class Story:
    """Whatever may happen to an organisation with several accounts, by chance; what is refused is part of it."""

    def __init__(self, bench: Bench, accounts: list[UUID], chance: random.Random) -> None:
        self._bench = bench
        self._accounts = accounts
        self._chance = chance
        self._open: list[tuple[UUID, Wish]] = []
        self._swept: list[tuple[UUID, Wish]] = []
        self._charges: list[UUID] = []
        self._grants: list[UUID] = []

    async def go_on(self, events: int) -> None:
        does = (
            [self._begin] * 4 + [self._end] * 4 + [self._grant, self._refund, self._transfer, self._void, self._sweep]
        )
        does += [self._learn, self._take]
        for _ in range(events):
            try:
                await self._chance.choice(does)()
            except TollgateError:
                continue

    async def end(self) -> None:
        while self._open:
            await self._end()
        while self._swept:
            await self._learn()

    async def _begin(self) -> None:
        account = self._chance.choice(self._accounts)
        wish = self._bench.wish(self._chance.randrange(60), account_ids=(account,))
        if isinstance(await self._bench.ledger.reserve(wish), Held):
            self._open.append((account, wish))

    async def _end(self) -> None:
        account, wish = self._open.pop(self._chance.randrange(len(self._open))) if self._open else (None, None)
        if account is None or wish is None:
            return
        if self._chance.random() < 0.2:
            await self._settle(account, wish, 0, delivered=False, end=End.ERROR, lines=b"[]")
        else:
            await self._settle(account, wish, self._chance.randrange(90))
            self._charges.append(wish.id)

    async def _sweep(self) -> None:
        if self._open:
            account, wish = self._open.pop()
            await self._settle(account, wish, self._chance.randrange(20), end=End.RECOVERED, waive_above_held=True)
            self._swept.append((account, wish))

    async def _learn(self) -> None:
        """The real cost of a call that was swept."""
        if self._swept:
            account, wish = self._swept.pop()
            await self._settle(account, wish, self._chance.randrange(40))

    async def _settle(self, account: UUID, wish: Wish, cost_ucr: int, **changes: object) -> None:
        await self._bench.settle(self._bench.ending(wish, cost_ucr, account_id=account, **changes))

    async def _grant(self) -> None:
        account = self._chance.choice(self._accounts)
        self._grants.append(await self._bench.grant(self._chance.randrange(1, 200), account_id=account))

    async def _refund(self) -> None:
        await self._bench.ledger.desk.refund(
            self._bench.org_id,
            charge_id=self._chance.choice(self._charges or [self._bench.ids.next()]),
            id=self._bench.ids.next(),
            amount_ucr=self._chance.choice([None, 1, 2]),
            by=ITSELF,
        )

    async def _transfer(self) -> None:
        source, target = self._chance.sample(self._accounts, 2)
        await self._bench.ledger.desk.transfer(
            self._bench.org_id,
            source_id=source,
            target_id=target,
            id=self._bench.ids.next(),
            amount_ucr=self._chance.randrange(1, 50),
            by=ITSELF,
        )

    async def _void(self) -> None:
        if self._grants and self._chance.random() < 0.5:
            await self._bench.ledger.desk.void(self._bench.org_id, self._chance.choice(self._grants), by=ITSELF)

    async def _take(self) -> None:
        await self._bench.ledger.desk.take(
            self._bench.org_id, self._chance.choice(self._accounts), id=self._bench.ids.next(), amount_ucr=3, by=ITSELF
        )
