"""A large ledger of one organisation, every list over it, and how many rows each list's statements read.

What a list may read is written here: a page that goes on after a cursor, without filters, at most twice the rows that
it shows; everything else, whatever is asked for, at most what one page looks at, twice: once for the page, and once to
count, or to say where to look on.
"""

import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.ledger.audit_log import LOOK_ENTRIES, AuditLog, WantedEntries
from gateway.ledger.grants import read_live_grants
from gateway.usage.statistics import GroupBy, Slice, Statistics
from gateway.usage.transactions import LOOK_ROWS, Direction, OrderBy, Place, Transactions, Wanted, first_id_from

ORG: Final = UUID(int=7)
LIMIT: Final = 50
SPAN: Final = timedelta(days=60)
BESIDE: Final = 200
"""Of so many rows one is a grant."""
KEYS: Final = 40
MODELS: Final = 10
ROWS_AT_ONCE: Final = 100_000

_OPEN = """
INSERT INTO account (org_id, account_id, balance_ucr, version, granted_ucr)
VALUES ($1::uuid, $1, 9000000000000, $2, 9000000000000)
"""
_ROWS = """
INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr, created_at, ended,
                    transaction_type, reason, key_id, user_id, model, upstream, upstream_model, provider_request_id,
                    streamed, status, finish_reason, prompt_tokens, output_tokens, lines, numerator, held_ucr,
                    burned_grant, first_event_ms, duration_ms)
SELECT $1, id, $1, n, CASE WHEN call THEN 'CHARGE' ELSE 'GRANT' END,
       CASE WHEN call THEN -450 ELSE 1000000 + n % 1000 END, 0, at, CASE WHEN call THEN 'ok' END,
       CASE WHEN NOT call THEN 'PURCHASE' END, CASE WHEN NOT call THEN 'MANUAL_ADJUSTMENT' END,
       CASE WHEN call THEN lpad(to_hex(n % $7 + 1), 32, '0')::uuid END,
       CASE WHEN call AND n % 3 = 0 THEN lpad(to_hex(n % $7 + 1), 32, '0')::uuid END,
       CASE WHEN call THEN 'model-' || n % $8 END, CASE WHEN call THEN 'openai' END, CASE WHEN call THEN 'model' END,
       CASE WHEN call THEN 'chatcmpl-' || id END, call, CASE WHEN call THEN 200 END, CASE WHEN call THEN 'stop' END,
       CASE WHEN call THEN 1000 END, CASE WHEN call THEN 500 END,
       CASE WHEN call THEN '[["input",1000,150000],["output",500,600000]]'::json END,
       CASE WHEN call THEN 450000000 END, CASE WHEN call THEN 900 END, CASE WHEN call THEN $1::uuid END,
       CASE WHEN call THEN 350 END, CASE WHEN call THEN 2900 END
  FROM (SELECT n, n % $6 <> 0 AS call, first_id_at($4::timestamptz + n * $5::interval) AS id, $4 + n * $5 AS at
          FROM generate_series($2::bigint, $3) AS n OFFSET 0) AS r
"""
_GRANTS = """
INSERT INTO credit_grant (org_id, id, account_id, kind, category, amount_ucr, remaining_ucr, effective_at, activated_at)
SELECT $1, new_ledger_id($2), $1, 'prepaid', 'paid', 1000, 1000, $2, $2 FROM generate_series(1, $3::integer)
"""
_ENTRIES = """
INSERT INTO audit_log (org_id, id, at, actor, address, action, object_kind, object_id, reason)
SELECT $1, first_id_at(at), at, 'user:' || n % 50, '192.0.2.1',
       CASE n % 20 WHEN 0 THEN 'key.revoked' ELSE 'credits.granted' END, 'grant',
       lpad(to_hex(n % 1000 + 1), 32, '0')::uuid, ''
  FROM (SELECT n, $2::timestamptz + n * $4::interval AS at FROM generate_series(1, $3::bigint) AS n) AS e
"""


class Books:
    """`rows` ledger rows of one organisation, spread over two months that lie behind, and a tenth as many entries."""

    def __init__(self, owner: asyncpg.Connection, *, rows: int) -> None:
        self._owner = owner
        self.rows = rows
        self.begin = datetime.now(UTC) - SPAN
        self._step = SPAN / rows

    async def make(self) -> None:
        owner = self._owner
        for day in range(0, SPAN.days + 1, 27):
            await owner.execute("SELECT make_ledger_month($1)", (self.begin + timedelta(days=day)).date())
        await owner.execute(_OPEN, ORG, self.rows)
        for first in range(1, self.rows + 1, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE - 1, self.rows)
            await owner.execute(_ROWS, ORG, first, last, self.begin, self._step, BESIDE, KEYS, MODELS)
        await owner.execute(_GRANTS, ORG, self.begin, min(self.rows // BESIDE, 500))
        entries = self.rows // 10
        await owner.execute(_ENTRIES, ORG, self.begin, entries, SPAN / entries)
        await owner.execute("VACUUM ANALYZE")

    @property
    def middle(self) -> Place:
        """Where half of the rows lie before."""
        return Place(id=first_id_from(self.begin + SPAN / 2))


class List(msgspec.Struct, frozen=True):
    """One list over the books, and how many rows it may read."""

    name: str
    ask: Callable[["Watched"], Awaitable[object]]
    rows_max: int


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one list cost."""

    name: str
    ms: float
    """The median of several times, after one that is not counted."""
    rows_read: int
    rows_max: int
    nodes: tuple[str, ...]
    """Where they were read: the plan's scans."""


class Watched:
    """A pool that remembers what it was asked, so that the same can be explained."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    async def fetch(self, statement: str, *args: Any) -> Any:
        self.asked.append((statement, args))
        return await self._pool.fetch(statement, *args)

    async def fetchrow(self, statement: str, *args: Any) -> Any:
        self.asked.append((statement, args))
        return await self._pool.fetchrow(statement, *args)

    async def fetchval(self, statement: str, *args: Any) -> Any:
        self.asked.append((statement, args))
        return await self._pool.fetchval(statement, *args)


def lists(books: Books) -> list[List]:
    key, day = UUID(int=3), timedelta(days=1)
    late = books.begin + SPAN - day
    any_entry = WantedEntries(first_id=UUID(int=0), end_id=UUID(int=2**128 - 1))
    page, look, use = 2 * LIMIT, 2 * LOOK_ROWS + LIMIT, 31 * KEYS * MODELS * 2

    def rows(name: str, most: int, wanted: Wanted | None = None, **options: Any) -> List:
        async def ask(pool: Watched) -> object:
            return await Transactions(pool).page(ORG, wanted or Wanted(), limit=LIMIT, **options)  # type: ignore[arg-type]

        return List(f"transactions, {name}", ask, most)

    def groups(by: GroupBy) -> List:
        slice = Slice(first_day=late.date() - 29 * day, end_day=late.date() + day)

        async def ask(pool: Watched) -> object:
            return await Statistics(pool).groups(ORG, slice, by, limit=100)  # type: ignore[arg-type]

        return List(f"statistics of 30 days by {by}", ask, 2 * use)

    def entries(name: str, most: int, **wanted: Any) -> List:
        async def ask(pool: Watched) -> object:
            asked = msgspec.structs.replace(any_entry, **wanted)
            return await AuditLog(pool).page(ORG, asked, limit=LIMIT)  # type: ignore[arg-type]

        return List(f"audit log, {name}", ask, most)

    async def grants(pool: Watched) -> object:
        return await read_live_grants(pool, ORG, None, limit=200)  # type: ignore[arg-type]

    return [
        rows("first page, counted", look),
        rows("oldest first, counted", look, direction=Direction.ASC),
        rows("after a cursor", page, after=books.middle),
        rows("after a cursor, oldest first", page, after=books.middle, direction=Direction.ASC),
        rows("10,000 rows down", 3 * LOOK_ROWS + look, offset=LOOK_ROWS),
        rows("of a type beside calls", look, Wanted(type="PURCHASE")),
        rows("of a type beside calls, after a cursor", page, Wanted(type="PURCHASE"), after=books.middle),
        rows("of one model", look, Wanted(model="model-7"), after=books.middle),
        rows("of one key", look, Wanted(key_id=key), after=books.middle),
        rows("of one user", look, Wanted(user_id=key), after=books.middle),
        rows("of a model that is never used", look, Wanted(model="nothing"), after=books.middle),
        rows("of a tag that is never used", look, Wanted(tag="nothing"), after=books.middle),
        rows("of an hour", look, Wanted(since=late, until=late + timedelta(hours=1))),
        rows("of a type, by amount", 2 * look, Wanted(type="PURCHASE"), order_by=OrderBy.AMOUNT),
        *(groups(by) for by in GroupBy),
        List("grants of a balance", grants, 1_000),
        entries("first page", 2 * LIMIT),
        entries("of an actor", look, actor="user:7"),
        entries("of an object", look, object_id=key),
        entries("of an action that never was", 2 * LOOK_ENTRIES + LIMIT, action="key.rotated"),
    ]


async def cost_of(one: List, pool: asyncpg.Pool, *, times: int) -> Cost:
    watched = Watched(pool)
    await one.ask(watched)
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await one.ask(Watched(pool))
        took.append((time.perf_counter() - began) * 1000)
    read, nodes = 0, []
    for statement, args in watched.asked:
        if "roll_up" in statement:
            continue
        explained = await pool.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", *args)
        more, where = rows_read(msgspec.json.decode(explained)[0]["Plan"])
        read += more
        nodes += where
    return Cost(
        name=one.name, ms=median(took), rows_read=read, rows_max=one.rows_max, nodes=tuple(dict.fromkeys(nodes))
    )


def rows_read(plan: dict[str, Any]) -> tuple[int, list[str]]:
    """All rows that the plan's scans of tables and indexes met, those that a filter threw away too."""
    read, where = 0, []
    if plan["Node Type"].endswith("Scan") and ("Relation Name" in plan or plan["Node Type"] == "Bitmap Index Scan"):
        loops = plan["Actual Loops"]
        thrown_away = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        read = round((plan["Actual Rows"] + thrown_away) * loops)
        if read:
            where = [_name(plan.get("Index Name") or plan["Relation Name"])]
    for child in plan.get("Plans", []):
        more, below = rows_read(child)
        read += more
        where += below
    return read, where


def _name(name: str) -> str:
    """A month's index by the name that all months' have together."""
    name = re.sub(r"^ledger_\d{4}_\d\d", "ledger", name)
    return "ledger_beside_calls" if name == "ledger_org_id_id_idx" else name
