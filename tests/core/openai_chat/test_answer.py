"""What a whole answer says about its cost; odd answers are read as far as they go and never raise."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dialect import Answer
from gateway.core.openai_chat.answer import read_chat_answer
from gateway.core.usage import Usage

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 40}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 12,
        "total_tokens": 112,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 2},
    },
}


def read(**fields: Any) -> Answer:
    return read_chat_answer(json.dumps(ANSWER | fields).encode())


def test_a_plain_answer_is_read() -> None:
    assert read() == Answer(
        usage=Usage(prompt_tokens=100, cached_tokens=64, output_tokens=12, reasoning_tokens=2),
        output_tokens=10,
        provider_id="chatcmpl-1",
        model="gpt-4o-2024-08-06",
        finish_reason="stop",
        service_tier="default",
    )


def test_reported_usage_is_charged_as_it_is() -> None:
    assert read().final_usage(999).prompt_tokens == 100


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], {"prompt_tokens": 5}, {"prompt_tokens": 5, "completion_tokens": -1}, {"prompt_tokens": 10**18}],
)
def test_without_a_believable_usage_the_answer_is_estimated(usage: Any) -> None:
    answer = read(usage=usage)
    assert answer.usage is None
    assert answer.final_usage(30) == Usage(prompt_tokens=30, output_tokens=10, estimated=True)


def test_every_choice_is_counted() -> None:
    assert read(choices=ANSWER["choices"] * 3, usage=None).output_tokens == 30


def test_tool_calls_and_reasoning_are_counted() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "abcd", "arguments": "{}" * 10}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning": "x" * 16}
    assert read(choices=[{"message": message}]).output_tokens == 10


def test_an_error_object_is_noticed() -> None:
    answer = read_chat_answer(b'{"error":{"message":"no"}}')
    assert answer.error
    assert answer.usage is None


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b'{"choices":{}}', b'{"choices":[1]}', b"\xff" * 9, b"[" * 100_000]
)
def test_what_is_no_answer_is_estimated_by_its_bytes(body: bytes) -> None:
    answer = read_chat_answer(body)
    assert not answer.readable
    assert answer.output_tokens == (len(body) + 3) // 4


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ANSWER, "error"]), inner),
    )
)
def test_no_json_makes_it_raise(anything: Any) -> None:
    read_chat_answer(json.dumps(anything).encode())
    read(choices=anything)
    read(usage=anything, id=anything, model=anything, service_tier=anything)
    read(choices=[{"message": anything, "finish_reason": anything}])


def test_zeros_beside_an_answer_that_says_something_are_no_report() -> None:
    body = b'{"choices":[{"message":{"content":"hello there"}}],"usage":{"prompt_tokens":0,"completion_tokens":0}}'
    answer = read_chat_answer(body)
    assert answer.usage is None
    assert answer.output_tokens > 0
