"""What goes wrong under load, each accident by itself: it returns when it is over, not when its consequences are."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from uuid import UUID

from gateway.postgres.embedded import EmbeddedPostgres
from tests.fakes.tcp_proxy import TcpProxy
from tests.simulation.patience import until
from tests.simulation.processes import kill_server
from tests.simulation.world import DEAD_AFTER_S, World

STALL_S: Final = 1.0
"""Shorter than the silence after which a process is dead."""
OUTAGE_S: Final = 1.3 * DEAD_AFTER_S
CUTS: Final = 5
LOST_ANSWERS: Final = 5
BETWEEN_S: Final = 0.1

Accident = Callable[[World, random.Random], Awaitable[None]]


async def kill_gateway(world: World, lots: random.Random) -> None:
    """kill −9 in the middle of its calls; another is started in its place."""
    gateway = world.any_gateway(lots)
    await world.crowd.without(gateway)
    world.killed.add(gateway.url)
    await gateway.kill()
    async with world.books() as books:
        world.written |= {id: row.swept_ucr for id, row in (await books.open_rows()).items()}
    await world.start_gateway()


async def freeze_gateway(world: World, lots: random.Random) -> None:
    """SIGSTOP until the others have declared it dead; then it goes on as if nothing had been."""
    gateway = world.any_gateway(lots)
    async with world.books() as books:
        before = await books.fenced()
        gateway.pause()
        try:

            async def declared_dead() -> set[UUID]:
                return await books.fenced() - before

            await until(declared_dead, "the death of the process that was stopped")
        finally:
            gateway.resume()


async def kill_postgres(world: World, _: random.Random) -> None:
    """kill −9 of the server and its workers, and a new start on the same folder."""
    await kill_server(world.postgres.folder)
    again = EmbeddedPostgres(world.postgres.folder)
    await again.start()
    world.stack.push_async_callback(again.stop)


async def lose_commits(world: World, lots: random.Random) -> None:
    """The database commits, and the line breaks before the answer comes through."""
    for _ in range(LOST_ANSWERS):
        house = lots.choice(world.rich)
        world.line.lose_answer_to(house.org_id.bytes)
        async with asyncio.timeout(30):
            await world.line.lost.wait()


async def cut_line(world: World, _: random.Random) -> None:
    for _cut in range(CUTS):
        world.line.cut()
        await asyncio.sleep(BETWEEN_S)


async def stall_line(world: World, _: random.Random) -> None:
    await _fencing_nobody(world, TcpProxy.stall, STALL_S)


async def outage(world: World, lots: random.Random) -> None:
    """Longer than the dead time, for all at once: nobody may be declared dead for it."""
    await _fencing_nobody(world, lots.choice([TcpProxy.refuse, TcpProxy.stall]), OUTAGE_S)


async def _fencing_nobody(world: World, how: Callable[[TcpProxy], None], for_s: float) -> None:
    async with world.books() as books:
        before = await books.fenced()
        how(world.line)
        await asyncio.sleep(for_s)
        world.line.mend()
        await world.crowd.served(world.crowd.served_so_far + 10)
        fenced = await books.fenced() - before
        assert not fenced, f"{len(fenced)} processes were declared dead for an outage"


ACCIDENTS: Final[Mapping[str, Accident]] = {
    "kill gateway": kill_gateway,
    "freeze gateway": freeze_gateway,
    "kill postgres": kill_postgres,
    "lose commits": lose_commits,
    "cut line": cut_line,
    "stall line": stall_line,
    "outage": outage,
}
