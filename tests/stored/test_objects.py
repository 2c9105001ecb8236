"""Ids of what providers keep are written down before they are handed out, and each is one organisation's."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from gateway.core.dialect import Kept
from gateway.core.errors import LedgerUnavailable
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.postgres.pool import open_pool
from gateway.stored import objects
from gateway.stored.objects import StoredObject, StoredObjects

RESPONSE = Kept("response", "resp_1")
ITEM = Kept("item", "msg_1")


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(dsn, min_size=1, max_size=4, statement_timeout_s=5, connect_timeout_s=3)
    yield pool
    await pool.close()


@pytest.fixture
async def stored(pool: asyncpg.Pool) -> AsyncIterator[StoredObjects]:
    stored = StoredObjects(pool)
    yield stored
    await stored.stop()


async def org(pool: asyncpg.Pool) -> UUID:
    id = IdSource(Clock()).next()
    await pool.execute("INSERT INTO org (org_id, name) VALUES ($1, $2)", id, str(id))
    return id


async def test_what_was_remembered_is_found_by_its_organisation_alone(
    pool: asyncpg.Pool, stored: StoredObjects
) -> None:
    ours, theirs = await org(pool), await org(pool)
    await stored.remember(ours, "main", "resp_1", [RESPONSE, ITEM])
    assert await stored.find(ours, ["resp_1", "msg_1", "resp_2"]) == {
        "resp_1": StoredObject("resp_1", "response", "main"),
        "msg_1": StoredObject("msg_1", "item", "main"),
    }
    assert await stored.find(theirs, ["resp_1"]) == {}
    await stored.remember(theirs, "spare", "resp_1", [RESPONSE])
    assert (await stored.find(theirs, ["resp_1"]))["resp_1"].upstream == "spare"


async def test_a_response_is_forgotten_with_what_came_with_it(pool: asyncpg.Pool, stored: StoredObjects) -> None:
    ours = await org(pool)
    await stored.remember(ours, "main", "resp_1", [RESPONSE, ITEM])
    await stored.remember(ours, "main", "resp_2", [Kept("response", "resp_2")])
    await stored.forget(ours, "resp_1")
    assert set(await stored.find(ours, ["resp_1", "msg_1", "resp_2"])) == {"resp_2"}


async def test_what_no_provider_keeps_any_longer_is_purged(pool: asyncpg.Pool, stored: StoredObjects) -> None:
    ours = await org(pool)
    await stored.remember(ours, "main", "resp_1", [RESPONSE, ITEM])
    await pool.execute("UPDATE stored_object SET expires_at = clock_timestamp() WHERE id = 'msg_1'")
    assert set(await stored.find(ours, ["resp_1", "msg_1"])) == {"resp_1"}
    assert await stored.purge() == 1
    assert await stored.purge() == 0


async def test_many_at_once_and_the_same_twice_are_all_written(pool: asyncpg.Pool, stored: StoredObjects) -> None:
    ours = await org(pool)
    ids = [f"resp_{number}" for number in range(200)]
    await asyncio.gather(*(stored.remember(ours, "main", id, [Kept("response", id), ITEM]) for id in ids))
    assert set(await stored.find(ours, ids)) == set(ids)


@pytest.mark.parametrize("id", ["", "x" * 257, "a\x00b"])
async def test_an_id_that_cannot_be_one_is_nobodys(pool: asyncpg.Pool, stored: StoredObjects, id: str) -> None:
    ours = await org(pool)
    await stored.remember(ours, "main", id, [Kept("response", id)])
    assert await stored.find(ours, [id]) == {}


async def test_what_cannot_be_written_waits_and_is_written_later(
    pool: asyncpg.Pool, stored: StoredObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "WAIT_S", 0.05)
    monkeypatch.setattr(objects, "RETRY_S", 0.01)
    ours = await org(pool)
    insert, away = stored._insert, True

    async def fails_at_first(rows: list[objects._Row]) -> None:
        if away:
            raise ConnectionResetError
        await insert(rows)

    monkeypatch.setattr(stored, "_insert", fails_at_first)
    await stored.remember(ours, "main", "resp_1", [RESPONSE])  # the answer goes on without it
    assert await stored.find(ours, ["resp_1"]) == {}
    away = False
    await stored.remember(ours, "main", "resp_2", [Kept("response", "resp_2")])
    assert set(await stored.find(ours, ["resp_1", "resp_2"])) == {"resp_1", "resp_2"}


async def test_more_than_may_wait_are_refused(stored: StoredObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "WAITING_MAX", 1)
    with pytest.raises(LedgerUnavailable):
        await stored.remember(UUID(int=1), "main", "resp_1", [RESPONSE, ITEM])
