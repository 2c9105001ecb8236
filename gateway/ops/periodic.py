"""Work that repeats: a task with an owner, which starts it, stops it and awaits its end."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from gateway.ops.metrics import Metrics

_log = structlog.get_logger()


class Periodic:
    """Runs `action` every `every_s` seconds, counted from start to start, never twice at once.

    A run that fails is logged and counted, and the next comes at its time. `jitter` is the share of the interval by
    which each wait may be shorter, so that many processes do not come at once. The first run comes after a random
    part of one interval, or at once with `at_once`.
    """

    def __init__(
        self,
        name: str,
        action: Callable[[], Awaitable[object]],
        *,
        every_s: float,
        metrics: Metrics,
        jitter: float = 0.1,
        at_once: bool = False,
    ) -> None:
        assert every_s > 0
        assert 0 <= jitter < 1
        self._name = name
        self._action = action
        self._every_s = every_s
        self._jitter = jitter
        self._at_once = at_once
        self._metrics = metrics
        self._nudge = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        """The last run failed."""

    def start(self) -> None:
        assert self._task is None, f"{self._name} was started twice"
        self._task = asyncio.create_task(self._repeat(), name=self._name)

    def nudge(self) -> None:
        """Run soon: now if idle, else again right after the run that goes on."""
        self._nudge.set()

    async def stop(self) -> None:
        """Cancel it, in the middle of a run too, and await its end. Safe to call twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])

    async def _repeat(self) -> None:
        wait_s = 0.0 if self._at_once else self._every_s * random.random()  # noqa: S311 — spreads load, hides nothing.
        while True:
            await self._rest(wait_s)
            began = asyncio.get_running_loop().time()
            try:
                await self._action()
            except Exception as error:  # noqa: BLE001 — here a loop ends.
                self._metrics.periodic_failed(self._name)
                # During an outage every run fails alike: the first says where.
                _log.warning("periodic.failed", task=self._name, error=repr(error), exc_info=not self._failing)
                self._failing = True
            else:
                self._failing = False
            every_s = self._every_s * (1 - self._jitter * random.random())  # noqa: S311
            wait_s = every_s - (asyncio.get_running_loop().time() - began)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._nudge.wait()
        except TimeoutError:
            pass
        self._nudge.clear()
