"""`make bench-ledger`: how fast, how small and how steady the ledger is, on one hot account and on many.

    make bench-ledger BENCH="--plots docs/plots"                          # everything, half an hour, and its plots
    make bench-ledger BENCH="--only cold --plots docs/plots"              # a scene anew, the others as they were
    make bench-ledger BENCH="--from docs/plots/ledger.json --plots docs/plots"    # drawn again, nothing measured

Reserve and settle through the real batcher into a PostgreSQL with fsync and synchronous_commit on: three budgets,
several grants, every usage column filled. The books are audited before a scene's figures are kept.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from gateway.ledger.audit import find_violations
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate
from tests.bench.ledger_figures import Figure, Played, Results, read_results, write_results
from tests.bench.ledger_growth import flat, long
from tests.bench.ledger_load import Load, quiet_log
from tests.bench.ledger_plots import draw
from tests.bench.ledger_scenes import Scene, cold, delayed, hot, small, snapshot
from tests.bench.log_files import make_log_files

SCENES: Final[dict[str, Scene]] = {
    "hot": hot,
    "cold": cold,
    "small": small,
    "delayed": delayed,
    "snapshot": snapshot,
    "long": long,
    "flat": flat,  # The last, because the others' tables should not be so full.
}


async def run(dsn: str, options: argparse.Namespace, console: Console, done: Callable[[str, Played], None]) -> None:
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await make_log_files(connection)
    version = await connection.fetchval("SELECT split_part(current_setting('server_version'), ' ', 1)")
    await connection.close()
    conditions = (
        f"{os.cpu_count()} cores · PostgreSQL {version} · Python {platform.python_version()} · "
        f"{options.seconds:g} s a run"
    )
    for name, scene in SCENES.items():
        if options.only not in (None, name):
            continue
        console.print(f"[bold]{name}[/]: {(scene.__doc__ or '').splitlines()[0]}")
        began = time.perf_counter()
        played = Played(conditions)
        await _play(dsn, scene, played, options, console)
        done(name, played)
        console.print(f"  [dim]{time.perf_counter() - began:.0f} s[/]")


async def _play(dsn: str, scene: Scene, played: Played, options: argparse.Namespace, console: Console) -> None:
    def seen(figure: Figure) -> None:
        played.figures.append(figure)
        if figure.listed:
            console.print(f"  {figure.what}: [bold]{figure}[/] {figure.unit}  {figure.goal}")

    load = await Load.start(dsn)
    try:
        await scene(load, options, seen)
    finally:
        await load.stop()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        async for breaches in find_violations(pool, full=options.full_audit, accounts_at_once=200):
            if breaches:
                raise SystemExit(f"the books are wrong, so no figure counts: {breaches[:3]}")


def report(results: Results, console: Console) -> None:
    table = Table(title="The ledger", title_justify="left")
    for column in ("scene", "what", "value", "unit", "goal"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for name, played in results.items():
        for figure in played.figures:
            if figure.listed:
                table.add_row(name, figure.what, str(figure), figure.unit, figure.goal)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="a scratch database, as its superuser; without it one is started for this")
    parser.add_argument("--only", choices=SCENES, help="one scene")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the scene `long`")
    parser.add_argument("--snapshot-seconds", type=float, default=150.0, help="how long `snapshot` keeps one open")
    parser.add_argument("--rows", type=int, default=1_000_000, help="the longest history in the scene `flat`")
    parser.add_argument("--accounts", type=int, default=100_000, help="the most accounts in the scene `flat`")
    parser.add_argument("--full-audit", action="store_true", help="check every row, not those since the last scene")
    parser.add_argument("--json", type=Path, help="where the figures go; beside the plots unless said")
    parser.add_argument("--plots", type=Path, help="a folder for plots of them, as SVG")
    parser.add_argument("--from", dest="source", type=Path, help="figures of an earlier run; nothing is measured")
    options = parser.parse_args()
    console = Console(width=140)
    quiet_log()
    kept = options.json or (options.plots / "ledger.json" if options.plots else None)
    results = _measure(options, console, kept) if options.source is None else read_results(options.source)
    report(results, console)
    if options.plots is not None:
        draw(results, options.plots)
    return 0


def _measure(options: argparse.Namespace, console: Console, kept: Path | None) -> Results:
    """What is done is kept at once: a scene that fails loses none before it. One alone replaces its like there."""
    results = read_results(kept) if options.only is not None and kept is not None and kept.exists() else {}

    def done(name: str, played: Played) -> None:
        results[name] = played
        if kept is not None:
            write_results(kept, results)

    def play(dsn: str) -> None:
        uvloop.run(run(dsn, options, console, done))

    if options.dsn:
        play(options.dsn)
    else:
        _on_a_server_of_its_own(play)
    return results


def _on_a_server_of_its_own(play: Callable[[str], None]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    server.start_blocking()
    try:
        play(server.dsn)
    finally:
        server.stop_blocking()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
