"""A ledger on the test's own database, an organisation with an account, and the audit after every test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from uuid import UUID

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from gateway.ledger.accounts import open_account
from gateway.ledger.audit import Violation, find_violations
from gateway.ledger.calls import End, Ending, Held, Refusal, Wish
from gateway.ledger.grants import Grant, TransactionType
from gateway.ledger.ledger import Ledger
from gateway.ledger.options import LedgerSettings
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics
from gateway.postgres.embedded import EmbeddedPostgres
from tests.ledger.past import Past

_numbers = count(1)

QUIET = LedgerSettings(
    lanes=2,
    beat_s=3600,
    sweep_s=3600,
    reconcile_s=3600,
    due_s=3600,
    partitions_s=3600,
    audit_s=3600,
    expire_s=3600,
    outbox_s=3600,
    snapshots_s=3600,
    queue_wait_s=0.0,
    queue_poll_s=0.01,
    refusal_memory_s=0.0,
    retry_first_s=0.01,
    retry_most_s=0.05,
)
"""Nothing happens by itself: each test calls what it is about."""

StartLedger = Callable[..., Awaitable[Ledger]]


class Bench:
    """A ledger and one organisation, with the shortest words for what tests do to them."""

    def __init__(self, ledger: Ledger, ids: IdSource, org_id: UUID) -> None:
        self.ledger = ledger
        self.ids = ids
        self.org_id = org_id
        self.account_id = org_id

    def wish(self, ucr: int, **changes: object) -> Wish:
        wish = Wish(
            id=self.ids.next(),
            org_id=self.org_id,
            account_ids=(self.account_id,),
            key_id=None,
            model="gpt-4o-mini",
            amount_ucr=ucr,
            learned_ucr=ucr,
            prompt_ucr=min(ucr, 10),
        )
        return msgspec.structs.replace(wish, **changes)

    def ending(self, wish: Wish | UUID, cost_ucr: int, **changes: object) -> Ending:
        ending = Ending(
            id=wish if isinstance(wish, UUID) else wish.id,
            org_id=self.org_id,
            account_id=self.account_id,
            end=End.OK,
            delivered=True,
            cost_ucr=cost_ucr,
            numerator=cost_ucr * 1_000_000,
            lines=b'[["output", 1000000, %d]]' % cost_ucr,
            model="gpt-4o-mini",
            upstream="openai",
            status=200,
            output_tokens=1_000_000,
        )
        return msgspec.structs.replace(ending, **changes)

    def release(self, wish: Wish | UUID) -> Ending:
        return self.ending(wish, 0, delivered=False, end=End.ERROR, lines=b"[]", output_tokens=0)

    async def held(self, ucr: int, **changes: object) -> Wish:
        wish = self.wish(ucr, **changes)
        answer = await self.ledger.reserve(wish)
        assert isinstance(answer, Held), answer
        return wish

    async def refused(self, ucr: int, **changes: object) -> Refusal:
        answer = await self.ledger.reserve(self.wish(ucr, **changes))
        assert isinstance(answer, Refusal), answer
        return answer

    async def settle(self, *endings: Ending) -> None:
        for ending in endings:
            self.ledger.settle(ending)
        assert await self.ledger.settled(self.org_id)

    async def grant(self, ucr: int, **changes: object) -> UUID:
        grant = Grant(
            id=self.ids.next(),
            org_id=self.org_id,
            account_id=self.account_id,
            amount_ucr=ucr,
            transaction_type=TransactionType.PURCHASE,
        )
        grant = msgspec.structs.replace(grant, **changes)
        return (await self.ledger.grant(grant)).id

    async def numbers(self) -> tuple[int, int, int]:
        """Balance, held, receivable."""
        balance = await self.ledger.balance(self.org_id)
        return balance.balance_ucr, balance.held_ucr, balance.receivable_ucr


@contextmanager
def no_deadlock() -> Iterator[None]:
    """Of batches: one that lost a deadlock is sent again, so that its callers do not notice."""
    with capture_logs() as logs:
        yield
    assert [log for log in logs if "Deadlock" in str(log.get("error"))] == []


async def blocked(pool: asyncpg.Pool) -> None:
    """Returns once somebody waits for a lock."""
    async with asyncio.timeout(10):
        while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0)


async def all_violations(dsn: str) -> list[Violation]:
    """What `tollgate audit --full` would find."""
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        return [v async for page in find_violations(pool, full=True, accounts_at_once=100) for v in page]


@pytest.fixture(scope="session")
def common_dsn(cluster: EmbeddedPostgres) -> Iterator[str]:
    """One database for all tests that look at nothing but their own organisation."""
    with ThreadPoolExecutor(1) as apart:
        yield apart.submit(asyncio.run, _create(cluster, "ledger_common")).result()


@pytest.fixture
async def dsn(request: pytest.FixtureRequest, cluster: EmbeddedPostgres) -> AsyncIterator[str]:
    """The common database, or one of the test's own where its module says `OWN_DATABASE = True`."""
    if not getattr(request.module, "OWN_DATABASE", False):
        yield str(request.getfixturevalue("common_dsn"))
        return
    name = f"ledger_{next(_numbers)}"
    yield await _create(cluster, name)
    connection = await asyncpg.connect(cluster.dsn)
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


async def _create(cluster: EmbeddedPostgres, name: str) -> str:
    connection = await asyncpg.connect(cluster.dsn)
    await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE tollgate_template')
    # Shorter than any wait for a lock that our code gives up itself: what is a deadlock shall be called one.
    await connection.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '50ms'")
    await connection.close()
    return cluster.dsn_of(name)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def ids() -> IdSource:
    return IdSource(Clock())


@pytest.fixture
async def start_ledger(dsn: str, metrics: Metrics) -> AsyncIterator[StartLedger]:
    """Starts ledgers that are stopped at the test's end; then the books must be sound."""
    ledgers: list[Ledger] = []

    async def start(**settings: object) -> Ledger:
        address = str(settings.pop("dsn", dsn))
        on_fenced = settings.pop("on_fenced", lambda: None)
        clock = settings.pop("clock", Clock())
        assert isinstance(clock, Clock)
        ledger = await Ledger.start(
            address,
            settings=msgspec.structs.replace(QUIET, **settings),
            clock=clock,
            ids=IdSource(Clock()),
            metrics=metrics,
            on_fenced=on_fenced,  # type: ignore[arg-type]
        )
        ledgers.append(ledger)
        return ledger

    yield start
    for ledger in ledgers:
        await ledger.stop(drain_s=5)
    assert await all_violations(dsn) == []


@pytest.fixture
async def bench(start_ledger: StartLedger, ids: IdSource, pool: asyncpg.Pool) -> Bench:
    return await open_bench(await start_ledger(), ids, pool)


async def open_bench(ledger: Ledger, ids: IdSource, pool: asyncpg.Pool) -> Bench:
    org_id = ids.next()
    await open_account(pool, org_id, org_id)
    return Bench(ledger, ids, org_id)


@pytest.fixture
async def past(owner: asyncpg.Connection) -> Past:
    """What the test does from here on may become months that lie behind."""
    past = Past(owner)
    await past.next_chapter()
    return past
