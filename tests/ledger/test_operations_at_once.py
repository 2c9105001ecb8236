"""Everything that is done beside calls, at once and among calls: nobody deadlocks, and the books are sound."""

import asyncio
import random
from collections.abc import Awaitable
from uuid import UUID

import asyncpg

from gateway.core.errors import Conflict, InsufficientCredits, InvalidRequest, NotFound
from gateway.ledger.deductions import Deduction
from gateway.ledger.owned import OwnedWish, Owner
from gateway.ledger.used import Used
from tests.ledger.conftest import Bench, no_deadlock
from tests.ledger.desk import ANNA, open_user

OWN_DATABASE = True
REFUSED = (Conflict, InsufficientCredits, InvalidRequest, NotFound)


async def test_all_operations_at_once_never_deadlock_and_leave_sound_books(bench: Bench, pool: asyncpg.Pool) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    desk, owned, me = bench.ledger.desk, bench.ledger.owned, Owner.outside(bench.org_id)
    accounts = [bench.account_id, await open_user(bench, pool), await open_user(bench, pool)]
    for account in accounts:
        await bench.grant(1_000, account_id=account)
    extra = [await bench.grant(500, account_id=account) for account in accounts]
    charges: list[UUID] = []

    async def call(account: UUID) -> None:
        wish = await bench.held(2, account_ids=(account,))
        bench.ledger.settle(bench.ending(wish, 1, account_id=account))
        charges.append(wish.id)

    async def outside(account: UUID) -> None:
        wishes = [
            OwnedWish(id=bench.ids.next(), account_ids=(each,), amount_ucr=2) for each in dice.sample(accounts, 3)
        ]
        for hold in await owned.reserve(me, wishes, by=ANNA):
            await owned.settle(me, hold.id, cost_ucr=1, by=ANNA)

    def deduct(account: UUID) -> Awaitable[object]:
        deduction = Deduction(
            id=bench.ids.next(), account_ids=(account,), used=Used.plainly("f", price_ucr=1, quantity=3)
        )
        return desk.deduct(bench.org_id, deduction, by=ANNA)

    def transfer(account: UUID) -> Awaitable[object]:
        target = dice.choice([each for each in accounts if each != account])
        id = bench.ids.next()
        return desk.transfer(bench.org_id, source_id=account, target_id=target, id=id, amount_ucr=3, by=ANNA)

    def take(account: UUID) -> Awaitable[object]:
        return desk.take(bench.org_id, account, id=bench.ids.next(), amount_ucr=1, by=ANNA)

    def void(account: UUID) -> Awaitable[object]:
        return desk.void(bench.org_id, dice.choice(extra), by=ANNA)

    def refund(account: UUID) -> Awaitable[object]:
        charge = dice.choice(charges or [account])
        return desk.refund(bench.org_id, charge_id=charge, id=bench.ids.next(), amount_ucr=1, by=ANNA)

    async def grant(account: UUID) -> None:
        extra.append(await bench.grant(500, account_id=account))

    def close(account: UUID) -> Awaitable[object]:
        return desk.close(bench.org_id, bench.account_id, by=ANNA)  # never empty, so always refused

    doings = [call, outside, deduct, transfer, transfer, take, refund, grant, close]

    async def work() -> None:
        for number in range(25):
            doing = void if number == 20 else dice.choice(doings)
            try:
                await doing(dice.choice(accounts))
            except REFUSED:
                continue

    with no_deadlock():
        await asyncio.gather(*(work() for _ in range(8)))
        assert await bench.ledger.settled(bench.org_id)
