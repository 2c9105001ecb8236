"""A change under a key is made once: its answer is kept with its effect, and a refusal keeps neither."""

import asyncio
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.core.errors import Conflict, IdempotencyMismatch
from gateway.core.idempotency import Idempotency
from gateway.postgres.once import Connection, once

ORG = UUID(int=1)
KEY = Idempotency("k", b"\x01")


class Counted(msgspec.Struct, frozen=True):
    number: int
    repeated: bool = False


@pytest.fixture
async def counter(owner: asyncpg.Connection) -> None:
    await owner.execute("CREATE TABLE counter (number integer)")
    await owner.execute("INSERT INTO counter VALUES (0)")
    await owner.execute("GRANT SELECT, UPDATE ON counter TO PUBLIC")


async def count(connection: Connection) -> Counted:
    return Counted(await connection.fetchval("UPDATE counter SET number = number + 1 RETURNING number"))


async def refuse(connection: Connection) -> Counted:
    await count(connection)
    raise Conflict("no")


@pytest.mark.usefixtures("counter")
async def test_many_at_once_with_one_key_change_once(pool: asyncpg.Pool) -> None:
    made = await asyncio.gather(*(once(pool, ORG, KEY, count, answer=Counted) for _ in range(8)))
    assert [each.number for each in made] == [1] * 8
    assert sorted(each.repeated for each in made) == [False] + [True] * 7


@pytest.mark.usefixtures("counter")
async def test_without_a_key_every_change_is_made(pool: asyncpg.Pool) -> None:
    made = [await once(pool, ORG, None, count, answer=Counted) for _ in range(2)]
    assert made == [Counted(1), Counted(2)]


@pytest.mark.usefixtures("counter")
async def test_a_key_means_one_request_in_one_organisation(pool: asyncpg.Pool) -> None:
    await once(pool, ORG, KEY, count, answer=Counted)
    with pytest.raises(IdempotencyMismatch):
        await once(pool, ORG, Idempotency("k", b"\x02"), count, answer=Counted)
    assert (await once(pool, UUID(int=2), KEY, count, answer=Counted)).number == 2


@pytest.mark.usefixtures("counter")
async def test_a_refusal_undoes_everything_and_frees_the_key(pool: asyncpg.Pool) -> None:
    with pytest.raises(Conflict):
        await once(pool, ORG, KEY, refuse, answer=Counted)
    assert await once(pool, ORG, KEY, count, answer=Counted) == Counted(1)


@pytest.mark.usefixtures("counter")
async def test_inside_a_transaction_it_is_a_part_of_it(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        attempt = connection.transaction()
        await attempt.start()
        assert (await once(connection, ORG, KEY, count, answer=Counted)).number == 1
        await attempt.rollback()
    assert await once(pool, ORG, KEY, count, answer=Counted) == Counted(1)
