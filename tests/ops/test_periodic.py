import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.ops.loop_lag import LoopLag
from gateway.ops.metrics import Metrics
from gateway.ops.periodic import Periodic

FAR_S = 3600.0


class Runs:
    """An action that says when it ran, and fails while told to."""

    def __init__(self) -> None:
        self.count = 0
        self.failing = False
        self._ran = asyncio.Condition()

    async def __call__(self) -> None:
        async with self._ran:
            self.count += 1
            self._ran.notify_all()
        if self.failing:
            raise RuntimeError("told to fail")

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(10), self._ran:
            await self._ran.wait_for(lambda: self.count >= count)


async def test_it_repeats_until_it_is_stopped() -> None:
    runs = Runs()
    work = Periodic("work", runs, every_s=0.001, metrics=Metrics())
    work.start()
    await runs.reached(3)
    await work.stop()
    await work.stop()
    assert [task for task in asyncio.all_tasks() if task.get_name() == "work"] == []


async def test_a_failing_run_is_logged_and_counted_and_the_next_one_comes() -> None:
    runs = Runs()
    runs.failing = True
    metrics = Metrics()
    with capture_logs() as logs:
        work = Periodic("work", runs, every_s=0.001, metrics=metrics)
        work.start()
        await runs.reached(3)
        await work.stop()
    assert logs[0]["event"] == "periodic.failed"
    assert logs[0]["task"] == "work"
    assert [log["exc_info"] for log in logs[:2]] == [True, False]  # one traceback is enough for many alike
    failures = metrics.registry.get_sample_value("tollgate_periodic_failures_total", {"task": "work"})
    assert failures is not None
    assert failures >= 2


async def test_a_nudge_runs_it_before_its_time() -> None:
    runs = Runs()
    work = Periodic("work", runs, every_s=FAR_S, metrics=Metrics())
    work.start()
    work.nudge()
    await runs.reached(1)
    work.nudge()
    await runs.reached(2)
    await work.stop()


async def test_at_once_means_without_waiting_for_the_first_interval() -> None:
    runs = Runs()
    work = Periodic("work", runs, every_s=FAR_S, metrics=Metrics(), at_once=True)
    work.start()
    await runs.reached(1)
    await work.stop()


async def test_stopping_ends_a_run_that_hangs_and_waits_for_its_cleanup() -> None:
    begun, cleaned = asyncio.Event(), False

    async def hang() -> None:
        nonlocal cleaned
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned = True

    work = Periodic("work", hang, every_s=FAR_S, metrics=Metrics(), at_once=True)
    work.start()
    await begun.wait()
    await work.stop()
    assert cleaned


async def test_starting_twice_is_our_own_mistake() -> None:
    work = Periodic("work", Runs(), every_s=FAR_S, metrics=Metrics())
    work.start()
    with pytest.raises(AssertionError):
        work.start()
    await work.stop()


async def test_the_lag_of_the_event_loop_is_measured_while_started() -> None:
    metrics = Metrics()
    lag = LoopLag(metrics)
    lag.start()
    async with asyncio.timeout(10):
        while not metrics.registry.get_sample_value("tollgate_event_loop_lag_seconds_count"):
            await asyncio.sleep(0.01)
    lag.stop()
    lag.stop()
