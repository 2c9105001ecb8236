"""The outbox: each message in one hand, in order, and gone only with what was done about it."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from asyncpg.pool import PoolConnectionProxy

from gateway.ledger.outbox import Message, hand_over
from gateway.ops.metrics import Metrics
from tests.ledger.conftest import Bench
from tests.ledger.test_grants import in_hours, let_expire

OWN_DATABASE = True

PUT = (
    "INSERT INTO outbox (org_id, id, topic, payload)"
    " SELECT $1, new_ledger_id(clock_timestamp() + n * interval '1 ms'), $2, jsonb_build_object('n', n)"
    " FROM generate_series(1, $3::integer) AS n"
)


class Consumer:
    """Writes what it takes into a table, on the connection that it is given."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    async def __call__(self, connection: PoolConnectionProxy, messages: Sequence[Message]) -> None:
        self.batches.append([message.payload for message in messages])
        await connection.executemany(
            "INSERT INTO quarantine (org_id, id, payload, error) VALUES ($1, $2, '', 'told')",
            [(message.org_id, message.id) for message in messages],
        )


async def count(pool: asyncpg.Pool, table: str) -> int:
    return int(await pool.fetchval(f"SELECT count(*) FROM {table}"))


async def test_messages_come_oldest_first_in_bounded_batches(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute(PUT, bench.org_id, "expiry", 7)
    consumer = Consumer()
    assert [await hand_over(pool, ["expiry"], consumer, most=3) for _ in range(4)] == [3, 3, 1, 0]
    assert consumer.batches == [[f'{{"n": {n}}}' for n in batch] for batch in ((1, 2, 3), (4, 5, 6), (7,))]
    assert await count(pool, "outbox") == 0


async def test_only_the_topics_that_are_asked_for_are_taken(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute(PUT, bench.org_id, "expiry", 2)
    await pool.execute(PUT, bench.org_id, "overage", 1)
    assert await hand_over(pool, ["overage", "parked"], Consumer()) == 1
    assert await count(pool, "outbox") == 2


async def test_several_at_once_take_each_message_once(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute(PUT, bench.org_id, "expiry", 60)

    async def work() -> int:
        taken = 0
        while got := await hand_over(pool, ["expiry"], Consumer(), most=4):
            taken += got
        return taken

    assert sum(await asyncio.gather(*(work() for _ in range(4)))) == 60
    assert await count(pool, "quarantine") == 60  # a message twice would be a second row of its id
    assert await count(pool, "outbox") == 0


async def test_one_in_hand_does_not_keep_another_waiting(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute(PUT, bench.org_id, "expiry", 2)
    other = Consumer()

    async def slow(connection: PoolConnectionProxy, messages: Sequence[Message]) -> None:
        assert [message.payload for message in messages] == ['{"n": 1}']
        assert await hand_over(pool, ["expiry"], other) == 1

    async with asyncio.timeout(10):
        assert await hand_over(pool, ["expiry"], slow, most=1) == 1
    assert other.batches == [['{"n": 2}']]


async def test_a_consumer_that_fails_has_done_nothing_and_gets_the_messages_again(
    bench: Bench, pool: asyncpg.Pool
) -> None:
    await pool.execute(PUT, bench.org_id, "expiry", 2)
    consumer = Consumer()

    async def dies(connection: PoolConnectionProxy, messages: Sequence[Message]) -> None:
        await consumer(connection, messages)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await hand_over(pool, ["expiry"], dies)
    assert (await count(pool, "quarantine"), await count(pool, "outbox")) == (0, 2)
    assert await hand_over(pool, ["expiry"], consumer) == 2
    assert (await count(pool, "quarantine"), await count(pool, "outbox")) == (2, 0)


async def test_a_consumer_whose_connection_is_killed_gets_the_messages_again(bench: Bench, pool: asyncpg.Pool) -> None:
    await pool.execute(PUT, bench.org_id, "expiry", 1)

    async def is_killed(connection: PoolConnectionProxy, messages: Sequence[Message]) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(asyncpg.PostgresError):
        await hand_over(pool, ["expiry"], is_killed)
    assert await hand_over(pool, ["expiry"], Consumer()) == 1


async def test_an_expiry_is_told_with_what_was_lost(
    bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    grant = await bench.grant(100, expires_at=in_hours(1), reason="a")
    await let_expire(owner, bench, "a")
    await bench.ledger.upkeep.post_due()
    [row] = await pool.fetch(
        "SELECT topic, account_id, payload::jsonb ->> 'grant_id' AS grant, payload FROM outbox WHERE topic = 'expiry'"
    )
    assert (row["topic"], row["account_id"], row["grant"]) == ("expiry", bench.account_id, str(grant))
    assert '"expired_ucr": 100' in row["payload"]


async def test_what_waits_is_counted(bench: Bench, pool: asyncpg.Pool, metrics: Metrics) -> None:
    def shown(name: str) -> float | None:
        return metrics.registry.get_sample_value(name)

    await pool.execute(PUT, bench.org_id, "expiry", 3)
    await pool.execute("UPDATE outbox SET created_at = created_at - interval '1 hour'")
    await bench.ledger.upkeep.count_outbox()
    assert shown("tollgate_outbox_waiting") == 3
    assert shown("tollgate_outbox_oldest_seconds") == pytest.approx(3_600, abs=60)
    await hand_over(pool, ["expiry"], Consumer())
    await bench.ledger.upkeep.count_outbox()
    assert (shown("tollgate_outbox_waiting"), shown("tollgate_outbox_oldest_seconds")) == (0, 0)
