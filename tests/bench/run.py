"""`make bench`: the gateway beside nginx `proxy_pass` and a bare aiohttp proxy, on like mocks, in turn, in rounds.

CPU is that of the process under test, from /proc, so that figures compare on a noisy machine; read them as ratios of
one run. No figure is printed unless the books are right: the audit finds nothing and Σ charged = Σ usage sent.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gateway.core.units import credits_text
from gateway.postgres.embedded import EmbeddedPostgres
from tests.bench.books import MODEL, Books

NO_KEY = "none"
NGINX_CONF = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream mock {{ server 127.0.0.1:{mock}; keepalive 1024; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      client_body_buffer_size 64k;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Workload:
    name: str
    connections: int
    stream: bool


WORKLOADS = (
    Workload("whole, 1 connection", 1, False),
    Workload("whole, 16 connections", 16, False),
    Workload("whole, 64 connections", 64, False),
    Workload("whole, 256 connections", 256, False),
    Workload("stream of 33 chunks, 300 connections", 300, True),
)


@dataclass
class Figure:
    """One round of one workload against one subject."""

    requests: int
    rps: float
    p50_ms: float | None
    p99_ms: float | None
    first_p50_ms: float | None
    cpu_us: float
    cpu_us_chunk: float | None
    postgres_cpu_us: float | None
    rss_mb: float
    wrong: int


class Subject:
    """A process under test, pinned to a core of its own."""

    def __init__(self, name: str, command: list[str], port: int, key: str, core: int, environ: dict[str, str]) -> None:
        self.name = name
        self.port = port
        self.key = key
        self.process = subprocess.Popen(
            command,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.sched_setaffinity(self.process.pid, {core})  # before it has threads or children, which inherit it

    def pids(self) -> list[int]:
        return _tree(self.process.pid)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _tree(int(child))
    return found


def _cpu_s(pids: list[int]) -> float:
    ticks = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _rss_mb(pids: list[int]) -> float:
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGESIZE") / 1e6


def measure(
    subject: Subject, workload: Workload, *, seconds: float, chunks: int, database: Callable[[], list[int]]
) -> Figure:
    pids = subject.pids()
    before, database_before, began = _cpu_s(pids), _cpu_s(database()), time.monotonic()
    command = [sys.executable, "-m", "tests.bench.load", f"--port={subject.port}", f"--key={subject.key}"]
    command += [f"--connections={workload.connections}", f"--seconds={seconds}", f"--model={MODEL}"]
    done = subprocess.run(
        command + (["--stream"] if workload.stream else []),
        capture_output=True,
        check=True,
        text=True,
    )
    took = time.monotonic() - began
    seen = json.loads(done.stdout)
    cpu, database_cpu = _cpu_s(pids) - before, _cpu_s(database()) - database_before
    count = max(1, seen["requests"])
    if seen["wrong"]:
        print(f"{subject.name}: {seen['wrong']} wrong answers, such as {seen['samples']}", file=sys.stderr)
    return Figure(
        requests=seen["requests"],
        rps=count / took,
        p50_ms=seen["p50_ms"],
        p99_ms=seen["p99_ms"],
        first_p50_ms=seen["first_p50_ms"],
        cpu_us=cpu * 1e6 / count,
        cpu_us_chunk=cpu * 1e6 / count / chunks if workload.stream else None,
        postgres_cpu_us=database_cpu * 1e6 / count if subject.name == "tollgate" else None,
        rss_mb=_rss_mb(pids),
        wrong=seen["wrong"],
    )


def _free_port() -> int:
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_mock(core: int, chunks: int) -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.mock", f"--chunks={chunks}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(process.pid, {core})
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def nginx(folder: Path, mock_port: int, core: int) -> Subject | None:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        return None
    folder.mkdir()
    port = _free_port()
    conf = folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(folder=folder, mock=mock_port, port=port))
    return Subject("nginx", [binary, "-c", str(conf), "-p", str(folder)], port, NO_KEY, core, dict(os.environ))


def median_of(rounds: list[Figure]) -> Figure:
    def middle(name: str) -> float | None:
        values = [value for figure in rounds if (value := getattr(figure, name)) is not None]
        return statistics.median(values) if values else None

    merged = {name: middle(name) for name in asdict(rounds[0])}
    merged["wrong"] = sum(figure.wrong for figure in rounds)
    merged["requests"] = sum(figure.requests for figure in rounds)
    return Figure(**merged)  # type: ignore[arg-type]


COLUMNS = ("workload", "subject", "rps", "p50 ms", "p99 ms", "CPU µs", "µs/chunk", "× nginx", "PG µs", "RSS MB")


def rows_of(results: dict[str, dict[str, Figure]]) -> Iterator[tuple[str, ...]]:
    for workload, by_subject in results.items():
        floor = by_subject.get("nginx")
        for name, figure in by_subject.items():
            yield (
                workload,
                name,
                f"{figure.rps:,.0f}",
                _shown(figure.p50_ms),
                _shown(figure.p99_ms),
                f"{figure.cpu_us:.0f}",
                _shown(figure.cpu_us_chunk),
                f"{figure.cpu_us / floor.cpu_us:.1f}" if floor else "",
                _shown(figure.postgres_cpu_us),
                f"{figure.rss_mb:.0f}",
            )


def report(results: dict[str, dict[str, Figure]], console: Console) -> None:
    table = Table(title="CPU of the process under test; medians", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in COLUMNS[:2] else "right")
    for row in rows_of(results):
        table.add_row(*row)
    console.print(table)


def markdown(results: dict[str, dict[str, Figure]]) -> str:
    """The same table, for the documentation."""
    lines = [" | ".join(COLUMNS), "|".join(["---", "---"] + ["---:"] * (len(COLUMNS) - 2))]
    lines += [" | ".join(row) for row in rows_of(results)]
    return "".join(f"| {line} |\n" for line in lines)


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


@contextlib.contextmanager
def field(
    chunks: int, console: Console, *, load_core: int, subject_core: int
) -> Iterator[tuple[list[Subject], Books, EmbeddedPostgres]]:
    """Everything started: the subjects, the gateway last, and a mock for each, so that each is counted apart."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollgate-bench-")))
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "postgres")
        console.print("starting PostgreSQL, mocks, nginx, a bare aiohttp proxy and the gateway …")
        dsn = postgres.start_blocking()
        stack.callback(postgres.stop_blocking)
        mocks = [stack.enter_context(running_mock(load_core, chunks)) for _ in range(3)]
        subjects: list[Subject] = []
        floor = nginx(folder / "nginx", mocks[0], subject_core)
        if floor is None:
            console.print("nginx is not installed: `apt-get install nginx` for the comparison; measuring without it")
        else:
            subjects.append(floor)
        port = _free_port()
        command = [sys.executable, "-m", "tests.bench.plain_proxy", str(port), str(mocks[1])]
        subjects.append(Subject("aiohttp alone", command, port, NO_KEY, subject_core, dict(os.environ)))
        books = Books(port=_free_port(), dsn=dsn, mock_port=mocks[2])
        subjects.append(Subject("tollgate", books.command(), books.port, NO_KEY, subject_core, books.environ()))
        for subject in subjects:
            stack.callback(subject.stop)
        subjects[-1].key = books.open_account()
        yield subjects, books, postgres


def bench(options: argparse.Namespace, console: Console) -> int:
    cores = sorted(os.sched_getaffinity(0))
    load_core, subject_core = cores[0], cores[-1]
    os.sched_setaffinity(0, {load_core})
    chunks = options.chunks
    results: dict[str, dict[str, Figure]] = {}
    with field(chunks, console, load_core=load_core, subject_core=subject_core) as (subjects, books, postgres):
        for workload in WORKLOADS:
            if options.only is not None and options.only not in workload.name:
                continue
            rounds: dict[str, list[Figure]] = {subject.name: [] for subject in subjects}
            for number in range(options.rounds):
                for subject in subjects:
                    console.print(f"  {workload.name}: round {number + 1} of {options.rounds}, {subject.name}")
                    figure = measure(
                        subject,
                        workload,
                        seconds=options.seconds,
                        chunks=chunks,
                        database=partial(_postmaster_tree, postgres),
                    )
                    rounds[subject.name].append(figure)
            results[workload.name] = {name: median_of(figures) for name, figures in rounds.items()}
        wrong = books.wrong()
        if wrong:
            console.print(f"[red]The books are wrong, so no figure is printed:[/red] {wrong}")
            return 1
        report(results, console)
        console.print(
            f"audit clean; Σ charged = Σ usage sent by the mock = {credits_text(books.charged_ucr())} credits"
        )
    if options.markdown is not None:
        options.markdown.write_text(markdown(results))
        console.print(f"written to {options.markdown}")
    if options.json is not None:
        shown = {w: {s: asdict(f) for s, f in by.items()} for w, by in results.items()}
        about = {"machine": platform.machine(), "cores": os.cpu_count(), "python": sys.version}
        options.json.write_text(json.dumps({"about": about, "results": shown}, indent=1) + "\n")
        console.print(f"written to {options.json}")
    return 0


def _postmaster_tree(postgres: EmbeddedPostgres) -> list[int]:
    pid_file = postgres.folder / "cluster" / "postmaster.pid"
    return _tree(int(pid_file.read_text().split()[0]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--chunks", type=int, default=33)
    parser.add_argument("--only", help="workloads whose name contains this")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    return bench(parser.parse_args(), Console(width=140))


if __name__ == "__main__":
    sys.exit(main())
