"""Whole processes: gateways on one database, the provider behind them, and a data folder that a server can live in."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.postgres.postmaster import Postmaster
from gateway.replay.server import ReplayServer
from tests.e2e.running import RunningGateway, running_gateway
from tests.simulation.books import Books, open_books

StartGateway = Callable[..., Awaitable[RunningGateway]]

QUICK = """
shutdown_drain_s = 2

[ledger]
beat_s = 0.3
dead_after_s = 3
sweep_s = 0.3
reconcile_s = 1
queue_wait_s = 0.2
hold_timeout_s = 0.5
"""
"""Times that a test can wait for, and that a busy machine still keeps."""


@pytest.fixture
async def replay() -> AsyncIterator[ReplayServer]:
    async with ReplayServer() as server:
        yield server


@pytest.fixture
async def start(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Starts a gateway on the test's database, or with what is said otherwise."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(**options: Any) -> RunningGateway:
            defaults = {"dsn": dsn, "upstream_url": replay.base_url, "data_dir": tmp_path, "config": QUICK}
            return await stack.enter_async_context(running_gateway(**{**defaults, **options}))

        yield start


@pytest.fixture
async def books(dsn: str) -> AsyncIterator[Books]:
    async with open_books(dsn) as books:
        yield books


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """For a gateway with a PostgreSQL of its own: a short path that other users may enter, as that server may need."""
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    yield folder
    Postmaster(folder / "postgres" / "cluster").stop(timeout_s=10)  # where the test failed before it was stopped
    shutil.rmtree(folder)


@pytest.fixture
def loop_and_pool(dsn: str) -> Iterator[tuple[asyncio.AbstractEventLoop, asyncpg.Pool]]:
    """For state machines, which are not coroutines."""

    async def open_pool() -> asyncpg.Pool:
        return await asyncpg.create_pool(dsn, min_size=1, max_size=1)

    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(open_pool())
    yield loop, pool
    loop.run_until_complete(pool.close())
    loop.close()
