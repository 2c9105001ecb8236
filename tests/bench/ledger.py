"""`make bench-ledger`: how fast, how small and how steady the ledger is, on one hot account and on many.

Reserve and settle through the real batcher into a PostgreSQL with fsync and synchronous_commit on: three budgets,
several grants, every usage column filled. The books are audited before a figure is printed.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from rich.console import Console
from rich.table import Table

from gateway.ledger.audit import find_violations
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate
from tests.bench.ledger_load import Load
from tests.bench.ledger_scenes import SCENES, Figure


async def run(dsn: str, options: argparse.Namespace, console: Console) -> dict[str, list[Figure]]:
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    found: dict[str, list[Figure]] = {}
    for name, scene in SCENES.items():
        if options.only is not None and options.only not in name:
            continue
        console.print(f"[bold]{name}[/]: {(scene.__doc__ or '').splitlines()[0]}")
        found[name] = await _played(dsn, scene, options, console)
    return found


async def _played(
    dsn: str,
    scene: Callable[[Load, argparse.Namespace, Callable[[Figure], None]], Awaitable[None]],
    options: argparse.Namespace,
    console: Console,
) -> list[Figure]:
    figures: list[Figure] = []

    def seen(figure: Figure) -> None:
        figures.append(figure)
        console.print(f"  {figure.what}: [bold]{figure.value:,.{figure.digits}f}[/] {figure.unit}  {figure.goal}")

    load = await Load.start(dsn)
    try:
        await scene(load, options, seen)
    finally:
        await load.stop()
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool:
        async for breaches in find_violations(pool, full=options.full_audit, accounts_at_once=200):
            if breaches:
                raise SystemExit(f"the books are wrong, so no figure counts: {breaches[:3]}")
    return figures


def report(found: dict[str, list[Figure]], console: Console) -> None:
    table = Table(title="The ledger", title_justify="left")
    for column in ("scene", "what", "value", "unit", "goal"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for name, figures in found.items():
        for figure in figures:
            table.add_row(name, figure.what, f"{figure.value:,.{figure.digits}f}", figure.unit, figure.goal)
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="a scratch database; without it one is started in a temporary folder")
    parser.add_argument("--only", help="scenes whose name contains this")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the scene `long`")
    parser.add_argument("--rows", type=int, default=1_000_000, help="the longest history in the scene `flat`")
    parser.add_argument("--accounts", type=int, default=100_000, help="the most accounts in the scene `flat`")
    parser.add_argument("--full-audit", action="store_true", help="check every row, not those since the last scene")
    parser.add_argument("--json", type=Path, help="write the figures there")
    options = parser.parse_args()
    console = Console(width=140)

    def play(dsn: str) -> dict[str, list[Figure]]:
        return uvloop.run(run(dsn, options, console))

    found = play(options.dsn) if options.dsn else _on_a_server_of_its_own(play)
    report(found, console)
    if options.json is not None:
        shown: dict[str, Any] = {name: [figure.shown() for figure in figures] for name, figures in found.items()}
        options.json.write_text(json.dumps(shown, indent=1) + "\n")
    return 0


def _on_a_server_of_its_own(play: Callable[[str], dict[str, list[Figure]]]) -> dict[str, list[Figure]]:
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    server.start_blocking()
    try:
        return play(server.dsn)
    finally:
        server.stop_blocking()
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
