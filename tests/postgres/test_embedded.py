"""The server's life, on a real one. Each test leaves it stopped, so that they can share one made cluster."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest

from gateway.postgres.embedded import (
    SOCKET_PATH_BYTES_MAX,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    closed_to_others,
    embedded,
)
from gateway.postgres.postmaster import Postmaster, Status

START_AND_WAIT = """
import sys, time
from pathlib import Path
from gateway.postgres.embedded import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1]), durable=False).start_blocking()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def made(open_folder: Path) -> Path:
    folder = open_folder / "embedded"
    first = EmbeddedPostgres(folder, durable=False)
    first.start_blocking()
    first.stop_blocking()
    return folder


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    server = Postmaster(made / "cluster")
    assert server.status() is Status.GONE
    yield made
    left_running = server.status() is not Status.GONE
    server.stop(timeout_s=10)
    assert not left_running


@pytest.fixture
def server(folder: Path) -> Postmaster:
    return Postmaster(folder / "cluster")


@pytest.fixture
async def user(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    user = EmbeddedPostgres(folder, durable=False)
    yield user
    await user.stop()


async def one(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def killed_after_starting(folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", START_AND_WAIT, str(folder)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()


async def test_the_server_runs_while_the_block_lasts(folder: Path, server: Postmaster) -> None:
    async with embedded(folder) as dsn:
        assert await one(dsn, "SELECT current_database()") == "tollgate"
    assert server.status() is Status.GONE


async def test_commits_are_durable_unless_a_test_says_otherwise(folder: Path) -> None:
    async with embedded(folder) as dsn:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            assert await one(dsn, f"SHOW {setting}") == "on"
        assert await one(dsn, "SHOW jit") == "off"


async def test_nobody_else_can_reach_the_socket(user: EmbeddedPostgres, folder: Path) -> None:
    dsn = await user.start()
    assert stat.S_IMODE((folder / "socket").stat().st_mode) == 0o700
    assert await one(dsn, "SHOW listen_addresses") == ""


async def test_a_terminals_interrupt_does_not_reach_the_server(user: EmbeddedPostgres, server: Postmaster) -> None:
    await user.start()
    assert server.pid is not None
    assert os.getsid(server.pid) == server.pid != os.getsid(0)


async def test_the_last_user_stops_it_and_not_the_one_who_started_it(folder: Path, server: Postmaster) -> None:
    starter, joiner = (EmbeddedPostgres(folder, durable=False) for _ in range(2))
    await starter.start()
    dsn = await joiner.start()
    assert (starter.adopted, joiner.adopted) == (False, True)
    await starter.stop()
    assert await one(dsn, "SELECT 1") == 1
    await joiner.stop()
    await joiner.stop()
    assert server.status() is Status.GONE


def test_users_who_come_at_once_get_one_server(folder: Path, server: Postmaster) -> None:
    users = [EmbeddedPostgres(folder, durable=False) for _ in range(4)]
    with ThreadPoolExecutor(len(users)) as threads:
        list(threads.map(EmbeddedPostgres.start_blocking, users))
        assert sorted(user.adopted for user in users) == [False, True, True, True]
        list(threads.map(EmbeddedPostgres.stop_blocking, users))
    assert server.status() is Status.GONE


async def test_a_server_whose_parent_was_killed_is_adopted(
    user: EmbeddedPostgres, folder: Path, server: Postmaster
) -> None:
    killed_after_starting(folder)
    survivor = server.pid
    dsn = await user.start()
    assert user.adopted
    assert server.pid == survivor
    assert await one(dsn, "SELECT 1") == 1
    await user.stop()
    assert server.status() is Status.GONE


async def test_after_the_server_itself_was_killed_the_next_start_recovers_what_was_committed(
    folder: Path, user: EmbeddedPostgres, server: Postmaster
) -> None:
    before = EmbeddedPostgres(folder, durable=False)
    await one(await before.start(), "CREATE TABLE IF NOT EXISTS survivor AS SELECT 42 AS a")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await before.stop()
    assert await one(await user.start(), "SELECT a FROM survivor") == 42
    assert not user.adopted


async def test_a_server_that_is_still_shutting_down_is_waited_for(user: EmbeddedPostgres, folder: Path) -> None:
    killed_after_starting(folder)
    server = Postmaster(folder / "cluster")
    held_open = await asyncpg.connect(EmbeddedPostgres(folder).dsn)
    assert server.pid is not None
    os.kill(server.pid, signal.SIGTERM)  # A smart shutdown: it waits for its clients.
    assert await asyncio.to_thread(server.wait_for, Status.STOPPING, timeout_s=10) is Status.STOPPING
    starting = asyncio.create_task(user.start())
    await held_open.close()
    assert await one(await starting, "SELECT 1") == 1
    assert not user.adopted


async def test_a_pid_file_whose_number_another_process_got_does_not_stop_the_start(
    folder: Path, user: EmbeddedPostgres, server: Postmaster
) -> None:
    before = EmbeddedPostgres(folder, durable=False)
    await before.start()
    pid_file = folder / "cluster" / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    await before.stop()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]))
    assert await one(await user.start(), "SELECT 1") == 1


async def test_a_start_that_is_cancelled_leaves_no_server(folder: Path, server: Postmaster) -> None:
    starting = asyncio.create_task(EmbeddedPostgres(folder, durable=False).start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert server.status() is Status.GONE


async def test_a_half_made_cluster_is_made_anew_in_a_folder_too_deep_for_a_socket(open_folder: Path) -> None:
    deep = open_folder / ("long" * 30)
    (deep / "cluster.new").mkdir(parents=True)
    (deep / "cluster.new" / "PG_VERSION").write_text("18\n")
    said: list[str] = []
    user = EmbeddedPostgres(deep, durable=False, progress=said.append)
    dsn = await user.start()
    assert len(str(deep / "socket" / ".s.PGSQL.5432")) > SOCKET_PATH_BYTES_MAX
    assert await one(dsn, "SELECT 1") == 1
    assert [line.split(" ")[0] for line in said] == ["making", "starting"]
    await user.stop()


async def test_a_socket_folder_that_somebody_else_prepared_is_refused(folder: Path, user: EmbeddedPostgres) -> None:
    (folder / "socket").chmod(0o755)
    try:
        with pytest.raises(EmbeddedPostgresError, match="mode 0700"):
            await user.start()
    finally:
        (folder / "socket").chmod(0o700)


async def test_settings_that_the_server_refuses_are_told_with_its_own_words(
    folder: Path, user: EmbeddedPostgres
) -> None:
    configuration = folder / "cluster" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "\nno_such_setting = 1\n")
    try:
        with pytest.raises(EmbeddedPostgresError, match="no_such_setting"):
            await user.start()
    finally:
        configuration.write_text(good)


def test_a_folder_closed_to_others_is_found_on_the_way(open_folder: Path) -> None:
    closed = open_folder / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    assert closed_to_others(closed / "inner") == closed
    closed.chmod(0o711)
    assert closed_to_others(closed / "inner") is None
