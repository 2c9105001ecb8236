"""What others should hear of, handed to them exactly once: a row goes in the transaction of what is done about it.

A consumer that dies in between has done nothing, and the rows come again. Several may take at once; each row is in one
hand. Who must tell somebody outside of this database writes down in it that this is to be done, and does it afterwards.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from gateway.ops.metrics import Metrics
from gateway.postgres.queries import load

_SQL = load("outbox")
BATCH_MAX: Final = 100


class Message(msgspec.Struct, frozen=True, kw_only=True):
    org_id: UUID
    id: UUID
    topic: str
    """low_balance · exhausted · overage · parked · budget_crossed · plan_reset · expiry"""
    account_id: UUID | None
    payload: str
    """JSON; its fields depend on the topic."""
    created_at: datetime


Consume = Callable[[PoolConnectionProxy, Sequence[Message]], Awaitable[None]]


async def hand_over(pool: asyncpg.Pool, topics: Sequence[str], consume: Consume, *, most: int = BATCH_MAX) -> int:
    """Gives the oldest waiting messages to `consume`, in order, with the connection whose transaction takes them out.

    Returns how many. Whatever `consume` raises leaves all of them waiting.
    """
    async with pool.acquire() as connection, connection.transaction():
        rows = await connection.fetch(_SQL.take, list(topics), most)
        messages = sorted((Message(**dict(row.items())) for row in rows), key=lambda message: message.id)
        if messages:
            await consume(connection, messages)
        return len(messages)


async def count_waiting(pool: asyncpg.Pool, metrics: Metrics) -> None:
    """How many wait, and how long the oldest has: a consumer that is behind shows in both."""
    row = await pool.fetchrow(_SQL.waiting)
    assert row is not None
    metrics.outbox_waiting.set(row["rows"])
    metrics.outbox_oldest_s.set(row["oldest_s"])
