"""Lists of ledger rows: what fits is found, once each, however the rows lie and whatever is written meanwhile."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import InvalidRequest, LedgerUnavailable
from gateway.core.ids import first_id_at
from gateway.usage import transactions
from gateway.usage.transactions import Direction, OrderBy, Page, Place, Transactions, Wanted, first_id_from
from tests.postgres.outage import Outage
from tests.usage.rows import KEY, ORG, OTHER_KEY, OTHER_ORG, Books

USER = UUID(int=77)


async def page(pool: asyncpg.Pool, limit: int = 50, **options: Any) -> Page:
    wanted = options.pop("wanted", Wanted())
    return await Transactions(pool).page(ORG, wanted, limit=limit, **options)


async def found(pool: asyncpg.Pool, **wanted: Any) -> list[UUID]:
    return [row.id for row in (await page(pool, wanted=Wanted(**wanted), direction=Direction.ASC)).rows]


async def walk(pool: asyncpg.Pool, *, limit: int = 3, **options: Any) -> list[UUID]:
    """Every row, page by page."""
    rows: list[UUID] = []
    after: Place | None = None
    for _ in range(1_000):
        one = await page(pool, limit, after=after, **options)
        rows += [row.id for row in one.rows]
        if one.next is None:
            return rows
        after = one.next
    raise AssertionError("the list has no end")


async def granted(books: Books, **fields: Any) -> UUID:
    facts: dict[str, Any] = {"kind": "GRANT", "amount_ucr": 5, "ended": None, "key_id": None}
    money = dict.fromkeys(("numerator", "overage_ucr", "waived_ucr"))
    return await books.ended(used_ucr=0, **(facts | money | {"transaction_type": "PURCHASE"} | fields))


async def test_rows_come_in_the_order_in_which_they_began(pool: asyncpg.Pool, books: Books) -> None:
    ids = [await books.ended(used_ucr=1) for _ in range(4)]
    newest = await page(pool, 3)
    assert [row.id for row in newest.rows] == ids[:0:-1]
    assert newest.total == 4
    assert [row.id for row in (await page(pool, direction=Direction.ASC)).rows] == ids
    assert [row.id for row in (await page(pool, 2, offset=1)).rows] == [ids[2], ids[1]]


async def test_a_row_says_when_it_began_and_when_it_was_posted(pool: asyncpg.Pool, books: Books) -> None:
    began = datetime(2026, 11, 2, 10, 0, 0, 123_000, tzinfo=UTC)
    posted = began + timedelta(minutes=3)
    await books.ended(used_ucr=1, id=first_id_from(began), created_at=posted)
    (row,) = (await page(pool)).rows
    assert (row.created_at, row.posted_at) == (began, posted)


async def test_each_filter_finds_what_fits_and_nothing_else(pool: asyncpg.Pool, books: Books) -> None:
    plain = await books.ended(used_ucr=1, model="a")
    other = await books.ended(used_ucr=2, model="b", key_id=OTHER_KEY, tags='["x", "y"]')
    persons = await books.ended(used_ucr=3, model="b", user_id=USER, tags='{"y": 1}')
    late = await books.ended(used_ucr=1, kind="REFUND", ended="ok", model="a", key_id=None)
    bought = await granted(books, reason="WELCOME_BONUS")
    expired = await granted(books, kind="EXPIRY", amount_ucr=-1, transaction_type=None)
    back = await books.ended(used_ucr=1, kind="REFUND", transaction_type="REFUND", ref_id=plain, key_id=None)
    assert await found(pool) == [plain, other, persons, late, bought, expired, back]
    assert await found(pool, model="b") == [other, persons]
    assert await found(pool, key_id=KEY) == [plain, persons]
    assert await found(pool, user_id=USER) == [persons]
    assert await found(pool, tag="y") == [other, persons]
    assert await found(pool, tag="x") == [other]
    assert await found(pool, type="USAGE") == [plain, other, persons, late]
    assert await found(pool, type="PURCHASE") == [bought]
    assert await found(pool, type="EXPIRY") == [expired]
    assert await found(pool, type="REFUND") == [back]
    assert await found(pool, reason="WELCOME_BONUS") == [bought]
    assert await found(pool, reason="MODEL_USAGE", model="a") == [plain, late]
    assert await found(pool, model="a", key_id=OTHER_KEY) == []


async def test_a_users_rows_are_their_calls_and_those_of_their_account(
    pool: asyncpg.Pool, books: Books, owner: asyncpg.Connection
) -> None:
    await owner.execute(
        "INSERT INTO account (org_id, account_id, kind, user_id) VALUES ($1, $2, 'user', $2)", ORG, USER
    )
    await books.ended(used_ucr=1)
    call = await books.ended(used_ucr=1, user_id=USER)
    given = await granted(books, account_id=USER)
    assert await found(pool, user_id=USER) == [call, given]


async def test_instants_are_half_open_to_the_microsecond(pool: asyncpg.Pool, books: Books) -> None:
    at = datetime(2026, 11, 2, 10, tzinfo=UTC)
    ids = [await books.ended(used_ucr=1, id=first_id_from(at + timedelta(milliseconds=n))) for n in range(3)]
    ms, us = timedelta(milliseconds=1), timedelta(microseconds=1)
    assert await found(pool, since=at) == ids
    assert await found(pool, since=at + us) == ids[1:]
    assert await found(pool, until=at + ms) == ids[:1]
    assert await found(pool, until=at + ms + us) == ids[:2]
    assert await found(pool, since=at + ms, until=at + ms) == []
    assert first_id_from(datetime(1, 1, 1, tzinfo=UTC)) == first_id_at(0)


async def test_what_moved_nothing_and_what_is_of_others_is_not_in_it(pool: asyncpg.Pool, books: Books) -> None:
    await books.open(OTHER_ORG)
    await books.ended(used_ucr=0, kind="RELEASE")
    await books.ended(used_ucr=1, org_id=OTHER_ORG)
    assert await page(pool) == Page(rows=[], next=None, total=0)


@pytest.mark.parametrize("by", list(OrderBy))
@pytest.mark.parametrize("direction", list(Direction))
async def test_pages_show_each_row_once_whatever_comes_meanwhile(
    by: OrderBy, direction: Direction, pool: asyncpg.Pool, books: Books
) -> None:
    before = [await books.ended(used_ucr=amount % 3) for amount in range(10)]
    seen: list[UUID] = []
    after: Place | None = None
    while True:
        one = await page(pool, 3, order_by=by, direction=direction, after=after)
        seen += [row.id for row in one.rows]
        # One at the end, one in the middle of time, and one at the beginning.
        await books.ended(used_ucr=len(seen) % 4)
        await books.ended(used_ucr=len(seen) % 4, id=UUID(int=before[5].int + len(seen) + 1))
        await books.ended(used_ucr=len(seen) % 4, id=UUID(int=before[0].int - len(seen) - 1))
        if one.next is None or len(seen) > 60:
            break
        after = one.next
    assert [seen.count(id) for id in before] == [1] * 10
    assert len(seen) == len(set(seen))


async def test_the_order_by_amount_is_that_of_signed_amounts(pool: asyncpg.Pool, books: Books) -> None:
    for amount in (2, 9, 4):
        await books.ended(used_ucr=amount)
    await granted(books)
    for direction, amounts in ((Direction.ASC, [-9, -4, -2, 5]), (Direction.DESC, [5, -2, -4, -9])):
        rows = (await page(pool, order_by=OrderBy.AMOUNT, direction=direction)).rows
        assert [row.amount_ucr for row in rows] == amounts


async def test_a_page_looks_at_so_many_rows_and_says_where_to_look_on(
    pool: asyncpg.Pool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LOOK_ROWS", 4)
    rare = [await books.ended(used_ucr=1, model="rare")]
    for _ in range(11):
        await books.ended(used_ucr=1, model="common")
    rare.append(await books.ended(used_ucr=1, model="rare"))
    wanted = Wanted(model="rare")
    first = await page(pool, wanted=wanted)
    assert ([row.id for row in first.rows], first.total) == ([rare[1]], None)
    second = await page(pool, wanted=wanted, after=first.next)
    assert second.rows == []
    assert second.next is not None
    for direction, expected in ((Direction.DESC, rare[::-1]), (Direction.ASC, rare)):
        assert await walk(pool, wanted=wanted, direction=direction) == expected
        assert len(await walk(pool, direction=direction)) == 13


async def test_more_rows_than_can_be_sorted_are_refused_and_narrowing_them_helps(
    pool: asyncpg.Pool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "LOOK_ROWS", 4)
    at, minute = datetime(2026, 11, 2, tzinfo=UTC), timedelta(minutes=1)
    for amount in range(1, 6):
        await books.ended(used_ucr=amount, id=first_id_from(at + amount * minute))
    bought = await granted(books)
    with pytest.raises(InvalidRequest, match="narrow them") as refused:
        await page(pool, order_by=OrderBy.AMOUNT)
    assert refused.value.param == "order_by"
    narrowed = await page(pool, order_by=OrderBy.AMOUNT, wanted=Wanted(type="PURCHASE"))
    assert [row.id for row in narrowed.rows] == [bought]
    later = await page(pool, order_by=OrderBy.AMOUNT, wanted=Wanted(since=at + 3 * minute, until=at + 9 * minute))
    assert [row.amount_ucr for row in later.rows] == [-3, -4, -5]


@pytest.mark.parametrize("rows", [0, 1, 6, 7, 8])
async def test_everything_is_handed_out_once_and_in_order(
    rows: int, pool: asyncpg.Pool, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "EXPORT_ROWS", 2)
    monkeypatch.setattr(transactions, "LOOK_ROWS", 3)
    ids = [await books.ended(used_ucr=1, model="a" if n % 3 else "b") for n in range(rows)]
    pieces = [piece async for piece in Transactions(pool).all(ORG, Wanted())]
    assert [row.id for piece in pieces for row in piece] == ids
    assert all(pieces)
    some = [row.id async for piece in Transactions(pool).all(ORG, Wanted(model="b")) for row in piece]
    assert some == ids[::3]


async def test_an_outage_is_said_to_be_one(pool: asyncpg.Pool, books: Books, outage: Outage) -> None:
    await outage.begin()
    with pytest.raises(LedgerUnavailable):
        await page(pool)
