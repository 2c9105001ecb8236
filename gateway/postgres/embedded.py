"""A real PostgreSQL in the gateway's data folder, for whoever has none: made, started, shared, adopted, stopped here.

Several processes may use one folder at once (a gateway and an operator's command). Each holds `users.lock` shared; the
last one out stops the server. `start.lock` is held while starting or stopping. The server is a child in a session of
its own: it outlives a killed parent, and the next user adopts it.

The server listens on a unix socket only, in a folder that nobody but its own user (and root) can enter.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final
from urllib.parse import quote

from gateway.postgres.binaries import Binaries, copy_of_wheel, find_binaries
from gateway.postgres.postmaster import Account, Postmaster, Status

OWNER: Final = "tollgate"
"""The name of the database and of its owner, who is the cluster's superuser too."""
SOCKET_PATH_BYTES_MAX: Final = 107
LOG_BYTES_MAX: Final = 16 * 2**20
_LOG_QUOTED_BYTES_MAX: Final = 4096
_SOCKET_FILE: Final = ".s.PGSQL.5432"
_INITDB_TIMEOUT_S: Final = 120
_ATTEMPTS_MAX: Final = 50
_ATTEMPT_PAUSE_S: Final = 0.1

_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    # A log file that must be made anew is written full of zeros while every commit waits: 60 ms. Used ones are kept.
    "min_wal_size": "1GB",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "autovacuum_naptime": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}
_DURABLE: Final = {"fsync": "on", "full_page_writes": "on"}
_FORGETFUL: Final = {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "60s", "shared_buffers": "64MB"}


class EmbeddedPostgresError(Exception):
    """The embedded server could not be made or started; the message says why and what helps."""


class EmbeddedPostgres:
    """One user's hold on the server of `folder`.

    `durable=False` is for tests: a crash of the machine may lose or break everything, a crash of a process nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = True,
        progress: Callable[[str], None] = lambda what: None,
        environ: Mapping[str, str] = os.environ,
        start_timeout_s: float = 120.0,
        stop_timeout_s: float = 60.0,
    ) -> None:
        self.folder = folder.absolute()
        self._cluster = self.folder / "cluster"
        self._log_path = self.folder / "postgres.log"
        self._server = Postmaster(self._cluster)
        self._settings = _SETTINGS | (_DURABLE if durable else _FORGETFUL)
        self._durable = durable
        self._progress = progress
        self._environ = environ
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._account = _server_account()
        self._socket_folder = _socket_folder(self.folder)
        self._users_lock: int | None = None
        self.adopted = False
        """True when the server was found running."""

    @property
    def dsn(self) -> str:
        return self.dsn_of(OWNER)

    def dsn_of(self, database: str) -> str:
        return f"postgresql://{OWNER}@/{quote(database)}?host={quote(str(self._socket_folder), safe='')}&port=5432"

    async def start(self) -> str:
        """Have the server running and return its DSN. Raises EmbeddedPostgresError or BinariesMissing."""
        starting = asyncio.create_task(asyncio.to_thread(self.start_blocking))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: let it finish, then undo what it did.
            await asyncio.wait([starting])
            if starting.exception() is None:
                await asyncio.to_thread(self.stop_blocking)
            raise

    async def stop(self) -> None:
        """Leave; the last user stops the server. Safe to call twice."""
        await asyncio.to_thread(self.stop_blocking)

    def start_blocking(self) -> str:
        self._make_folder()
        with _locked(self.folder / "start.lock"):
            self._users_lock = _lock(self.folder / "users.lock", fcntl.LOCK_SH)
            try:
                self._have_running()
            except BaseException:
                self._leave()
                raise
        return self.dsn

    def stop_blocking(self) -> None:
        if self._users_lock is None:
            return
        with _locked(self.folder / "start.lock"):
            self._leave()
            try:
                last = _lock(self.folder / "users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            try:
                self._server.stop(timeout_s=self._stop_timeout_s)
                if self._socket_folder.parent != self.folder:
                    with contextlib.suppress(OSError):
                        self._socket_folder.rmdir()
            finally:
                os.close(last)

    def _leave(self) -> None:
        if self._users_lock is not None:
            os.close(self._users_lock)
            self._users_lock = None

    def _make_folder(self) -> None:
        for missing in reversed([folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]):
            missing.mkdir(exist_ok=True)
            missing.chmod(0o755)  # Whatever the umask: what must stay private below is private by itself.
        barrier = closed_to_others(self.folder)
        if self._account is not None and barrier is not None:
            raise EmbeddedPostgresError(
                f"PostgreSQL does not run as root; it would run as `nobody`, who may not enter {barrier}. "
                "Choose another folder with --data-dir, or start Tollgate as an ordinary user."
            )

    def _have_running(self) -> None:
        status = self._server.status()
        if status is Status.STOPPING:
            status = self._server.wait_for(Status.GONE, timeout_s=self._stop_timeout_s)
        if status is Status.STARTING:
            self._progress("waiting for the PostgreSQL that still recovers")
            status = self._server.wait_for(Status.READY, Status.GONE, timeout_s=self._start_timeout_s)
        if status is Status.READY:
            self.adopted = True
            return
        if status is not Status.GONE:
            raise EmbeddedPostgresError(f"the PostgreSQL of {self.folder} neither answers nor ends")
        binaries = copy_of_wheel(find_binaries(self._environ, major=self._made_by()), self.folder)
        if not self._cluster.exists():
            self._progress(f"making a PostgreSQL {binaries.major} database in {self.folder}")
            self._initialise(binaries)
        self._progress(f"starting PostgreSQL {binaries.major}")
        self._start(binaries)

    def _made_by(self) -> int | None:
        version = self._cluster / "PG_VERSION"
        return int(version.read_text()) if version.exists() else None

    def _initialise(self, binaries: Binaries) -> None:
        """Make the cluster beside its place and rename it, so that a half-made one is never taken for whole."""
        unfinished = self._cluster.with_name("cluster.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(unfinished, self._account.uid, self._account.gid)
        options = [f"--username={OWNER}", "--encoding=UTF8", "--no-locale", "--auth=trust"]
        self._run(binaries.bin / "initdb", "-D", unfinished, *options, *([] if self._durable else ["--no-sync"]))
        self._run(
            binaries.bin / "postgres", "--single", "-D", unfinished, "postgres", told=f"CREATE DATABASE {OWNER}\n"
        )
        unfinished.rename(self._cluster)

    def _run(self, *command: str | Path, told: str = "") -> None:
        done = subprocess.run(
            command,
            cwd="/",
            input=told,
            capture_output=True,
            text=True,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            timeout=_INITDB_TIMEOUT_S,
            check=False,
            start_new_session=True,
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
            extra_groups=[] if self._account else None,
        )
        if done.returncode != 0:
            raise EmbeddedPostgresError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip()}")

    def _start(self, binaries: Binaries) -> None:
        _own_folder(self._socket_folder, self._account)
        for left_behind in (
            _SOCKET_FILE,
            f"{_SOCKET_FILE}.lock",
        ):  # By a killed server; start.lock says that none runs.
            (self._socket_folder / left_behind).unlink(missing_ok=True)
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        options.append(f'--unix_socket_directories="{self._socket_folder}"')
        command: list[str | Path] = [binaries.bin / "postgres", "-D", self._cluster, *options]
        for _ in range(_ATTEMPTS_MAX):
            with self._open_log() as log:
                begins_at = log.tell()
                if self._server.start(command, account=self._account, log=log, timeout_s=self._start_timeout_s):
                    return
            if "shared memory block" not in self._log_since(begins_at):
                break
            time.sleep(_ATTEMPT_PAUSE_S)  # Backends of a killed server need a moment to notice; until then it refuses.
        raise EmbeddedPostgresError(f"PostgreSQL did not start: {self._log_since(begins_at)}")

    def _open_log(self) -> IO[bytes]:
        path = self._log_path
        if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def _log_since(self, at: int) -> str:
        with self._log_path.open("rb") as log:
            log.seek(at)
            return log.read(_LOG_QUOTED_BYTES_MAX).decode(errors="replace").strip()


@contextlib.asynccontextmanager
async def embedded(
    folder: Path, *, progress: Callable[[str], None] = lambda what: None, environ: Mapping[str, str] = os.environ
) -> AsyncIterator[str]:
    """The DSN of a running embedded server for as long as the block lasts."""
    server = EmbeddedPostgres(folder, progress=progress, environ=environ)
    dsn = await server.start()
    try:
        yield dsn
    finally:
        await server.stop()


def closed_to_others(folder: Path) -> Path | None:
    """The folder on the way to `folder`, itself included, that users besides its owner and group may not enter."""
    return next((part for part in (folder, *folder.parents) if not part.stat().st_mode & stat.S_IXOTH), None)


def _server_account() -> Account | None:
    """PostgreSQL refuses to run as root: there it runs as `nobody`."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return Account(uid=nobody.pw_uid, gid=nobody.pw_gid)


def _socket_folder(folder: Path) -> Path:
    """Inside the data folder, or where that path is too long for a socket, at a short one that stands for it."""
    inside = folder / "socket"
    if len(os.fsencode(inside / _SOCKET_FILE)) <= SOCKET_PATH_BYTES_MAX:
        return inside
    return Path(tempfile.gettempdir()) / f"tollgate-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"


def _own_folder(folder: Path, account: Account | None) -> None:
    """Make a folder that only the server's user may enter, and refuse one that somebody else put there."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    expected = account.uid if account is not None else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != expected or stat.S_IMODE(found.st_mode) != 0o700:
        raise EmbeddedPostgresError(f"{folder} is not a folder of the server's own user with mode 0700; remove it")


def _lock(path: Path, how: int) -> int:
    """Take a lock that lasts until the returned descriptor is closed, at the latest when this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)
