"""A neighbour worker: floods one organisation's account from a process of its own, then prints its rate.

Started by the scene `cold`: python -m tests.bench.ledger_flood DSN SECONDS. A line says that the flood has begun.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvloop

from tests.bench.ledger_load import FLOOD_CALLERS, Load, quiet_log

_BEGUN: Final = b"flooding\n"


@asynccontextmanager
async def flood_of_another_process(dsn: str, *, seconds: float) -> AsyncIterator[list[float]]:
    """Runs for as long as the block, which must take no longer than the seconds. After it the list holds its rate."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.ledger_flood", dsn, str(seconds), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    rate: list[float] = []
    try:
        while (line := await process.stdout.readline()) != _BEGUN:
            assert line, "the flooding process ended before it began"
        yield rate
        told, _ = await process.communicate()
        rate.append(float(told.split()[-1]))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _flood(dsn: str, seconds: float) -> None:
    load = await Load.start(dsn)
    payer = await load.payer()
    await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=1)
    sys.stdout.buffer.write(_BEGUN)
    sys.stdout.flush()
    rate = await load.closed_loop(payer, callers=FLOOD_CALLERS, seconds=seconds)
    await load.stop()
    print(rate)


if __name__ == "__main__":
    quiet_log()
    uvloop.run(_flood(sys.argv[1], float(sys.argv[2])))
