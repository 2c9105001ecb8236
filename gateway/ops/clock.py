"""The time: what is read from the machine, in one place, so that a test can step it."""

import time
from datetime import UTC, datetime


class Clock:
    """Instants are aware UTC; durations come from `monotonic`, which no correction of the machine's clock moves."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)
    """Seconds from an arbitrary start. The system's own function, since the hot path asks often."""
