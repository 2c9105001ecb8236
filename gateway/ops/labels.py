"""Label values from open sets (organisations, models) kept to a bounded number; the rest share one name."""

from collections.abc import Iterable
from typing import Final

OTHER: Final = "other"
_COUNTED_PER_SLOT: Final = 16


class BoundedLabel:
    """The listed values, and up to `top` others: the first to be seen `earned_at` times, which the busiest are.

    A value that has its own name keeps it until the process ends, because a counter must not lose its past.
    """

    def __init__(self, *, listed: Iterable[str] = (), top: int, earned_at: int = 1) -> None:
        self._own = {value: value for value in listed}
        self._slots = top
        self._earned_at = earned_at
        self._seen: dict[str, int] = {}
        self._seen_max = max(1, top * _COUNTED_PER_SLOT)

    def of(self, value: str) -> str:
        """`value` itself or `other`."""
        return self._own.get(value) or (self._count(value) if self._slots else OTHER)

    def _count(self, value: str) -> str:
        seen = self._seen.get(value, 0) + 1
        if seen >= self._earned_at:
            self._seen.pop(value, None)
            self._slots -= 1
            self._own[value] = value
            if not self._slots:
                self._seen.clear()
            return value
        if len(self._seen) >= self._seen_max:
            # Too many candidates: all lose half, and who came once is forgotten.
            self._seen = {other: half for other, times in self._seen.items() if (half := times // 2)}
        if len(self._seen) < self._seen_max:
            self._seen[value] = seen
        return OTHER
