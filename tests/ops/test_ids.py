from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ids import unix_ms_of
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from tests.fakes.clock import SteppedClock


def test_an_id_says_when_it_was_made() -> None:
    clock = SteppedClock()
    id = IdSource(clock).next()
    assert id.version == 7
    assert unix_ms_of(id) == clock.unix_ms()


@given(steps=st.lists(st.integers(-900, 900), max_size=50))
def test_ids_rise_whatever_small_steps_the_clock_makes(steps: list[int]) -> None:
    clock = SteppedClock()
    source = IdSource(clock)
    ids = [source.next()]
    lowest_ms = highest_ms = clock.unix_ms()
    for step_ms in steps:
        clock.step(step_ms / 1000)
        highest_ms = max(highest_ms, clock.unix_ms())
        lowest_ms = min(lowest_ms, clock.unix_ms())
        if highest_ms - clock.unix_ms() > 1_000:
            break
        ids.append(source.next())
    assert ids == sorted(set(ids))
    assert all(lowest_ms <= unix_ms_of(id) <= highest_ms for id in ids)


def test_a_thousand_ids_of_one_millisecond_rise_and_differ() -> None:
    source = IdSource(SteppedClock())
    ids = [source.next() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert len({unix_ms_of(id) for id in ids}) == 1


def test_ids_follow_a_clock_that_was_set_far_back() -> None:
    clock = SteppedClock()
    source = IdSource(clock)
    source.next()
    clock.step(-3600)
    assert unix_ms_of(source.next()) == clock.unix_ms()


def test_ids_follow_the_databases_clock() -> None:
    clock = SteppedClock()
    source = IdSource(clock)
    source.correct(-7_000)
    assert unix_ms_of(source.next()) == clock.unix_ms() - 7_000


def test_the_real_clock_is_utc_and_agrees_with_itself() -> None:
    clock = Clock()
    offset = clock.now().utcoffset()
    assert offset is not None
    assert offset.total_seconds() == 0
    assert abs(clock.now().timestamp() * 1000 - clock.unix_ms()) < 1_000
    assert clock.monotonic() <= clock.monotonic()
