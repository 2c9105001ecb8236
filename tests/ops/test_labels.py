from hypothesis import given
from hypothesis import strategies as st

from gateway.ops.labels import OTHER, BoundedLabel


def test_a_listed_value_has_its_own_name_from_the_start() -> None:
    assert BoundedLabel(listed=["acme"], top=0).of("acme") == "acme"


def test_without_slots_every_other_value_is_other() -> None:
    assert BoundedLabel(listed=["acme"], top=0).of("umbrella") == OTHER


def test_a_value_earns_its_name_by_being_seen_and_keeps_it() -> None:
    label = BoundedLabel(top=1, earned_at=3)
    assert [label.of("busy") for _ in range(4)] == [OTHER, OTHER, "busy", "busy"]
    assert [label.of("later") for _ in range(5)] == [OTHER] * 5
    assert label.of("busy") == "busy"


def test_a_busy_value_earns_its_name_in_a_flood_of_values_that_come_once() -> None:
    label = BoundedLabel(top=1, earned_at=5)
    told = [label.of("busy") for n in range(200) if label.of(f"once-{n}") == OTHER]
    assert told[-1] == "busy"


@given(values=st.lists(st.integers(0, 40).map(str)), top=st.integers(0, 5), earned_at=st.integers(1, 3))
def test_there_are_never_more_names_than_slots(values: list[str], top: int, earned_at: int) -> None:
    label = BoundedLabel(listed=["0"], top=top, earned_at=earned_at)
    names = {label.of(value) for value in values} - {OTHER, "0"}
    assert len(names) <= top
