"""New ids: UUID version 7 by the database's clock, rising within the process."""

import os
from collections.abc import Callable
from typing import Final
from uuid import UUID

from gateway.core.ids import uuid7_bytes
from gateway.ops.clock import Clock

_ENTROPY_BITS: Final = 73
"""One less than an id has room for, so that counting up inside a millisecond does not overflow."""
_STEP_BITS: Final = 32
_DRAWN_BYTES: Final = 256
_BACKWARD_MS_MAX: Final = 1_000
"""How far ids may run ahead of a clock that was set back before they follow it."""


def _uuid(bytes: bytes) -> UUID:
    return UUID(bytes=bytes)


class IdSource:
    """Each id is larger than the one before, unless the clock was set back by more than a second.

    Not safe for use from several threads. Source: RFC 9562, section 6.2, method 2 (monotonic random).
    """

    def __init__(self, clock: Clock, *, uuid: Callable[[bytes], UUID] = _uuid) -> None:
        """`uuid` makes them: the database driver has a kind that is hashed, printed and sent in C."""
        self._clock = clock
        self._uuid = uuid
        self._offset_ms = 0
        self._last_ms = 0
        self._last_entropy = 0
        self._random = b""
        """Drawn from the system ahead of its use: a call to it for each id costs more than the id."""

    def correct(self, offset_ms: int) -> None:
        """Add this to the machine's clock from now on: the database's time minus ours, as last measured."""
        self._offset_ms = offset_ms

    def next(self) -> UUID:
        now_ms = self._clock.unix_ms() + self._offset_ms
        if self._last_ms - _BACKWARD_MS_MAX <= now_ms <= self._last_ms:
            self._last_entropy += 1 + self._bits(_STEP_BITS)
        else:
            self._last_ms = now_ms
            self._last_entropy = self._bits(_ENTROPY_BITS)
        return self._uuid(uuid7_bytes(unix_ms=self._last_ms, entropy=self._last_entropy))

    def _bits(self, bits: int) -> int:
        size = (bits + 7) // 8
        if len(self._random) < size:
            self._random = os.urandom(_DRAWN_BYTES)
        drawn, self._random = self._random[:size], self._random[size:]
        return int.from_bytes(drawn) >> (8 * size - bits)
