"""A change under a key is made once: its answer is kept with its effect, and a refusal keeps neither."""

import asyncio
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.core.errors import Conflict, IdempotencyMismatch
from gateway.core.idempotency import Idempotency
from gateway.postgres.once import Connection, fetch_once, once

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
    await owner.execute(
        """
        CREATE FUNCTION count_up(p_most integer, OUT status text, OUT answer jsonb) LANGUAGE plpgsql AS $$
        DECLARE
            v_number integer;
        BEGIN
            UPDATE counter SET number = number + 1 WHERE number < p_most RETURNING number INTO v_number;
            status := CASE WHEN v_number IS NULL THEN 'full' ELSE 'ok' END;
            answer := to_jsonb(v_number);
        END
        $$
        """
    )


async def count(connection: Connection) -> Counted:
    return Counted(await connection.fetchval("UPDATE counter SET number = number + 1 RETURNING number"))


COUNT_UP = "SELECT status, answer FROM count_up($1)"


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


@pytest.mark.usefixtures("counter")
async def test_one_statement_is_run_once_and_stays_one(pool: asyncpg.Pool) -> None:
    rows = await asyncio.gather(*(fetch_once(pool, ORG, KEY, COUNT_UP, 9) for _ in range(8)))
    assert [row["answer"] for row in rows] == ["1"] * 8
    assert sorted(row["status"] for row in rows) == ["exists"] * 7 + ["ok"]
    with pytest.raises(IdempotencyMismatch):
        await fetch_once(pool, ORG, Idempotency("k", b"\x02"), COUNT_UP, 9)
    assert (await fetch_once(pool, UUID(int=2), KEY, COUNT_UP, 9))["answer"] == "2"
    assert (await fetch_once(pool, ORG, None, COUNT_UP, 9))["answer"] == "3"


@pytest.mark.usefixtures("counter")
async def test_a_status_that_refuses_frees_the_key(pool: asyncpg.Pool) -> None:
    row = await fetch_once(pool, ORG, KEY, COUNT_UP, 0)
    assert (row["status"], row["answer"]) == ("full", None)
    assert await pool.fetchval("SELECT count(*) FROM idempotency_key") == 0
    assert (await fetch_once(pool, ORG, KEY, COUNT_UP, 9))["status"] == "ok"


@pytest.mark.usefixtures("counter")
async def test_an_operation_is_done_once_under_whichever_key(pool: asyncpg.Pool) -> None:
    def asked(key: str, operation: str, meaning: bytes = b"\x01") -> Idempotency:
        return Idempotency(key, meaning, operation)

    wishes = [once(pool, ORG, asked(f"key {n}", "op"), count, answer=Counted) for n in range(6)]
    assert {made.number for made in await asyncio.gather(*wishes)} == {1}
    row = await fetch_once(pool, ORG, asked("other", "op"), COUNT_UP, 9)
    assert (row["status"], msgspec.json.decode(row["answer"])["number"]) == ("exists", 1)
    assert (await once(pool, ORG, Idempotency("other", b"\x01"), count, answer=Counted)).repeated
    for wish in (asked("key 1", "another", b"\x02"), asked("fresh", "op", b"\x02")):
        with pytest.raises(IdempotencyMismatch):
            await once(pool, ORG, wish, count, answer=Counted)
        with pytest.raises(IdempotencyMismatch):
            await fetch_once(pool, ORG, wish, COUNT_UP, 9)
    assert await once(pool, ORG, Idempotency("fresh", b"\x02"), count, answer=Counted) == Counted(2)
    assert await once(pool, ORG, Idempotency("another", b"\x02"), count, answer=Counted) == Counted(3)


@pytest.mark.usefixtures("counter")
async def test_a_key_is_not_stored_as_it_was_written(pool: asyncpg.Pool) -> None:
    await once(pool, ORG, Idempotency("anna@example.com", b"\x01", "for anna"), count, answer=Counted)
    assert not await pool.fetchval("SELECT string_agg(k::text, '') ~* 'anna' FROM idempotency_key AS k")
