"""One PostgreSQL server process, known by the pid file in its data folder, whoever started it.

The one who stops a server need not be the one who started it, so it is tracked by pid and not by a Popen object.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

import msgspec

_POLL_S: Final = 0.02
_STATUS_LINE: Final = 7
"""Line of postmaster.pid (from 0) that says how far the server is, as pg_ctl reads it."""


class Status(StrEnum):
    GONE = "gone"
    STARTING = "starting"
    """Also while it recovers from a crash."""
    READY = "ready"
    STOPPING = "stopping"


class Account(msgspec.Struct, frozen=True):
    """The system user the server runs as."""

    uid: int
    gid: int


class Postmaster:
    """The server of one cluster folder. All calls block; none is safe against another process doing the same."""

    def __init__(self, cluster: Path) -> None:
        self._cluster = cluster
        self._pid_file = cluster / "postmaster.pid"

    @property
    def pid(self) -> int | None:
        lines = self._pid_lines()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    def status(self) -> Status:
        lines = self._pid_lines()
        pid = self.pid
        if pid is None or not self._runs_here(pid):
            return Status.GONE
        told = lines[_STATUS_LINE].strip() if len(lines) > _STATUS_LINE else ""
        return Status(told) if told in (Status.READY, Status.STOPPING) else Status.STARTING

    def start(
        self, command: Sequence[str | Path], *, account: Account | None, log: IO[bytes], timeout_s: float
    ) -> bool:
        """Start the server as a direct child in a session of its own, out of reach of the terminal's Ctrl-C.

        True once it is ready; False if it ended before that, or was stopped because the time was over.
        """
        self._disown_recycled_pid()
        child = subprocess.Popen(
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        child.returncode = 0  # From here on waitpid by number; Popen shall neither wait nor warn about it.
        deadline = time.monotonic() + timeout_s
        while not _has_ended(child.pid):
            if self.pid == child.pid and self.status() is Status.READY:
                return True
            if time.monotonic() > deadline:
                os.kill(child.pid, signal.SIGQUIT)
                os.waitpid(child.pid, 0)
                return False
            time.sleep(_POLL_S)
        return False

    def wait_for(self, *wanted: Status, timeout_s: float) -> Status:
        """Poll until the status is one of `wanted` or the time is over; the last status either way."""
        deadline = time.monotonic() + timeout_s
        while (status := self.status()) not in wanted and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return status

    def stop(self, *, timeout_s: float) -> None:
        """End it cleanly, cutting its clients; after `timeout_s` at once, which costs a recovery at the next start."""
        pid = self.pid
        if pid is None or not self._runs_here(pid):
            return
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
            deadline = time.monotonic() + timeout_s
            while time.monotonic() < deadline:
                if not self._runs_here(pid):
                    return
                time.sleep(_POLL_S)

    def _pid_lines(self) -> list[str]:
        try:
            return self._pid_file.read_text().split("\n")
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _runs_here(self, pid: int) -> bool:
        """Whether `pid` is a live server of this cluster and not another process that got the same number."""
        with contextlib.suppress(ChildProcessError):
            # Our own child: it runs until it is reaped, which this does; its number cannot be another's before.
            return os.waitpid(pid, os.WNOHANG)[0] != pid
        if not Path("/proc/self/cwd").exists():
            return _exists(pid)
        try:
            # A postmaster's working folder is its cluster; a zombie has none.
            return Path(f"/proc/{pid}/cwd").samefile(self._cluster)
        except OSError:
            return False

    def _disown_recycled_pid(self) -> None:
        """Let a pid file of a dead server whose number another process now has look like what it is: stale.

        PostgreSQL refuses to start while that number is alive, except when it is its own parent's. Putting ours there,
        instead of removing the file, keeps its check that no orphaned backend still uses the shared memory.
        """
        lines = self._pid_lines()
        pid = self.pid
        if pid is not None and _exists(pid) and not self._runs_here(pid):
            lines[0] = str(os.getpid())
            self._pid_file.write_text("\n".join(lines))


def _has_ended(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
