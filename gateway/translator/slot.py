"""The place of one process: one child after the other, the next when the last has died or is worn."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from gateway.ops.metrics import Metrics
from gateway.translator.child import Child
from gateway.translator.settings import Orders, Translated, TranslatorSettings

BACKOFF_FIRST_S: Final = 0.1
STEADY_S: Final = 60.0
"""Whoever lived so long did not die of its start: the next one is started at once."""

_log = structlog.get_logger()


class Slot:
    """`start` it, `stop` it. `changed` is told whenever somebody who waits for a child should look again."""

    def __init__(
        self,
        number: int,
        settings: TranslatorSettings,
        upstreams: tuple[Translated, ...],
        *,
        folder: Path,
        metrics: Metrics,
        changed: Callable[[], None],
    ) -> None:
        self._number: Final = number
        self._settings: Final = settings
        self._upstreams: Final = upstreams
        self._folder: Final = folder
        self._changed: Final = changed
        self._task: asyncio.Task[None] | None = None
        self._living: Final[set[Child]] = set()
        """Also one that is not up yet, and one that waits for its last calls to end."""
        self._leaving: asyncio.Task[None] | None = None
        self._calls_of_predecessors = 0
        self._metrics: Final = metrics.translator(str(number))
        self.child: Child | None = None
        """The one that calls enter while it is `ready`."""
        self.failures = 0
        """In a row: starts that failed, and processes that died young."""

    @property
    def up(self) -> bool:
        return self.child is not None and self.child.ready

    @property
    def seats(self) -> int:
        return self.child.seats if self.child is not None else 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=f"translator slot {self._number}")

    async def stop(self) -> None:
        tasks = [task for task in (self._task, self._leaving) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.gather(*(child.stop() for child in self._living))

    # --- within -----------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            child = Child(self._orders(), self._settings, on_news=self._tell)
            if not await self._started(child):
                await self._rest()
                continue
            began = loop.time()
            predecessor, self.child = self.child, child
            if predecessor is not None:
                self._leaving = asyncio.create_task(self._see_off(predecessor))
            self._tell()
            if await self._is_worn(child):
                self._metrics.restarted("worn")  # it goes on until its successor has come
                continue
            self.child = None
            self._forget(child)
            how = child.killed_for or "died"
            self._metrics.restarted(how)
            self.failures = 0 if loop.time() - began >= STEADY_S else self.failures + 1
            _log.warning("translator.ended", process=self._number, pid=child.pid, how=how, status=child.status)
            if self.failures > 1:
                await self._rest()

    async def _started(self, child: Child) -> bool:
        self._living.add(child)
        try:
            await child.start()
        except (OSError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            self._living.discard(child)
            self.failures += 1
            _log.error("translator.not_started", process=self._number, error=repr(error), failures=self.failures)
            self._tell()
            return False
        _log.info("translator.started", process=self._number, pid=child.pid)
        return True

    async def _is_worn(self, child: Child) -> bool:
        """Waits until it is, and no other is still leaving. False: it ended before that."""
        ended = asyncio.ensure_future(child.ended.wait())
        worn = asyncio.ensure_future(child.worn.wait())
        try:
            await asyncio.wait([worn, ended], return_when=asyncio.FIRST_COMPLETED)
            if self._leaving is not None:
                await asyncio.wait([asyncio.ensure_future(self._leaving), ended], return_when=asyncio.FIRST_COMPLETED)
            return not child.ended.is_set()
        finally:
            ended.cancel()
            worn.cancel()

    async def _see_off(self, child: Child) -> None:
        await child.retire()
        self._forget(child)

    def _forget(self, child: Child) -> None:
        self._living.discard(child)
        self._calls_of_predecessors += child.beat.calls
        self._tell()

    async def _rest(self) -> None:
        await asyncio.sleep(min(self._settings.backoff_max_s, BACKOFF_FIRST_S * 2 ** min(self.failures, 20)))

    def _orders(self) -> Orders:
        taken = {child.path for child in self._living}
        paths = [str(self._folder / f"{self._number}{letter}") for letter in "abc"]
        return Orders(
            socket=next(path for path in paths if path not in taken),
            body_bytes_max=self._settings.body_bytes_max,
            upstreams=self._upstreams,
        )

    def _tell(self) -> None:
        living = self._living
        self._metrics.up.set(self.up)
        self._metrics.busy.set(sum(child.seats for child in living))
        self._metrics.rss_bytes.set(sum(child.beat.rss_bytes for child in living))
        self._metrics.calls.set(self._calls_of_predecessors + sum(child.beat.calls for child in living))
        self._changed()
