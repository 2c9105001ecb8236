"""Organisations, keys and a key ring on the test's own database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import UUID

import asyncpg
import pytest

from gateway.identity.key_ring import KeyRing, KeyRingSettings
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.postgres.once import Connection


class NoBooks:
    """Stands where the ledger does: remembers what it was asked to do."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, UUID]] = []
        self.fails = False

    async def open_account(self, connection: Connection, org_id: UUID, account_id: UUID, /) -> None:
        assert connection.is_in_transaction()
        if self.fails:
            raise ConnectionResetError
        self.asked.append(("open", account_id))

    async def set_status(self, connection: Connection, org_id: UUID, status: str, /) -> None:
        assert connection.is_in_transaction()
        self.asked.append((status, org_id))


@pytest.fixture
def ids() -> IdSource:
    return IdSource(Clock())


@pytest.fixture
def books() -> NoBooks:
    return NoBooks()


@pytest.fixture
def orgs(pool: asyncpg.Pool, ids: IdSource, books: NoBooks) -> Orgs:
    return Orgs(pool, ids=ids, books=books)


@pytest.fixture
def forgotten() -> list[bytes]:
    return []


@pytest.fixture
def keys(pool: asyncpg.Pool, ids: IdSource, forgotten: list[bytes]) -> Keys:
    return Keys(pool, ids=ids, forget=forgotten.append)


RingMaker = Callable[[KeyRingSettings], Awaitable[KeyRing]]


@pytest.fixture
async def make_ring(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[RingMaker]:
    rings: list[KeyRing] = []

    async def make(settings: KeyRingSettings) -> KeyRing:
        ring = KeyRing(pool, dsn=dsn, clock=Clock(), settings=settings)
        rings.append(ring)
        await ring.start()
        return ring

    yield make
    for ring in rings:
        await ring.stop()
