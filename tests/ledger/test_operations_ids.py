"""An operation's id decides where its row is stored for ever, so it is one of now; what it did once, it did."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import InvalidRequest
from gateway.ledger.grants import Grant, TransactionType
from tests.ledger.conftest import Bench
from tests.ledger.desk import ANNA, open_user

MINUTES = 60_000 << 80
"""In the bits of an id."""


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_an_id_that_is_off_the_clock_moves_nothing(minutes: int, bench: Bench, pool: asyncpg.Pool) -> None:
    desk, org, user = bench.ledger.desk, bench.org_id, await open_user(bench, pool)
    await bench.grant(100)
    paid = await bench.held(20)
    await bench.settle(bench.ending(paid, 20))

    def grant(id: UUID) -> Awaitable[object]:
        made_from = TransactionType.BONUS
        return desk.grant(Grant(id=id, org_id=org, account_id=org, amount_ucr=5, transaction_type=made_from), by=ANNA)

    def take(id: UUID) -> Awaitable[object]:
        return desk.take(org, org, id=id, amount_ucr=5, by=ANNA)

    def transfer(id: UUID) -> Awaitable[object]:
        return desk.transfer(org, source_id=org, target_id=user, id=id, amount_ucr=5, by=ANNA)

    def refund(id: UUID) -> Awaitable[object]:
        return desk.refund(org, charge_id=paid.id, id=id, by=ANNA)

    doings: list[Callable[[UUID], Awaitable[object]]] = [grant, take, transfer, refund]
    for doing in doings:
        with pytest.raises(InvalidRequest, match="clock; nothing changed"):
            await doing(UUID(int=bench.ids.next().int + minutes * MINUTES))
    assert await bench.numbers() == (80, 0, 0)
