"""How late the event loop wakes a sleeper: the first sign that something computes where it should wait."""

import asyncio
from typing import Final

from gateway.ops.metrics import Metrics

_EVERY_S: Final = 0.25


class LoopLag:
    """Measures for as long as it is started."""

    def __init__(self, metrics: Metrics) -> None:
        self._histogram = metrics.loop_lag_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _EVERY_S
        self._timer = loop.call_at(due, self._woke, loop, due)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _woke(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._histogram.observe(max(0.0, loop.time() - due))
        self.start()
