"""The audit log's chain: every entry once, whatever runs, and whatever is done to one is found and named."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.ledger import audit_log
from gateway.ledger.accounts import Executor
from gateway.ledger.audit_log import AuditLog, ChainEnd, Proof, Tampering, verify
from tests.ledger.desk import ANNA

OWN_DATABASE = True
ORG = UUID(int=1)


async def write(connection: Executor, count: int = 1, *, org_id: UUID = ORG) -> list[UUID]:
    return [
        await connection.fetchval(
            "SELECT write_audit_log($1, $2, 'key.revoked', 'key', $3, NULL, '{\"a\": 1.50}')",
            org_id,
            ANNA.row(),
            uuid4(),
        )
        for _ in range(count)
    ]


async def tamper(owner: asyncpg.Connection, *statements: str) -> None:
    """As somebody who owns the database and knows about triggers."""
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            await owner.execute(statement)


@pytest.fixture
async def entries(pool: asyncpg.Pool) -> list[UUID]:
    """Six of them, chained; the first is at position 1."""
    ids = await write(pool, 6)
    await AuditLog(pool).chain()
    assert (await proof(pool)).tampering is None
    return ids


async def proof(pool: asyncpg.Pool, noted: ChainEnd | None = None) -> Proof:
    return await verify(pool, noted=noted)


async def first_wrong(pool: asyncpg.Pool, noted: ChainEnd | None = None) -> tuple[str, int | None, UUID | None]:
    found = (await proof(pool, noted)).tampering
    assert isinstance(found, Tampering)
    return found.what, found.position, found.id


async def test_an_empty_log_is_sound(pool: asyncpg.Pool) -> None:
    await AuditLog(pool).chain()
    found = await proof(pool)
    assert (found.end.position, found.waiting, found.tampering) == (0, 0, None)


async def test_what_is_not_chained_yet_waits_and_is_said_to(pool: asyncpg.Pool) -> None:
    await write(pool, 2)
    assert (await proof(pool)).waiting == 2
    await AuditLog(pool).chain()
    found = await proof(pool)
    assert (found.end.position, found.waiting, found.tampering) == (2, 0, None)


async def test_many_who_chain_at_once_chain_each_entry_once(
    pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "_CHAIN_AT_ONCE", 7)
    monkeypatch.setattr(audit_log, "_LINKS_AT_ONCE", 10)

    async def write_and_chain(org_id: UUID) -> None:
        for _ in range(10):
            await write(pool, org_id=org_id)
            await AuditLog(pool).chain()

    await asyncio.gather(*(write_and_chain(UUID(int=number)) for number in range(1, 7)))
    links = await pool.fetch("SELECT position, id FROM audit_link ORDER BY position")
    assert [link["position"] for link in links] == list(range(1, 61))
    assert len({link["id"] for link in links}) == 60
    assert (await proof(pool)).tampering is None


async def test_an_entry_that_is_committed_late_comes_after_those_that_were_there(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        (late,) = await write(connection)
        early = await write(pool, 3)
        await AuditLog(pool).chain()
        await transaction.commit()
    await AuditLog(pool).chain()
    links = [link["id"] for link in await pool.fetch("SELECT id FROM audit_link ORDER BY position")]
    assert late < early[0]
    assert links == [*early, late]
    assert (await proof(pool)).tampering is None


async def test_an_entry_that_is_rolled_back_leaves_no_gap(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await write(connection)
        await transaction.rollback()
    await write(pool)
    await AuditLog(pool).chain()
    found = await proof(pool)
    assert (found.end.position, found.waiting, found.tampering) == (1, 0, None)


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'operator'",
        "address = ''",
        "at = at + interval '1 microsecond'",
        "action = 'key.created'",
        "object_kind = 'user'",
        "object_id = gen_random_uuid()",
        "before = '{}'",
        "after = '{\"a\": 1.5}'",
        "after = NULL",
        "reason = 'other'",
        "request_id = NULL",
    ],
)
async def test_any_field_that_is_changed_is_found(
    change: str, entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(owner, f"UPDATE audit_log SET {change} WHERE id = '{entries[2]}'")
    assert await first_wrong(pool) == ("changed", 3, entries[2])


async def test_the_first_of_several_is_named(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(
        owner,
        f"DELETE FROM audit_log WHERE id = '{entries[4]}'",
        f"UPDATE audit_log SET reason = 'x' WHERE id = '{entries[1]}'",
    )
    assert await first_wrong(pool) == ("changed", 2, entries[1])


async def test_an_entry_that_is_removed_is_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(owner, f"DELETE FROM audit_log WHERE id = '{entries[3]}'")
    assert await first_wrong(pool) == ("removed", 4, entries[3])


async def test_an_entry_that_is_removed_with_its_link_is_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(
        owner, f"DELETE FROM audit_log WHERE id = '{entries[3]}'", f"DELETE FROM audit_link WHERE id = '{entries[3]}'"
    )
    assert await first_wrong(pool) == ("removed", 4, None)


async def test_a_gap_that_is_closed_up_is_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(
        owner,
        f"DELETE FROM audit_log WHERE id = '{entries[3]}'",
        f"DELETE FROM audit_link WHERE id = '{entries[3]}'",
        "UPDATE audit_link SET position = position - 1 WHERE position = 5",
        "UPDATE audit_link SET position = position - 1 WHERE position = 6",
        "UPDATE audit_chain SET position = 5",
    )
    assert await first_wrong(pool) == ("misplaced", 4, entries[4])


async def test_the_last_entries_removed_with_their_links_are_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(
        owner,
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_link WHERE position > 4)",
        "DELETE FROM audit_link WHERE position > 4",
    )
    assert await first_wrong(pool) == ("removed", 5, None)


async def test_the_last_entries_removed_with_every_trace_are_found_by_a_note(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    noted = (await proof(pool)).end
    await tamper(
        owner,
        "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_link WHERE position > 4)",
        "DELETE FROM audit_link WHERE position > 4",
        "UPDATE audit_chain SET (position, hash) = (SELECT position, hash FROM audit_link WHERE position = 4)",
    )
    assert (await proof(pool)).tampering is None
    assert await first_wrong(pool, noted) == ("end_differs", 4, None)


async def test_a_chain_that_is_made_anew_is_found_by_a_note(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    noted = (await proof(pool)).end
    await tamper(
        owner,
        f"UPDATE audit_log SET actor = 'operator' WHERE id = '{entries[1]}'",
        "DELETE FROM audit_link",
        "UPDATE audit_chain SET position = 0, hash = decode(repeat('00', 32), 'hex')",
        "INSERT INTO audit_waiting SELECT org_id, id FROM audit_log",
    )
    await AuditLog(pool).chain()
    await write(pool)
    await AuditLog(pool).chain()
    assert (await proof(pool)).tampering is None
    assert await first_wrong(pool, noted) == ("end_differs", 6, None)


async def test_a_note_of_a_chain_that_went_on_is_kept(entries: list[UUID], pool: asyncpg.Pool) -> None:
    noted = (await proof(pool)).end
    await write(pool)
    await AuditLog(pool).chain()
    found = await proof(pool, noted)
    assert (found.end.position, found.tampering) == (7, None)


async def test_an_entry_that_is_put_in_is_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(
        owner,
        "INSERT INTO audit_log SELECT org_id, '00000000-0000-0000-0000-000000000001', at, actor, address, action,"
        f" object_kind, object_id, before, after, reason, request_id FROM audit_log WHERE id = '{entries[0]}'",
    )
    assert await first_wrong(pool) == ("inserted", None, UUID(int=1))


async def test_a_link_that_is_put_in_is_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    (forged,) = await write(owner)
    await tamper(
        owner,
        *(f"UPDATE audit_link SET position = {to} WHERE position = {to - 1}" for to in (7, 6, 5, 4)),
        "INSERT INTO audit_link SELECT 3, l.org_id, l.id, audit_content_hash(l),"
        " sha256(k.hash || audit_content_hash(l))"
        f" FROM audit_log l, audit_link k WHERE l.id = '{forged}' AND k.position = 2",
        "DELETE FROM audit_waiting",
        "UPDATE audit_chain SET position = 7",
    )
    # The forged link follows what is before it; what follows it is what no longer does.
    assert await first_wrong(pool) == ("misplaced", 4, entries[2])


async def test_entries_that_change_places_are_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    await tamper(
        owner,
        "UPDATE audit_link SET position = 100 WHERE position = 2",
        "UPDATE audit_link SET position = 2 WHERE position = 5",
        "UPDATE audit_link SET position = 5 WHERE position = 100",
    )
    assert await first_wrong(pool) == ("misplaced", 2, entries[4])


async def test_an_entry_that_is_removed_before_it_is_chained_is_found(
    entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    (waiting,) = await write(pool)
    await tamper(owner, f"DELETE FROM audit_log WHERE id = '{waiting}'")
    await AuditLog(pool).chain()
    assert await first_wrong(pool) == ("removed", None, waiting)


@pytest.mark.parametrize(
    "change", ["UPDATE audit_link SET position = 9", "DELETE FROM audit_link", "TRUNCATE audit_link"]
)
async def test_links_are_append_only_even_for_their_owner(
    change: str, entries: list[UUID], pool: asyncpg.Pool, owner: asyncpg.Connection
) -> None:
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(change)


async def test_an_entry_says_the_same_whatever_the_sessions_time_zone(entries: list[UUID], pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL timezone = 'Asia/Kolkata'")
        assert (await verify(connection)).tampering is None
