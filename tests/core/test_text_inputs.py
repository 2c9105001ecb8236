"""Inputs in all their forms: how many there are, and what bounds their tokens."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.text_inputs import INPUTS_MAX, TextInputs, read_text_inputs

numbers = st.lists(st.integers(0, 2**31), min_size=1, max_size=20)
texts = st.text(max_size=40)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


def read(value: Any, *, objects: bool = False) -> TextInputs:
    spelled = json.dumps(value, separators=(",", ":")).encode()
    return read_text_inputs(msgspec.Raw(spelled), "input", objects=objects)


def size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


@given(texts)
def test_a_text_is_bound_by_its_bytes(text: str) -> None:
    found = read(text)
    assert found == TextInputs(count=1, text_bytes=size(text))
    assert found.text_bytes >= len(text.encode())


@given(st.lists(texts, min_size=1, max_size=20))
def test_texts_are_counted(given: list[str]) -> None:
    assert read(given) == TextInputs(count=len(given), text_bytes=size(given))


@given(numbers)
def test_token_numbers_are_exact(given: list[int]) -> None:
    assert read(given) == TextInputs(count=1, token_ids=len(given))


@given(st.lists(numbers, min_size=1, max_size=10))
def test_arrays_of_token_numbers_are_exact(given: list[list[int]]) -> None:
    assert read(given) == TextInputs(count=len(given), token_ids=sum(map(len, given)))


def test_objects_with_a_text_are_texts_where_they_may_be() -> None:
    assert read([{"text": "a"}, {"text": "b"}], objects=True).count == 2
    with pytest.raises(InvalidRequest):
        read([{"text": "a"}])
    for odd in ({"image": "https://x"}, {"text": None}, {"text": "a", "image": "b"}, {}):
        with pytest.raises(InvalidRequest) as caught:
            read([{"text": "a"}, odd], objects=True)
        assert caught.value.reason == "content_by_reference"


@pytest.mark.parametrize(
    "odd",
    [None, 5, True, {}, [], [None], ["a", 1], [[1], "a"], [[], ["a"]], [-1], [1.5], [[[1]]], [True]],
    ids=repr,
)
def test_what_is_no_input_is_refused(odd: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(odd)
    assert caught.value.param == "input"


def test_a_batch_has_a_limit_and_one_input_of_numbers_none() -> None:
    assert read(["x"] * INPUTS_MAX).count == INPUTS_MAX
    assert read([1] * (INPUTS_MAX + 1)).token_ids == INPUTS_MAX + 1
    for many in (["x"] * (INPUTS_MAX + 1), [[1]] * (INPUTS_MAX + 1)):
        with pytest.raises(InvalidRequest, match="nothing was reserved"):
            read(many)


def depth_and_count(value: Any) -> tuple[int, int] | None:
    """Of an array of numbers, or of arrays of them, none of which is empty; None for anything else."""
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(each, int) for each in value):
        return 1, len(value)
    inner = [depth_and_count(each) for each in value]
    if all(each is not None and each[0] == 1 for each in inner):
        return 2, sum(each[1] for each in inner if each is not None)
    return None


nested = st.recursive(st.integers(0, 10**6), lambda inner: st.lists(inner, max_size=4), max_leaves=14)


@given(nested)
def test_numbers_are_told_from_what_only_looks_like_them(value: Any) -> None:
    expected = depth_and_count(value)
    try:
        found = read(value)
    except InvalidRequest:
        assert expected is None
        return
    assert expected is not None
    assert found == TextInputs(count=1 if expected[0] == 1 else len(value), token_ids=expected[1])


@given(anything, st.booleans())
def test_whatever_comes_is_read_or_refused(value: Any, objects: bool) -> None:
    try:
        found = read(value, objects=objects)
    except InvalidRequest:
        return
    assert 1 <= found.count <= INPUTS_MAX
    assert found.text_bytes + found.token_ids >= 0
