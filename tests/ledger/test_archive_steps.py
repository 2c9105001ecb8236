"""Archiving stops where something is wrong, changes nothing then, and goes on after whatever interrupted it."""

import asyncio
from datetime import date
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from gateway.core.errors import Conflict, Forbidden
from gateway.core.origin import ITSELF
from gateway.ledger.archive import list_months
from gateway.ledger.calls import End
from tests.ledger.conftest import Bench
from tests.ledger.past import Past, archive, audited, months_ago
from tests.ledger.test_audit import corrupt

OWN_DATABASE = True

EMPTY = "SELECT (SELECT count(*) FROM ledger_closing) + (SELECT count(*) FROM ledger_closing_grant) = 0"


class Interrupted(Exception):
    """Whoever runs it went away."""


async def state_of(owner: asyncpg.Connection, month: date) -> str:
    [state] = [each.state for each in await list_months(owner) if each.name == f"{month:%Y-%m}"]
    return state


@pytest.fixture
async def months(bench: Bench, past: Past) -> list[date]:
    """Two months that rest, with a call that began in the first and ended in the second."""
    await bench.grant(1_000)
    call = await bench.held(50)
    await bench.settle(bench.ending(await bench.held(20), 20), bench.ending(await bench.held(20), 5, end=End.RECOVERED))
    await past.next_chapter()
    await bench.settle(bench.ending(await bench.held(20), 20), bench.ending(call, 30))
    return await past.settle_down()


async def test_whatever_interrupts_it_the_next_run_goes_on(
    months: list[date], bench: Bench, dsn: str, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """The connection breaks at each step in turn, and each run goes on from what the one before had left."""
    for steps in count(1):
        connection = await asyncpg.connect(dsn)
        said: list[str] = []

        def progress(
            what: str, said: list[str] = said, steps: int = steps, it: asyncpg.Connection = connection
        ) -> None:
            said.append(what)
            if len(said) == steps:
                it.terminate()
                raise Interrupted

        try:
            await archive(connection, tmp_path, before=months[1], progress=progress)
        except Interrupted:
            assert await audited(owner, full=True) == [], said[-1]
            assert await bench.numbers() == (925, 0, 0)
            continue
        await connection.close()
        break
    assert steps > 8
    assert said == []  # The last interruption came when all was done.
    assert await state_of(owner, months[0]) == "archived"
    assert await state_of(owner, months[1]) == "attached"
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".gz", ".json"]
    assert len(await archive(owner, tmp_path)) == 1
    assert await audited(owner, full=True) == []


async def test_books_that_are_not_sound_keep_the_month(
    months: list[date], owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """Found before anything was changed, or after an interrupted run had closed the month: then it is opened again."""
    await owner.execute("UPDATE account SET open_count = open_count + 1")
    with pytest.raises(Conflict, match="breaches"):
        await archive(owner, tmp_path)
    assert await state_of(owner, months[0]) == "attached"
    await owner.execute("UPDATE account SET open_count = open_count - 1")

    def stop(what: str) -> None:
        if what.endswith("exporting"):
            raise Interrupted

    with pytest.raises(Interrupted):
        await archive(owner, tmp_path, progress=stop)
    assert await state_of(owner, months[0]) == "closed"
    await owner.execute("UPDATE account SET open_count = open_count + 1")
    with pytest.raises(Conflict, match="breaches"):
        await archive(owner, tmp_path)
    assert await state_of(owner, months[0]) == "attached"
    assert await owner.fetchval(EMPTY)
    await owner.execute("UPDATE account SET open_count = open_count - 1")
    assert len(await archive(owner, tmp_path)) == 2


async def test_a_closing_is_written_only_over_rows_that_were_proven(
    months: list[date], owner: asyncpg.Connection, tmp_path: Path
) -> None:
    def forget(what: str) -> None:
        if what.endswith("writing the closings"):
            told.append(what)
            raise Interrupted

    told: list[str] = []
    with pytest.raises(Interrupted):
        await archive(owner, tmp_path, progress=forget)
    await owner.execute("UPDATE audit_checkpoint SET version = 2")
    page = "SELECT proven FROM write_closings($1, $2, $2, 9)"
    zero = "00000000-0000-0000-0000-000000000000"
    assert [row["proven"] for row in await owner.fetch(page, months[0], zero)] == [False]
    assert await owner.fetchval(EMPTY)


async def test_an_open_reservation_keeps_its_month(
    bench: Bench, past: Past, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await bench.grant(10)
    await past.settle_down()
    wish = await bench.held(5)
    moved = "overlay(id::text PLACING left(first_id_at($1::date + 3)::text, 13) FROM 1)::uuid"
    await owner.execute(f"UPDATE reservation SET id = {moved}", months_ago(3))
    with pytest.raises(Conflict, match="still open"):
        await archive(owner, tmp_path)
    assert await state_of(owner, months_ago(3)) == "attached"
    await owner.execute("UPDATE reservation SET id = $1", wish.id)
    await bench.settle(bench.release(wish))
    assert len(await archive(owner, tmp_path)) == 1


async def test_a_month_that_may_still_change_stays(bench: Bench, owner: asyncpg.Connection, tmp_path: Path) -> None:
    await bench.grant(10)
    told: list[str] = []
    after_next = months_ago(-2)
    assert await archive(owner, tmp_path, before=after_next, progress=told.append) == []
    assert told[0].startswith(f"{months_ago(0):%Y-%m} stays until")
    assert len(told) == 1


async def test_the_applications_role_cannot_archive(
    months: list[date], pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await owner.execute("SET ROLE tollgate_app")
    with pytest.raises(Forbidden, match="owner"):
        await archive(owner, tmp_path)
    await owner.execute("RESET ROLE")
    await owner.execute("SELECT close_ledger_month($1)", months[1])
    for statement in (
        "SELECT close_ledger_month($1)",
        "SELECT reopen_ledger_month($1)",
        "SELECT detach_ledger_month($1, 0, true)",
        "INSERT INTO ledger_closing SELECT $2, $2, $1, 1, 0, 0",
        "UPDATE ledger_closing SET balance_ucr = 0 WHERE first_day = $1",
        "DELETE FROM ledger_closing_grant WHERE first_day = $1",
        "UPDATE ledger_closing_row SET refunded_ucr = 0 WHERE first_day = $1",
        "UPDATE ledger_month SET closed_at = NULL WHERE first_day = $1",
    ):
        arguments = (months[1], "00000000-0000-0000-0000-000000000001")[: 2 if "$2" in statement else 1]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement, *arguments)


async def test_only_one_archives_at_a_time(
    months: list[date], dsn: str, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    other = await asyncpg.connect(dsn)
    assert await other.fetchval("SELECT pg_try_advisory_lock(hashtext('tollgate ledger archive'))")
    with pytest.raises(Conflict, match="Another process"):
        await archive(owner, tmp_path)
    await other.close()


async def test_another_archive_of_the_month_is_not_overwritten(
    months: list[date], owner: asyncpg.Connection, tmp_path: Path
) -> None:
    [manifest] = await archive(owner, tmp_path, before=months[1])
    (tmp_path / manifest.file).rename(tmp_path / f"ledger-{months[1]:%Y-%m}.csv.gz")
    (tmp_path / f"ledger-{months[0]:%Y-%m}.json").rename(tmp_path / f"ledger-{months[1]:%Y-%m}.json")
    with pytest.raises(Conflict, match="another archive"):
        await archive(owner, tmp_path)
    assert await state_of(owner, months[1]) == "closed"


async def test_a_file_that_reads_back_otherwise_detaches_nothing(
    months: list[date], owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """Between the export and the reading back the folder's file becomes another one."""

    def exchange(what: str) -> None:
        if "exported" in what:
            told.append(what)
        elif "reading" in what:
            [part] = tmp_path.glob("*.part")
            part.write_bytes(empty)

    told: list[str] = []
    empty = bytes.fromhex("1f8b08000000000000ff") + b"\x03\x00" + bytes(8)
    with pytest.raises(Conflict, match="is not what the ledger has"):
        await archive(owner, tmp_path, progress=exchange)
    assert told
    assert await state_of(owner, months[0]) == "closed"
    assert [each.suffix for each in tmp_path.iterdir()] == [".part"]


async def test_a_folder_that_cannot_be_written_keeps_the_month(
    months: list[date], owner: asyncpg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match="was not exported and stays"):
        await archive(owner, tmp_path / "file")
    assert await state_of(owner, months[0]) == "closed"


async def test_a_month_that_is_closing_takes_nothing_more(
    months: list[date], bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    """What comes for it goes where what comes for an archived month goes; a repetition is still known."""
    swept, charge = await owner.fetch(
        "SELECT id, amount_ucr FROM ledger WHERE kind = 'CHARGE' AND amount_ucr IN (-5, -20) AND id < first_id_at($1)"
        " ORDER BY amount_ucr DESC",
        months[1],
    )
    await owner.execute("SELECT close_ledger_month($1)", months[0])
    await bench.settle(bench.ending(charge["id"], 20), bench.ending(swept["id"], 15))
    assert await bench.numbers() == (925, 0, 0)
    assert [row["error"] for row in await pool.fetch("SELECT error FROM quarantine")] == ["too_old"]
    with pytest.raises(Conflict, match="archived"):
        await bench.ledger.desk.refund(bench.org_id, charge_id=charge["id"], id=bench.ids.next(), by=ITSELF)
    with pytest.raises(asyncpg.SerializationError, match="is closed"):
        await owner.execute(
            "INSERT INTO ledger SELECT (l).* FROM (SELECT l FROM ledger l WHERE id = $1) x", charge["id"]
        )


async def test_a_refund_that_was_under_way_when_the_month_closed_is_kept(
    months: list[date], bench: Bench, pool: asyncpg.Pool, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    """It had looked at the month before; the month waits for it when it leaves, and takes along what it gave back."""
    charge = await owner.fetchval("SELECT id FROM ledger WHERE amount_ucr = -20 AND id < first_id_at($1)", months[1])
    refunding = await pool.acquire()
    under_way = refunding.transaction()
    await under_way.start()
    await refunding.execute(
        "SELECT refund_charge($1, $2, $3, 4, NULL, NULL, ROW('t', NULL, NULL, NULL)::origin)",
        bench.org_id,
        charge,
        bench.ids.next(),
    )
    detaching = asyncio.Event()
    leaving = asyncio.create_task(
        archive(
            owner,
            tmp_path,
            before=months[1],
            progress=lambda what: detaching.set() if what.endswith("detaching") else None,
        )
    )
    async with asyncio.timeout(20):
        await detaching.wait()
    await under_way.commit()
    await pool.release(refunding)
    await leaving
    assert await owner.fetchval("SELECT charged_ucr FROM ledger_closing_row WHERE id = $1", charge) == 20
    assert await audited(owner, full=True) == []
    await owner.execute("BEGIN")
    await corrupt(owner, "DELETE FROM ledger_closing_row")
    found = await owner.fetch("SELECT invariant FROM violations($1, $1, 0, 0, 0)", bench.org_id)
    await owner.execute("ROLLBACK")
    assert [row["invariant"] for row in found] == [9]
