"""A database that goes away, answers nobody, or does the work and loses the answer: at every moment of a call."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import pytest

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.calls import Held
from gateway.ops.ids import IdSource
from tests.fakes.tcp_proxy import TcpProxy, tcp_proxy
from tests.ledger.conftest import Bench, StartLedger, blocked, open_bench


@pytest.fixture
async def proxy(dsn: str) -> AsyncIterator[TcpProxy]:
    folder = unquote(parse_qs(urlsplit(dsn).query)["host"][0])
    async with tcp_proxy(unix_path=f"{folder}/.s.PGSQL.5432") as line:
        yield line


@pytest.fixture
async def far(dsn: str, proxy: TcpProxy, start_ledger: StartLedger, ids: IdSource, pool: asyncpg.Pool) -> Bench:
    """A ledger behind a line that can break; what tests look at goes around it."""
    parts = urlsplit(dsn)
    address = f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
    ledger = await start_ledger(
        dsn=address, lanes=1, hold_timeout_s=0.5, statement_timeout_s=1.0, connect_timeout_s=0.5
    )
    far = await open_bench(ledger, ids, pool)
    await far.grant(1_000)
    await far.settle(far.release(await far.held(1)))  # The lane is open and its statement prepared.
    return far


async def books(pool: asyncpg.Pool, bench: Bench) -> tuple[int, int, int]:
    row = await pool.fetchrow("SELECT balance_ucr, held_ucr, open_count FROM account WHERE org_id = $1", bench.org_id)
    assert row is not None
    return tuple(row)


async def test_a_reservation_whose_commit_nobody_heard_of_is_held_once(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    wish = far.wish(100)
    proxy.lose_answer_to(wish.id.bytes)
    assert await far.ledger.reserve(wish) == Held(account_id=far.account_id, amount_ucr=100, available_ucr=900)
    assert proxy.lost.is_set()
    assert await books(pool, far) == (1_000, 100, 1)
    await far.settle(far.ending(wish, 60))


async def test_a_settlement_whose_commit_nobody_heard_of_is_charged_once(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    """P3 and P4 at once."""
    wish = await far.held(100)
    proxy.lose_answer_to(wish.id.bytes)
    await far.settle(far.ending(wish, 60))
    assert proxy.lost.is_set()
    assert await books(pool, far) == (940, 0, 0)


async def test_an_extension_whose_commit_nobody_heard_of_is_added_once(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    wish = await far.held(100)
    proxy.lose_answer_to(wish.id.bytes)
    answer = await far.ledger.extend(id=wish.id, org_id=far.org_id, account_id=far.account_id, at_least_ucr=150)
    assert answer == Held(account_id=far.account_id, amount_ucr=150, available_ucr=850)
    assert await books(pool, far) == (1_000, 150, 1)


async def test_a_batch_cut_in_the_middle_is_sent_again_as_it_was(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", far.org_id)
        waiting = [asyncio.create_task(far.ledger.reserve(far.wish(10))) for _ in range(20)]
        await blocked(pool)
        proxy.cut()
    assert all(isinstance(answer, Held) for answer in await asyncio.gather(*waiting))
    assert await books(pool, far) == (1_000, 200, 20)


async def test_a_database_that_is_away_reserves_nothing_and_says_so_in_time(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    proxy.refuse()
    answers = await asyncio.gather(*(far.ledger.reserve(far.wish(10)) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, LedgerUnavailable) for answer in answers)
    with pytest.raises(LedgerUnavailable):
        await far.ledger.balance(far.org_id)
    proxy.mend()
    assert await far.ledger.settled(far.org_id)
    await far.settle(far.release(await far.held(1)))
    assert await books(pool, far) == (1_000, 0, 0)


async def test_a_reservation_of_unknown_outcome_is_released_when_the_database_answers_again(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    wish = far.wish(10)
    proxy.lose_answer_to(wish.id.bytes)
    reserving = asyncio.create_task(far.ledger.reserve(wish))
    await proxy.lost.wait()
    proxy.refuse()
    with pytest.raises(LedgerUnavailable):
        await reserving
    assert await books(pool, far) == (1_000, 10, 1)
    proxy.mend()
    assert await far.ledger.settled(far.org_id)
    assert await books(pool, far) == (1_000, 0, 0)


async def test_endings_wait_for_the_database_as_long_as_it_takes(
    far: Bench, proxy: TcpProxy, pool: asyncpg.Pool
) -> None:
    wishes = [await far.held(10) for _ in range(10)]
    proxy.refuse()
    for wish in wishes:
        far.ledger.settle(far.ending(wish, 4))
    assert not await far.ledger.settled(far.org_id, within_s=0.2)
    assert await books(pool, far) == (1_000, 100, 10)
    proxy.mend()
    assert await far.ledger.settled(far.org_id)
    assert await books(pool, far) == (960, 0, 0)


async def test_a_line_that_stalls_is_given_up_and_opened_anew(far: Bench, proxy: TcpProxy, pool: asyncpg.Pool) -> None:
    wish = await far.held(10)
    proxy.stall()
    far.ledger.settle(far.ending(wish, 4))
    before = proxy.connections
    async with asyncio.timeout(30):
        while proxy.connections == before:  # It gave the old one up.
            await asyncio.sleep(0.01)
    proxy.mend()
    assert await far.ledger.settled(far.org_id)
    assert await books(pool, far) == (996, 0, 0)


async def test_a_heartbeat_that_fails_starts_the_wait_for_fencing_anew(far: Bench, proxy: TcpProxy) -> None:
    await far.ledger.instances.beat()
    assert far.ledger.instances._unbroken_since is not None
    proxy.refuse()
    with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
        await far.ledger.instances.beat()
    assert not far.ledger.instances.may_fence()
    proxy.mend()
    await far.ledger.instances.beat()
    assert not far.ledger.instances.may_fence()


async def test_stopping_in_an_outage_says_how_many_endings_are_left_to_the_sweeper(
    far: Bench, proxy: TcpProxy, start_ledger: StartLedger, pool: asyncpg.Pool
) -> None:
    wishes = [await far.held(10, prompt_ucr=3) for _ in range(4)]
    proxy.refuse()
    for wish in wishes:
        far.ledger.settle(far.ending(wish, 10))
    assert await far.ledger.stop(drain_s=0.1) == 4
    rescuer = await start_ledger(sole_owner=True)
    assert (await rescuer.balance(far.org_id)).balance_ucr == 1_000 - 4 * 3


async def test_too_many_endings_in_memory_stop_new_calls_but_no_ending(
    far: Bench, proxy: TcpProxy, start_ledger: StartLedger, ids: IdSource, pool: asyncpg.Pool, dsn: str
) -> None:
    parts = urlsplit(dsn)
    address = f"postgresql://{parts.username}@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
    small = await open_bench(await start_ledger(dsn=address, endings_waiting_max=2, connect_timeout_s=0.5), ids, pool)
    await small.grant(100)
    wishes = [await small.held(10) for _ in range(3)]
    proxy.refuse()
    for wish in wishes:
        small.ledger.settle(small.ending(wish, 10))
    with pytest.raises(LedgerUnavailable, match="settled"):
        await small.ledger.reserve(small.wish(1))
    proxy.mend()
    assert await small.ledger.settled(small.org_id)
    await small.held(1)
