"""No list reads more rows than tests/bench/lists.py allows it. `make list-timings` does the same on a million rows."""

import asyncpg

from gateway.usage.statistics import Statistics
from tests.bench.lists import ORG, Books, cost_of, lists

ROWS = 30_000


async def test_no_list_reads_more_than_it_may(pool: asyncpg.Pool, owner: asyncpg.Connection) -> None:
    books = Books(owner, rows=ROWS)
    await books.make()
    await Statistics(pool).roll_up(ORG)
    await owner.execute("ANALYZE usage_day")
    costs = [await cost_of(one, pool, times=1) for one in lists(books)]
    assert [(cost.name, cost.rows_read, cost.nodes) for cost in costs if cost.rows_read > cost.rows_max] == []
    assert {cost.name for cost in costs if not cost.rows_read} == set(), "a list that reads nothing proves nothing"
