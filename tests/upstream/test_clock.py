"""Many waits, few timers; and none rings but the one that lasts too long."""

import asyncio
from collections.abc import Callable

import uvloop

from gateway.upstream.clock import Clock


class Timer:
    def __init__(self, when: float, ring: Callable[[], object]) -> None:
        self.at = when
        self.ring = ring
        self.cancelled = False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """What a clock needs of one."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, ring: Callable[[], object]) -> Timer:
        self.timers.append(Timer(when, ring))
        return self.timers[-1]

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= until and not timer.cancelled]:
            first = min(due, key=Timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.at)
            first.ring()
        self.now = until

    @property
    def armed(self) -> list[float]:
        return [timer.at for timer in self.timers if not timer.cancelled]


class Bell:
    def __init__(self) -> None:
        self.loop = Loop()
        self.rung_at: list[float] = []
        self.clock = Clock(self.loop, lambda: self.rung_at.append(self.loop.now))  # type: ignore[arg-type]


def test_a_wait_that_lasts_too_long_rings_once() -> None:
    bell = Bell()
    bell.clock.start(5)
    bell.loop.advance(100)
    assert bell.rung_at == [105]


def test_waits_that_end_in_time_set_one_timer_and_ring_never() -> None:
    bell = Bell()
    for _ in range(1000):
        bell.clock.begin(60)
        bell.clock.start(5)
        bell.loop.advance(0.001)
        bell.clock.pause()
    assert len(bell.loop.timers) == 1
    bell.loop.advance(100)
    assert (bell.rung_at, bell.loop.armed) == ([], [])


def test_a_timer_that_comes_too_early_looks_again() -> None:
    bell = Bell()
    bell.clock.start(5)
    bell.loop.advance(4)
    bell.clock.start(5)
    bell.loop.advance(100)
    assert bell.rung_at == [109]


def test_a_shorter_wait_is_not_lengthened_by_a_longer_one_before() -> None:
    bell = Bell()
    bell.clock.start(60)
    bell.clock.pause()
    bell.clock.start(5)
    bell.loop.advance(100)
    assert bell.rung_at == [105]


def test_no_wait_passes_the_total_of_its_call() -> None:
    bell = Bell()
    bell.clock.begin(8)
    bell.clock.start(5)
    bell.loop.advance(4)
    bell.clock.start(5)
    bell.loop.advance(100)
    assert bell.rung_at == [108]
    bell.clock.begin(60)
    bell.clock.start(5)
    bell.loop.advance(100)
    assert bell.rung_at == [108, 209]


def test_a_stopped_clock_leaves_no_timer() -> None:
    bell = Bell()
    bell.clock.start(5)
    bell.clock.stop()
    assert bell.loop.armed == []
    bell.loop.advance(100)
    assert bell.rung_at == []


def test_a_wait_may_begin_when_the_calls_time_is_over() -> None:
    rung: list[None] = []

    async def wait() -> None:
        clock = Clock(asyncio.get_running_loop(), lambda: rung.append(None))
        clock.begin(-1)
        clock.start(5)
        clock.start(5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    uvloop.run(wait())
    assert len(rung) == 1
