"""A change of several statements, once under its idempotency key: key, effect and answer in one transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Protocol, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from gateway.core.errors import IdempotencyMismatch
from gateway.core.idempotency import Idempotency
from gateway.postgres.queries import load

_SQL: Final = load("idempotency")

Connection = asyncpg.Connection | PoolConnectionProxy
T = TypeVar("T", bound=msgspec.Struct)
S_contra = TypeVar("S_contra", contravariant=True)


class Guard(Protocol[S_contra]):
    """Is shown what a change would change, under its lock, before it is made; None: there is nothing yet.

    Raises what refuses the change.
    """

    def __call__(self, current: S_contra | None, /) -> None: ...


class Removed(msgspec.Struct, frozen=True):
    """All that is told of what is no more."""

    repeated: bool = False


@asynccontextmanager
async def transaction(executor: asyncpg.Pool | Connection) -> AsyncIterator[Connection]:
    """A connection inside a transaction: of its own, or of the one that somebody has begun."""
    if isinstance(executor, asyncpg.Pool):
        async with executor.acquire() as connection, connection.transaction():
            yield connection
    else:
        async with executor.transaction():
            yield executor


async def once(
    executor: asyncpg.Pool | Connection,
    org_id: UUID,
    idempotency: Idempotency | None,
    change: Callable[[Connection], Awaitable[T]],
    *,
    answer: type[T],
) -> T:
    """What `change` returns; or what it returned under this key before, with `repeated` set.

    What it raises undoes everything and leaves the key free. Who comes while the first is at work waits for its end.
    The key comes before all else that is locked. Raises IdempotencyMismatch.
    """
    async with transaction(executor) as connection:
        if idempotency is None:
            return await change(connection)
        row = await connection.fetchrow(_SQL.claim, org_id, idempotency.key, idempotency.request_hash)
        assert row is not None
        if row["status"] == "mismatch":
            raise IdempotencyMismatch("This Idempotency-Key came before with another request; nothing changed.")
        if row["status"] == "exists":
            return msgspec.structs.replace(msgspec.json.decode(row["answer"], type=answer), repeated=True)
        made = await change(connection)
        await connection.execute(_SQL.keep, org_id, idempotency.key, msgspec.json.encode(made).decode())
        return made
