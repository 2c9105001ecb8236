"""The end of an answer whose beginning is gone."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.answer_tail import last_members

USAGE: Any = {"prompt_tokens": 5, "total_tokens": 5}
values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='a"\\{}[]:,usage', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usage", "meta", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def readable(tail: bytes) -> list[Any]:
    found = []
    for text in last_members(tail):
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def test_the_last_members_are_found() -> None:
    for indent in (None, 2):
        whole = json.dumps({"data": ["x" * 100], "model": "m", "usage": USAGE, "z": [1]}, indent=indent).encode()
        assert readable(whole[60:]) == [{"usage": USAGE, "z": [1]}]
    assert readable(b'x","meta":{"billed_units":{"input_tokens":5}}}\n') == [
        {"meta": {"billed_units": {"input_tokens": 5}}}
    ]
    assert readable(b"") == readable(b"usage") == []


@given(st.dictionaries(st.sampled_from(["a", "usage", "b"]), values, max_size=3), st.data())
def test_nothing_but_the_objects_own_is_ever_read(fields: dict[str, Any], data: st.DataObject) -> None:
    """Whatever a model makes the rest of the answer say."""
    whole = json.dumps(fields).encode()
    tail = whole[data.draw(st.integers(0, len(whole))) :]
    for found in readable(tail):
        assert found.items() <= fields.items()


def test_what_a_model_says_is_no_usage() -> None:
    said = {"choices": [{"message": {"content": '"usage":{"prompt_tokens":1}}'}}], "n": 1}
    assert readable(json.dumps(said).encode()) == []
    called = {"content": [{"input": {"usage": {"input_tokens": 1, "output_tokens": 1}}}], "n": 1}
    assert readable(json.dumps(called).encode()) == []
