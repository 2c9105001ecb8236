"""One timer for a connection and all its calls: waits move its deadline, and only a deadline that passed rings.

A timer for each call, or each chunk, would cost more than the chunk; here it is set anew once in a timeout.
"""

import asyncio
import math
from collections.abc import Callable


class Clock:
    """Rings once when a wait lasts too long."""

    __slots__ = ("_deadline", "_ends_at", "_handle", "_looks_at", "_loop", "_ring")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._ends_at = self._deadline = self._looks_at = math.inf
        self._handle: asyncio.Handle | None = None

    def begin(self, total_s: float) -> None:
        """A call begins; all its waits together may last so long."""
        self._ends_at = self._loop.time() + total_s

    def start(self, timeout_s: float) -> None:
        """From now on the wait that begins may last so long, and never past the call's total."""
        self._deadline = deadline = min(self._loop.time() + timeout_s, self._ends_at)
        if self._looks_at > deadline:
            if self._handle is not None:
                self._handle.cancel()
            self._look_at(deadline)

    def pause(self) -> None:
        """The wait is over."""
        self._deadline = math.inf

    def stop(self) -> None:
        """For good: nothing rings, and whoever would have been told is let go."""
        self._deadline = math.inf
        self._ring = _nobody
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._looks_at = math.inf

    def _look_at(self, deadline: float) -> None:
        # Kept here, because uvloop's handle does not tell it of a deadline that has passed.
        self._looks_at = deadline
        self._handle = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._handle = None
        self._looks_at = math.inf
        if self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline:
            self._look_at(self._deadline)
            return
        self._deadline = math.inf
        self._ring()


def _nobody() -> None:
    pass
