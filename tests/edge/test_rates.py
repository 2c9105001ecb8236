"""A bucket gives its burst at once, then its rate; and who asks does not cost memory without end."""

import pytest

from gateway.edge.rates import Buckets, Rate
from tests.fakes.clock import SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def taken(buckets: Buckets, asker: str, times: int) -> int:
    return sum(buckets.take(asker) == 0 for _ in range(times))


def test_the_burst_comes_at_once_and_then_the_rate(clock: SteppedClock) -> None:
    buckets = Buckets(Rate(per_s=2, burst=5), askers_max=10, clock=clock)
    assert taken(buckets, "a", 20) == 5
    assert buckets.take("a") == pytest.approx(0.5)
    for seconds, there in ((0.5, 1), (0.4, 0), (0.1, 1), (1, 2), (3600, 5)):
        clock.step(seconds)
        assert taken(buckets, "a", 20) == there, seconds


def test_asking_how_long_takes_nothing(clock: SteppedClock) -> None:
    buckets = Buckets(Rate(per_s=2, burst=2), askers_max=10, clock=clock)
    assert [buckets.wait_s("a") for _ in range(10)] == [0] * 10
    assert len(buckets) == 0
    assert taken(buckets, "a", 3) == 2
    assert [buckets.wait_s("a") for _ in range(2)] == pytest.approx([0.5, 0.5])


def test_one_asker_is_not_another(clock: SteppedClock) -> None:
    buckets = Buckets(Rate(per_s=1, burst=1), askers_max=10, clock=clock)
    assert [buckets.take(asker) for asker in ("a", "b", "a", "b")] == [0, 0, 1, 1]


def test_waiting_is_not_made_longer_by_asking(clock: SteppedClock) -> None:
    buckets = Buckets(Rate(per_s=1, burst=1), askers_max=10, clock=clock)
    assert [buckets.take("a") for _ in range(100)] == [0] + [1] * 99


def test_who_was_seen_longest_ago_is_forgotten(clock: SteppedClock) -> None:
    buckets = Buckets(Rate(per_s=0.001, burst=2), askers_max=3, clock=clock)
    for asker in ("a", "b", "c", "a", "d"):
        assert buckets.take(asker) == 0
    assert len(buckets) == 3
    assert buckets.take("a") > 0
    assert taken(buckets, "b", 3) == 2
    assert len(buckets) == 3
