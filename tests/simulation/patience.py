"""Waiting for what another process does: by looking again and again, with a deadline, never for a fixed time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

WITHIN_S: Final = 30.0
"""Far more than anything takes, so that only a fault runs into it."""
LOOK_EVERY_S: Final = 0.02

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T | None]], what: str, *, within_s: float = WITHIN_S) -> T:
    """The first true thing that `look` returns. AssertionError, saying `what` was waited for, when the time is over."""
    deadline = time.monotonic() + within_s
    while not (found := await look()):
        assert time.monotonic() < deadline, f"waited {within_s} s in vain for: {what}"
        await asyncio.sleep(LOOK_EVERY_S)
    return found
