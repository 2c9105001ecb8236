"""A change, once under its idempotency key: key, effect and answer in one transaction.

Of one statement it stays one, so that no lock is held across a round trip; several share a transaction. None of them
knows of the key.
"""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Final, Protocol, TypeVar
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from gateway.core.errors import Conflict, IdempotencyMismatch, TollgateError
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
    The key comes before all else that is locked. Raises IdempotencyMismatch, or Conflict where what was done before
    told of a person who was erased.
    """
    async with transaction(executor) as connection:
        if idempotency is None:
            return await change(connection)
        keys = _stored(idempotency)
        row = await connection.fetchrow(_SQL.claim, org_id, keys, idempotency.request_hash)
        assert row is not None
        _refuse(row["status"], idempotency)
        if row["status"] is not None:
            return msgspec.structs.replace(msgspec.json.decode(row["answer"], type=answer), repeated=True)
        made = await change(connection)
        await connection.execute(_SQL.keep, org_id, keys, msgspec.json.encode(made).decode())
        return made


async def fetch_once(
    executor: asyncpg.Pool | Connection,
    org_id: UUID,
    idempotency: Idempotency | None,
    statement: str,
    *arguments: object,
) -> asyncpg.Record:
    """The row of a statement that answers with a `status` and an `answer`, which is JSON.

    ok and exists are kept under the key and come again as exists; any other status is a refusal, which has changed
    nothing and leaves the key free. Waits and raises as `once` does.
    """
    if idempotency is None:
        row = await executor.fetchrow(statement, *arguments)
    else:
        row = await executor.fetchrow(
            _around(statement, len(arguments)), *arguments, org_id, _stored(idempotency), idempotency.request_hash
        )
        assert row is not None
        _refuse(row["claimed"], idempotency)
    assert row is not None
    return row


@cache
def _around(statement: str, arguments: int) -> str:
    """The statement between the claim of its key and the keeping of its answer.

    CASE does not evaluate what it does not choose, and each step reads what the one before it has given: so they come
    in this order, and a change that was made before is not made again.
    """
    org, keys, hash = (f"${arguments + n}" for n in (1, 2, 3))
    return f"""
WITH claimed AS MATERIALIZED (SELECT status, answer FROM claim_keys({org}, {keys}, {hash})),
     made AS MATERIALIZED (
         SELECT c.status AS claimed, c.answer AS known,
                CASE WHEN c.status IS NULL THEN (SELECT to_jsonb(m) FROM ({statement}) AS m) END AS told
           FROM claimed AS c)
SELECT claimed, coalesce(claimed, told ->> 'status') AS status,
       coalesce(known, nullif(told -> 'answer', 'null')) AS answer,
       CASE WHEN claimed IS NULL THEN
           keep_answer({org}, {keys}, CASE WHEN told ->> 'status' IN ('ok', 'exists') THEN told -> 'answer' END)
       END AS kept
  FROM made
"""  # noqa: S608 — of statements from files, and numbers


def _stored(idempotency: Idempotency) -> list[str]:
    """As they are stored, which is not what callers wrote: that may name anybody."""
    return [hashlib.sha256(name.encode()).hexdigest() for name in idempotency.names]


def _refuse(claimed: str | None, idempotency: Idempotency) -> None:
    refused = _REFUSALS.get(claimed or "")
    if refused is not None:
        raise refused(idempotency.field)


_REFUSALS: Final[dict[str, Callable[[str], TollgateError]]] = {
    "mismatch": lambda field: IdempotencyMismatch(
        "This Idempotency-Key or operation_id came before with another request; nothing was changed.", param=field
    ),
    "erased": lambda _: Conflict(
        "What was done under this Idempotency-Key told of a person whose data was erased since; nothing was changed."
    ),
}
