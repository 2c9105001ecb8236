"""Months leave the ledger, and nothing else changes: balances, proofs, and what is found when the books are broken."""

import asyncio
import csv
import gzip
import hashlib
import io
import random
from pathlib import Path

import asyncpg
import pytest

from gateway.core.errors import Conflict, InvalidRequest
from gateway.core.origin import ITSELF
from gateway.ledger.archive import list_months
from gateway.ledger.calls import End
from tests.ledger.conftest import Bench
from tests.ledger.desk import open_user
from tests.ledger.past import Past, archive, audited, months_ago
from tests.ledger.story import Story
from tests.ledger.subscribing import LINE, end_period, subscribe
from tests.ledger.test_audit import CORRUPTIONS, corrupt

OWN_DATABASE = True

ACCOUNTS = "SELECT account_id, balance_ucr, held_ucr, receivable_ucr, version FROM account ORDER BY account_id"


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happened_balances_and_proofs_outlive_its_months(
    seed: int, bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    accounts = [bench.account_id, await open_user(bench, pool), await open_user(bench, pool)]
    story = Story(bench, accounts, random.Random(seed))
    await bench.grant(300)
    for _ in range(4):
        await story.go_on(40)
        await past.next_chapter()
    await story.end()
    months = await past.settle_down()
    assert await audited(owner, full=True) == []
    before = await owner.fetch(ACCOUNTS)
    for month in [*months[1:], months_ago(0)]:
        await archive(owner, tmp_path, before=month)
        assert await audited(owner, full=True) == []
        assert await audited(owner, full=False) == []
        assert await owner.fetch(ACCOUNTS) == before
    assert {each.state for each in await list_months(pool) if each.name < f"{months_ago(2):%Y-%m}"} == {"archived"}
    await Story(bench, accounts, random.Random(seed)).go_on(30)
    assert await audited(owner, full=True) == []


async def test_every_corruption_after_the_closing_is_found(
    bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    desk, user = bench.ledger.desk, await open_user(bench, pool)
    await bench.grant(1_000)
    early, later = await bench.held(100), await bench.held(60)
    await bench.settle(bench.ending(early, 40), bench.ending(await bench.held(20), 20))
    await past.next_chapter()
    paid = await bench.held(20)
    await bench.settle(bench.ending(later, 50), bench.ending(paid, 20), bench.release(await bench.held(9)))
    await past.settle_down()
    await archive(owner, tmp_path)
    paid, charged = await bench.held(20), await bench.held(30)
    await bench.settle(bench.ending(paid, 20))
    await desk.refund(bench.org_id, charge_id=paid.id, id=bench.ids.next(), by=ITSELF)
    await desk.transfer(
        bench.org_id, source_id=bench.account_id, target_id=user, id=bench.ids.next(), amount_ucr=9, by=ITSELF
    )
    await desk.void(bench.org_id, await bench.grant(1, priority=90), by=ITSELF)
    await bench.held(50)
    await bench.settle(bench.ending(charged, 30))
    assert await audited(owner, full=True) == []
    missed = []
    for what, (invariant, statement) in CORRUPTIONS.items():
        await owner.execute("BEGIN")
        await corrupt(owner, statement)
        found = await owner.fetch("SELECT * FROM violations($1, $1, 0, 0, 0)", bench.org_id)
        await owner.execute("ROLLBACK")
        if invariant not in {row["invariant"] for row in found}:
            missed.append(what)
    assert missed == []


async def test_what_refers_into_an_archived_month_is_still_proven(
    bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """Refunds of its charges in two later months, the second of them attached; a transfer over the month's end."""
    desk, user = bench.ledger.desk, await open_user(bench, pool)
    await bench.grant(1_000)
    call, moved = await bench.held(100), bench.ids.next()
    await bench.settle(bench.ending(call, 90))
    for _ in range(2):
        await past.next_chapter()
        await desk.refund(bench.org_id, charge_id=call.id, id=bench.ids.next(), amount_ucr=30, by=ITSELF)
        await desk.transfer(bench.org_id, source_id=bench.account_id, target_id=user, id=moved, amount_ucr=5, by=ITSELF)
    _, second, third = await past.settle_down()
    await archive(owner, tmp_path, before=second)
    assert await audited(owner, full=True) == []
    less = "UPDATE ledger_closing_row SET amount_ucr = amount_ucr + 1 WHERE kind = 'TRANSFER_OUT'"
    assert await found_after(owner, less, bench) == {7}
    await archive(owner, tmp_path, before=third)
    assert await audited(owner, full=True) == []
    # 30 were given back in the archived month, 30 in the attached one: of 90.
    more = "UPDATE ledger SET amount_ucr = amount_ucr + {0} WHERE kind = 'REFUND'"
    assert 9 not in await found_after(owner, more.format(30), bench)
    assert 9 in await found_after(owner, more.format(31), bench)


async def found_after(owner: asyncpg.Connection, statement: str, bench: Bench) -> set[int]:
    await owner.execute("BEGIN")
    await corrupt(owner, statement)
    found = await owner.fetch(
        "SELECT v.* FROM account a, violations(a.org_id, a.account_id, 0, 0, 0) v WHERE a.org_id = $1", bench.org_id
    )
    await owner.execute("ROLLBACK")
    return {row["invariant"] for row in found}


async def test_what_of_an_archived_month_is_asked_for_is_refused_clearly(
    bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await bench.grant(1_000)
    call, swept = await bench.held(100), await bench.held(100)
    await bench.settle(bench.ending(call, 90), bench.ending(swept, 10, end=End.RECOVERED))
    refund = bench.ids.next()
    await past.settle_down()
    charge, late = await owner.fetch("SELECT id FROM ledger WHERE kind = 'CHARGE' ORDER BY amount_ucr")
    await archive(owner, tmp_path)
    with pytest.raises(Conflict, match="archived; nothing was refunded"):
        await bench.ledger.desk.refund(bench.org_id, charge_id=charge["id"], id=refund, by=ITSELF)
    await bench.settle(bench.ending(late["id"], 50))
    assert await pool.fetchval("SELECT error FROM quarantine WHERE id = $1", late["id"]) == "too_old"
    with pytest.raises(InvalidRequest, match="off the ledger's clock"):
        await bench.ledger.desk.take(bench.org_id, bench.account_id, id=charge["id"], amount_ucr=1, by=ITSELF)
    with pytest.raises(asyncpg.RestrictViolationError, match="is archived: the row is refused"):
        await pool.execute(
            "INSERT INTO ledger (org_id, id, account_id, version, kind, amount_ucr, balance_after_ucr,"
            " created_at) VALUES ($1, $2, $1, 99, 'GRANT', 1, 1, clock_timestamp())",
            bench.org_id,
            charge["id"],
        )
    assert await bench.numbers() == (900, 0, 0)


async def test_a_repeated_refund_gets_its_answer_when_the_charge_is_archived(
    bench: Bench, past: Past, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await bench.grant(1_000)
    call = await bench.held(100)
    await bench.settle(bench.ending(call, 90))
    await past.settle_down()
    charge = await owner.fetchval("SELECT id FROM ledger WHERE kind = 'CHARGE'")
    refund = bench.ids.next()
    first = await bench.ledger.desk.refund(bench.org_id, charge_id=charge, id=refund, amount_ucr=4, by=ITSELF)
    await archive(owner, tmp_path)
    again = await bench.ledger.desk.refund(bench.org_id, charge_id=charge, id=refund, amount_ucr=4, by=ITSELF)
    assert (first.repeated, first.amount_ucr) == (False, 4)
    assert (again.repeated, again.amount_ucr, again.refundable_ucr) == (True, 4, 0)


async def test_what_is_summed_up_from_rows_outlives_them(
    bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """What was used of a credit line is what did not expire of it; what a key used is rolled up when somebody asks."""
    key = bench.ids.next()
    await subscribe(bench, LINE)
    await bench.settle(bench.ending(await bench.held(10, key_id=key), 10, key_id=key))
    await end_period(owner, bench)
    assert (await bench.refused(51)).available_ucr == 50
    await past.settle_down()
    lines = await bench.ledger.subscriptions.credit_line_used(bench.org_id, bench.account_id)
    await archive(owner, tmp_path)
    assert await owner.fetchval("SELECT count(*) FROM ledger") == 0
    assert [line.used_ucr for line in lines] == [0, 10]
    assert await bench.ledger.subscriptions.credit_line_used(bench.org_id, bench.account_id) == lines
    assert await pool.fetchval("SELECT sum(used_ucr)::bigint FROM key_day WHERE key_id = $1", key) == 10


async def test_the_file_is_the_month_and_can_be_read_by_the_database(
    bench: Bench, past: Past, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await bench.grant(1_000)
    await bench.settle(*[bench.ending(await bench.held(20), 10, provider_request_id='a "b",\n') for _ in range(5)])
    [month] = await past.settle_down()
    ids = [str(row["id"]) for row in await owner.fetch("SELECT id FROM ledger ORDER BY org_id, id")]
    [manifest] = await archive(owner, tmp_path, keep_table=True)
    path = tmp_path / manifest.file
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        f"ledger-{month:%Y-%m}.csv.gz",
        f"ledger-{month:%Y-%m}.json",
    ]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest.sha256
    with gzip.open(path, "rt", newline="") as text:
        rows = list(csv.DictReader(text))
    assert [row["id"] for row in rows] == ids
    assert list(rows[0]) == [column.name for column in manifest.columns]
    assert {(row["kind"], row["contra"], row["charged_ucr"], row["cost_ucr"]) for row in rows} == {
        ("GRANT", "grant_source", "", ""),
        ("CHARGE", "revenue", "10", "10"),
    }
    assert manifest.totals.amount_ucr_by_kind == {"GRANT": 1_000, "CHARGE": -50}
    assert (manifest.totals.rows, manifest.totals.rows_by_kind) == (6, {"GRANT": 1, "CHARGE": 5})
    assert (str(manifest.totals.first_id), str(manifest.totals.last_id)) == (min(ids), max(ids))
    table = f"ledger_{month:%Y_%m}"
    await owner.execute(
        "CREATE TEMP TABLE back AS SELECT l.*, contra(l), charged_ucr(l), cost_ucr(l), upstream_model_of(l)"
        " FROM ledger l WITH NO DATA"
    )
    unpacked = io.BytesIO(gzip.decompress(path.read_bytes()))
    await owner.copy_to_table("back", source=unpacked, format="csv", header=True)
    await owner.execute("ALTER TABLE back DROP contra, DROP charged_ucr, DROP cost_ucr, DROP upstream_model_of")
    same = f"SELECT count(*) FROM (SELECT t::text FROM {table} t EXCEPT SELECT b::text FROM back b) AS differing"
    assert await owner.fetchval(same) == 0
    for change in (f"DELETE FROM {table}", f"INSERT INTO {table} SELECT * FROM back", f"TRUNCATE {table}"):
        with pytest.raises(asyncpg.PostgresError, match=r"is closed|append-only"):
            await owner.execute(change)
    [kept] = [each for each in await list_months(owner) if each.state == "archived"]
    assert (kept.name, kept.rows) == (f"{month:%Y-%m}", 6)
    assert kept.bytes


async def test_calls_go_on_while_a_month_leaves(
    bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """Somebody reads the ledger for long: the archive asks for its lock again and again, and calls pass in between."""
    await bench.grant(1_000)
    await bench.settle(bench.ending(await bench.held(10), 10))
    await past.settle_down()
    detaching = asyncio.Event()
    reader = await pool.acquire()
    reading = reader.transaction()
    await reading.start()
    await reader.fetchval("SELECT count(*) FROM ledger")
    leaving = asyncio.create_task(
        archive(owner, tmp_path, progress=lambda what: detaching.set() if what.endswith("detaching") else None)
    )
    await detaching.wait()
    await asyncio.gather(*(call(bench) for _ in range(4)))
    assert not leaving.done()
    await reading.rollback()
    await pool.release(reader)
    calls = asyncio.create_task(call(bench))
    assert len(await leaving) == 1
    await calls
    assert await bench.numbers() == (890, 0, 0)


async def call(bench: Bench) -> None:
    for _ in range(20):
        wish = await bench.held(1)
        bench.ledger.settle(bench.ending(wish, 1))
    assert await bench.ledger.settled(bench.org_id)


async def test_an_audit_that_a_leaving_month_overtakes_finds_nothing(
    bench: Bench, past: Past, pool: asyncpg.Pool, owner: asyncpg.Connection, dsn: str, tmp_path: Path
) -> None:
    """It has begun when the month leaves, and reads rows only then."""
    await bench.grant(1_000)
    [month] = await past.settle_down()
    await owner.execute("SELECT close_ledger_month($1)", month)
    assert await audited(owner, full=True) == []
    await owner.fetch("SELECT * FROM write_closings($1, $2, $2, 9)", month, "00000000-0000-0000-0000-000000000000")
    await owner.execute("BEGIN")
    await owner.execute("SELECT detach_ledger_month($1, 1, false)", month)
    audit = asyncio.create_task(audited(pool, full=True))
    watch = await asyncpg.connect(dsn)
    async with asyncio.timeout(10):
        while not await watch.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not audit.done()
    await watch.close()
    await owner.execute("COMMIT")
    assert await audit == []
