"""What a grant is decides what it says of itself, and when it burns."""

import asyncio

import asyncpg
import pytest

from gateway.core.errors import Conflict, InvalidRequest
from gateway.ledger.grants import PRIORITY_MAX, GrantKind, TransactionType
from tests.ledger.conftest import Bench
from tests.ledger.desk import left_of


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"transaction_type": TransactionType.PURCHASE}, ("prepaid", "paid", 50)),
        ({"transaction_type": TransactionType.BONUS}, ("bonus", "promo", 50)),
        ({"transaction_type": TransactionType.BONUS, "category": "paid", "priority": 3}, ("bonus", "paid", 3)),
        ({"transaction_type": TransactionType.REFILL}, ("subscription", "paid", 50)),
        ({"transaction_type": TransactionType.REFUND}, ("refund", "paid", 50)),
        ({"transaction_type": TransactionType.ADJUSTMENT}, ("adjustment", "paid", 50)),
        ({"kind": GrantKind.QUOTA}, ("quota", "paid", 50)),
        ({"kind": GrantKind.CREDIT_LINE, "priority": 1}, ("credit_line", "paid", PRIORITY_MAX)),
    ],
)
async def test_a_grant_has_the_columns_of_its_kind(
    changes: dict[str, object], expected: tuple[str, str, int], bench: Bench, pool: asyncpg.Pool
) -> None:
    id = await bench.grant(10, **changes)
    row = await pool.fetchrow("SELECT kind, category, priority FROM credit_grant WHERE id = $1", id)
    assert row is not None
    assert tuple(row) == expected


async def test_a_credit_line_burns_last(bench: Bench, pool: asyncpg.Pool) -> None:
    line = await bench.grant(10, kind=GrantKind.CREDIT_LINE, priority=0)
    last = await bench.grant(10, priority=PRIORITY_MAX - 1)
    await bench.settle(bench.ending(await bench.held(12), 12))
    assert (await left_of(pool, last), await left_of(pool, line)) == (0, 8)


async def test_what_was_paid_and_for_what_is_kept(bench: Bench, pool: asyncpg.Pool) -> None:
    order = bench.ids.next()
    id = await bench.grant(10, paid_minor=1_999, paid_currency="EUR", source_id=order)
    row = await pool.fetchrow("SELECT paid_minor, paid_currency, source_id FROM credit_grant WHERE id = $1", id)
    assert row is not None
    assert tuple(row) == (1_999, "EUR", order)


@pytest.mark.parametrize(
    "changes",
    [
        {"paid_minor": 5},
        {"paid_currency": "EUR"},
        {"paid_minor": -1, "paid_currency": "EUR"},
        {"paid_minor": 1 << 63, "paid_currency": "EUR"},
        {"paid_minor": 5, "paid_currency": "euro"},
    ],
)
async def test_a_price_that_makes_no_sense_is_refused(changes: dict[str, object], bench: Bench) -> None:
    with pytest.raises(InvalidRequest):
        await bench.grant(1, **changes)
    assert await bench.numbers() == (0, 0, 0)


async def test_an_id_is_one_grant_and_no_other(bench: Bench) -> None:
    id = await bench.grant(10)
    with pytest.raises(Conflict):
        await bench.grant(11, id=id)
    assert await bench.numbers() == (10, 0, 0)


async def test_the_same_grant_by_many_at_once_is_one(bench: Bench) -> None:
    id = bench.ids.next()
    await asyncio.gather(*(bench.grant(10, id=id) for _ in range(12)))
    assert await bench.numbers() == (10, 0, 0)
