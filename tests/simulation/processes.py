"""Which processes stem from another, and whether they live: read from /proc, so that nothing has to report itself."""

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from gateway.postgres.postmaster import Postmaster
from tests.simulation.patience import until


@dataclass(frozen=True)
class Process:
    """A process, and not another that got its number later."""

    pid: int
    parent: int
    started: int
    """In clock ticks since the machine's start."""
    name: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """None where there is none, or only what its parent has not yet taken note of."""
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = rest.split()
        return None if fields[0] == "Z" else cls(pid, int(fields[1]), int(fields[19]), name.partition("(")[2])

    @property
    def lives(self) -> bool:
        now = type(self).of(self.pid)
        return now is not None and now.started == self.started


def descendants(pid: int) -> set[Process]:
    """Its children, their children, and so on."""
    running = [process for entry in Path("/proc").glob("[0-9]*") if (process := Process.of(int(entry.name)))]
    found: set[Process] = set()
    parents = {pid}
    while children := {process for process in running if process.parent in parents} - found:
        found |= children
        parents = {process.pid for process in children}
    return found


async def kill_server(folder: Path) -> None:
    """PostgreSQL in `folder` and all its workers at once. Returns when the server is gone, which takes a moment."""
    pid = Postmaster(folder / "cluster").pid
    server = None if pid is None else Process.of(pid)
    assert server is not None
    for process in [server, *descendants(server.pid)]:
        with contextlib.suppress(ProcessLookupError):  # a worker whose server is gone goes by itself
            os.kill(process.pid, signal.SIGKILL)

    async def gone() -> bool:
        return not server.lives

    await until(gone, "the end of a killed PostgreSQL")
