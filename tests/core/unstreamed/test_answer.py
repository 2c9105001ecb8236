"""What answers in one piece say of their cost, in every provider's way of saying it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing import MESSAGES_MAX
from gateway.core.unstreamed.answer import read_unstreamed_answer
from gateway.core.usage import TOKENS_MAX, Usage

DATA: Any = [{"index": 0, "embedding": [0.5]}]
COHERE: Any = {"embeddings": {"float": [[0.5]]}}


def usage(**fields: Any) -> Usage | None:
    return read_unstreamed_answer(json.dumps(fields).encode()).usage


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"data": DATA, "usage": {"prompt_tokens": 4, "total_tokens": 4}}, Usage(prompt_tokens=4)),
        ({"data": DATA, "usage": {"total_tokens": 3}}, Usage(prompt_tokens=3)),
        ({"data": DATA, "usage": {"prompt_tokens": 4, "total_tokens": 9}}, Usage(prompt_tokens=9)),
        (
            {"data": DATA, "usage": {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}},
            Usage(prompt_tokens=4),
        ),
        (
            {"data": DATA, "usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}}},
            Usage(prompt_tokens=9, cached_tokens=5),
        ),
        ({**COHERE, "meta": {"billed_units": {"input_tokens": 4}}}, Usage(prompt_tokens=4)),
        ({**COHERE, "meta": {"billed_units": {"input_tokens": 4.0, "image_tokens": 5}}}, Usage(prompt_tokens=9)),
        ({"results": DATA, "meta": {"billed_units": {"search_units": 2}}}, Usage(search_units=2)),
        (
            {"results": DATA, "usage": {"search_units": 1, "total_tokens": 150}},
            Usage(prompt_tokens=150, search_units=1),
        ),
        (
            {"results": DATA, "meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": 70}}},
            Usage(prompt_tokens=70, search_units=1),
        ),
    ],
    ids=lambda value: json.dumps(value)[:70] if isinstance(value, dict) else "",
)
def test_usage_is_read_wherever_it_stands(fields: dict[str, Any], expected: Usage) -> None:
    assert usage(**fields) == expected


@pytest.mark.parametrize(
    "reported",
    [
        None,
        5,
        {},
        {"prompt_tokens": 0, "total_tokens": 0},
        {"total_tokens": -1},
        {"total_tokens": TOKENS_MAX + 1},
        {"total_tokens": "4"},
        {"total_tokens": True},
    ],
    ids=repr,
)
def test_what_is_not_believable_is_no_usage(reported: Any) -> None:
    answer = read_unstreamed_answer(json.dumps({"data": DATA, "usage": reported}).encode())
    assert answer.usage is None
    assert answer.output_tokens == 1, "something was delivered, and is charged by our estimate"


def test_more_units_than_a_call_can_have_are_not_believed() -> None:
    for units in (MESSAGES_MAX + 1, -1, 0.5, "1"):
        assert usage(results=DATA, meta={"billed_units": {"search_units": units}}) is None


@pytest.mark.parametrize(
    "body", [{}, {"data": []}, {"results": None}, {"error": {"message": "no"}}, {"embeddings": {}}]
)
def test_an_answer_that_delivers_nothing_says_so(body: dict[str, Any]) -> None:
    answer = read_unstreamed_answer(json.dumps(body).encode())
    assert (answer.readable, answer.usage, answer.output_tokens) == (True, None, 0)
    assert answer.error == ("error" in body)


def test_who_answered_is_read() -> None:
    answer = read_unstreamed_answer(b'{"id":"modr-1","model":"omni","results":[{}]}')
    assert (answer.provider_id, answer.model) == ("modr-1", "omni")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_nothing_raises(body: bytes) -> None:
    answer = read_unstreamed_answer(body)
    assert answer.usage is None or answer.usage.output_tokens == 0


def test_deep_nesting_is_unreadable() -> None:
    assert not read_unstreamed_answer(b'{"usage":' + b"[" * 100_000).readable
