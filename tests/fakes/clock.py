"""A clock that moves only when told."""

from datetime import UTC, datetime, timedelta

from gateway.ops.clock import Clock

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class SteppedClock(Clock):
    def __init__(self, at: datetime = START) -> None:
        self._at = at
        self._elapsed_s = 0.0

    def now(self) -> datetime:
        return self._at

    def unix_ms(self) -> int:
        return (self._at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    def monotonic(self) -> float:
        return self._elapsed_s

    def step(self, seconds: float) -> None:
        """Let time pass. A negative step moves the wall clock back, as a correction would; durations never shrink."""
        self._at += timedelta(seconds=seconds)
        self._elapsed_s += max(0.0, seconds)
