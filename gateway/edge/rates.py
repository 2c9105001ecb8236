"""How often somebody may ask: a token bucket for each of a bounded number of askers, in the memory of one process."""

import math
from collections import OrderedDict

import msgspec

from gateway.ops.clock import Clock


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    per_s: float
    """What flows back into a bucket."""
    burst: int
    """What one holds."""


class Buckets:
    """A bucket is kept as the instant at which it will be full again (the generic cell rate algorithm, ITU-T I.371).

    Where there are more askers than `askers_max`, who was seen longest ago is forgotten and begins with a full bucket.
    """

    def __init__(self, rate: Rate, *, askers_max: int, clock: Clock) -> None:
        self._interval_s = 1 / rate.per_s
        self._span_s = rate.burst / rate.per_s
        self._askers_max = askers_max
        self._clock = clock
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_s)

    def take(self, asker: str) -> float:
        """0 where one could be taken; else so many seconds until one can be, and nothing was taken."""
        wait_s, full_at_s = self._after_one_more(asker)
        if wait_s > 0:
            return wait_s
        self._full_at_s[asker] = full_at_s
        self._full_at_s.move_to_end(asker)
        if len(self._full_at_s) > self._askers_max:
            self._full_at_s.popitem(last=False)
        return 0.0

    def wait_s(self, asker: str) -> float:
        """What `take` would answer; nothing is taken."""
        return self._after_one_more(asker)[0]

    def _after_one_more(self, asker: str) -> tuple[float, float]:
        now_s = self._clock.monotonic()
        full_at_s = max(self._full_at_s.get(asker, -math.inf), now_s) + self._interval_s
        wait_s = full_at_s - now_s - self._span_s
        return (wait_s if wait_s > 1e-9 else 0.0), full_at_s
