"""`make simulate SECONDS=600 SEED=…`: two gateways under a drawn load, and everything that can happen to them.

The seed repeats the plans and the accidents; processes race as they like. One accident a phase; then everything
comes to rest and the books are judged. At least one accident of each kind, and four or more of each in ten minutes.
"""

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.postgres.postmaster import Postmaster
from tests.e2e.running import Customer
from tests.simulation.accidents import ACCIDENTS
from tests.simulation.clerk import Clerk
from tests.simulation.crowd import draw, draw_greedy
from tests.simulation.verdict import judge
from tests.simulation.world import World, open_world

SECONDS: Final = 600
ROUND_S: Final = 140
"""A round has one accident of each kind."""
CALLERS: Final = 14
GREEDY: Final = 3
"""So many of them share credits that do not last."""
WHOLE: Final = 4
"""So many ask for answers in one piece."""
CLERKS: Final = 2
SERVED_BEFORE: Final = 12
SERVED_AFTER: Final = 12
"""Calls, before an accident and after it."""
PHASE_WITHIN_S: Final = 180.0


@dataclass
class Report:
    seed: int
    seconds: int
    accidents: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    late: int = 0
    left: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    violations: int = 0
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def again(self) -> str:
        return f"make simulate SECONDS={self.seconds} SEED={self.seed}"


async def simulate(*, seconds: int, seed: int, folder: Path, say: Callable[[str], None]) -> Report:
    """Ends with the first phase after which something is wrong."""
    report = Report(seed, seconds)
    began = time.monotonic()
    lots = random.Random(seed)
    rounds = max(1, seconds // ROUND_S)
    kinds = [kind for _ in range(rounds) for kind in lots.sample(sorted(ACCIDENTS), len(ACCIDENTS))]
    async with open_world(folder) as world:
        clerks = [Clerk(world, random.Random(f"{seed}/clerk {number}")) for number in range(CLERKS)]
        for number, kind in enumerate(kinds, 1):
            until_s = began + seconds * number / len(kinds)
            async with asyncio.timeout(PHASE_WITHIN_S):
                line = await _phase(world, clerks, report, kind, seed=f"{seed}/{number}", until_s=until_s)
            say(f"{number:3} of {len(kinds)}  {time.monotonic() - began:6.1f} s  {kind:15} {line}")
            if report.wrong:
                break
        report.operations = Counter(done.what for clerk in clerks for done in clerk.log)
        report.refused = sum(bool(done.refused) for clerk in clerks for done in clerk.log)
    report.took_s = round(time.monotonic() - began, 1)
    return report


async def _phase(world: World, clerks: list[Clerk], report: Report, kind: str, *, seed: str, until_s: float) -> str:
    crowd, over = world.crowd, asyncio.Event()
    first = len(crowd.seen)
    lots = random.Random(f"{seed}/accident")
    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(_caller(world, number, f"{seed}/{number}", over))
        for clerk in clerks:
            group.create_task(clerk.work(over))
        await crowd.served(crowd.served_so_far + SERVED_BEFORE)
        await ACCIDENTS[kind](world, lots)
        await crowd.served(crowd.served_so_far + SERVED_AFTER)
        await asyncio.sleep(max(0.0, until_s - time.monotonic()))  # the load that was asked for
        over.set()
    verdict = await judge(world, crowd.seen[first:], [done for clerk in clerks for done in clerk.log])
    report.accidents[kind] += 1
    report.calls += verdict.calls
    report.statuses += verdict.statuses
    report.ends += verdict.ends
    report.late += verdict.late
    report.left += verdict.left
    report.violations += verdict.violations
    report.wrong += verdict.wrong
    return ", ".join(
        [
            f"{verdict.calls} calls, {verdict.statuses[200]} served",
            f"{verdict.left} left by the killed, {verdict.late} late",
            f"{verdict.violations} violations, {len(verdict.wrong)} wrong",
        ]
    )


async def _caller(world: World, number: int, seed: str, over: asyncio.Event) -> None:
    lots = random.Random(seed)
    rich, poor = _customers(world)
    call = 0
    while not over.is_set():
        call += 1
        greedy = number < GREEDY
        plan = draw_greedy(lots, poor) if greedy else draw(lots, rich, stream=number >= GREEDY + WHOLE)
        plan.asked["id"] = f"{seed}/{call}"
        await world.crowd.call(lots, plan)


def _customers(world: World) -> tuple[list[Customer], list[Customer]]:
    rich, poor = ([each for house in houses for each in house.customers] for houses in (world.rich, world.poor))
    return rich, poor


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A short path that other users may enter, as the server may need."""
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        Postmaster(folder / "postgres" / "cluster").stop(timeout_s=10)  # where it was not stopped in order
        shutil.rmtree(folder, ignore_errors=True)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    options = parser.parse_args()
    report = Report(secrets.randbelow(2**32) if options.seed is None else options.seed, options.seconds)
    say(f"seed {report.seed}")
    try:
        with temporary_folder() as folder:
            report = asyncio.run(simulate(seconds=report.seconds, seed=report.seed, folder=folder, say=say))
    except Exception:  # noqa: BLE001 - whatever it was, the seed must be said
        report.wrong.append(traceback.format_exc())
    for wrong in report.wrong:
        say(wrong)
    if report.wrong:
        say(f"again: {report.again}")
    if options.json:
        print(json.dumps(vars(report), indent=2, default=str))
    else:
        for name, value in vars(report).items():
            if name != "wrong":
                print(f"{name:12}{dict(value) if isinstance(value, Counter) else value}")
    return int(bool(report.wrong))


if __name__ == "__main__":
    sys.exit(main())
