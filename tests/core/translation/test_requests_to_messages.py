"""Chat requests, said for Anthropic: everything but the conversation."""

from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.translation.requests_to_messages import request_to_messages
from tests.core.translation.said_to_anthropic import ADAPTIVE, HI, TARGET, TOOL, dropped, refused, translated


def test_the_smallest_request() -> None:
    assert translated() == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hi"}],
    }


# --- tools ----------------------------------------------------------------------------------------------------------


def test_tools() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [
        {
            "type": "function",
            "function": {"name": "a", "description": "d", "parameters": schema, "strict": True},
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "function", "function": {"name": "b", "strict": False}},
        {"function": {"name": "c", "parameters": {"properties": {}}}},
    ]
    assert translated(tools=tools)["tools"] == [
        {
            "name": "a",
            "description": "d",
            "input_schema": schema,
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "b", "input_schema": {"type": "object", "properties": {}}},
        {"name": "c", "input_schema": {"type": "object", "properties": {}}},
    ]


@pytest.mark.parametrize(
    ("choice", "parallel", "made"),
    [
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("any", None, {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, None, {"type": "tool", "name": "weather"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, True, None),
    ],
)
def test_the_choice_of_tools(choice: object, parallel: bool | None, made: object) -> None:
    body = translated(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == made


def test_choices_that_cannot_be_said() -> None:
    assert refused(tools=[TOOL], tool_choice="whatever") == "tool_choice"
    assert refused(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "x"}}) == "tool_choice"
    assert refused(tools=[TOOL], tool_choice={"type": "allowed_tools", "allowed_tools": {}}) == "tool_choice.type"
    assert refused(tool_choice="required") == "tool_choice"
    assert "tool_choice" not in translated(tool_choice="auto")
    assert refused(tools=[{"type": "custom", "custom": {"name": "x"}}]) == "tools[0].type"
    body, lost = dropped(tools=[{"type": "openrouter:web_search"}], tool_choice="auto")
    assert (body.get("tools"), lost) == (None, ("tools[].type=openrouter:web_search",))


# --- the rest -------------------------------------------------------------------------------------------------------


def test_the_form_of_the_answer() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    named = {"name": "x", "schema": schema, "strict": True, "description": "An x."}
    made = translated(response_format={"type": "json_schema", "json_schema": named})
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": {"description": "An x.", **schema}}}
    assert "output_config" not in translated(response_format={"type": "text"})
    assert refused(response_format={"type": "json_object"}) == "response_format.type"


def test_the_form_of_the_answer_stands_beside_the_effort() -> None:
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    made = translated(ADAPTIVE, reasoning_effort="high", response_format=format)
    assert made["output_config"] == {"effort": "high", "format": {"type": "json_schema", "schema": {}}}


def test_limits_and_sampling() -> None:
    assert translated(max_tokens=5)["max_tokens"] == 5
    assert translated(max_tokens=5, max_completion_tokens=3)["max_tokens"] == 3
    assert refused(max_tokens=0) == "max_completion_tokens"
    sampling: dict[str, Any] = {"temperature": 1, "top_p": 0.25, "top_k": 40}
    assert translated(**sampling) == translated() | sampling
    assert refused(temperature=1.5) == "temperature"
    assert "temperature" not in dropped(temperature=1.5)[0]


def test_stops() -> None:
    assert translated(stop="END")["stop_sequences"] == ["END"]
    assert translated(stop=["A", "B"])["stop_sequences"] == ["A", "B"]
    assert refused(stop="\n") == "stop"
    assert dropped(stop=["\n", "A"])[0]["stop_sequences"] == ["A"]
    assert refused(stop=3) == "stop"


def test_who_asks() -> None:
    assert translated(user="u")["metadata"] == {"user_id": "u"}
    assert translated(safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert translated(user="s", safety_identifier="s")["metadata"] == {"user_id": "s"}
    assert refused(user="u", safety_identifier="s") == "user"


def test_tier_stream_and_marks() -> None:
    assert translated(service_tier="default")["service_tier"] == "standard_only"
    assert translated(service_tier="auto")["service_tier"] == "auto"
    assert refused(service_tier="flex") == "service_tier"
    made = translated(stream=True, stream_options={"include_usage": True}, cache_control={"type": "ephemeral"})
    assert (made["stream"], made["cache_control"]) == (True, {"type": "ephemeral"})
    assert "stream_options" not in made


UNSAYABLE: dict[str, Any] = {
    "n": 2,
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"1": 2},
    "presence_penalty": 0.5,
    "frequency_penalty": -1,
    "modalities": ["text", "audio"],
    "audio": {"voice": "a", "format": "wav"},
    "prediction": {"type": "content", "content": "x"},
    "store": True,
    "verbosity": "low",
    "web_search_options": {},
    "metadata": {"a": "b"},
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "anything_else": 1,
}


@pytest.mark.parametrize("field", UNSAYABLE)
def test_a_field_that_cannot_be_said_is_refused_or_dropped_by_its_name(field: str) -> None:
    assert refused(**{field: UNSAYABLE[field]}) == field
    body, lost = dropped(**{field: UNSAYABLE[field]})
    assert lost == (field,)
    assert body == translated()


def test_values_that_ask_for_what_happens_anyway_are_no_loss() -> None:
    neutral: dict[str, Any] = {
        "n": 1,
        "top_p": 1.0,
        "logprobs": False,
        "presence_penalty": 0,
        "modalities": ["text"],
        "store": False,
        "seed": None,
        "prompt_cache_key": "k",
    }
    assert translated(**neutral) == translated()


def test_each_loss_is_listed_once() -> None:
    messages = [{**HI, "name": "ann"}, {"role": "assistant", "content": "A"}, {**HI, "name": "bob"}]
    assert dropped(messages=messages, seed=1)[1] == ("messages[].name", "seed")


@pytest.mark.parametrize(
    ("chat", "param"),
    [
        ({"model": 3}, "model"),
        ({"model": None}, "model"),
        ({"messages": {}}, "messages"),
        ({"messages": [3]}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [HI, {"role": "tool", "content": "x"}]}, "messages[1].tool_call_id"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_malformed_is_named_even_when_dropping(chat: dict[str, Any], param: str) -> None:
    assert refused(**chat) == param
    with pytest.raises(InvalidRequest) as caught:
        dropped(**chat)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model":"a"',
        b'{"model":"a","model":"b","messages":[]}',
        b'{"model":"\xff","messages":[{"role":"user","content":"Hi"}]}',
        b'{"a":' * 100_000,
        b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        request_to_messages(body, TARGET, drop_unsupported=True)


def test_a_refusal_says_that_nothing_was_sent() -> None:
    with pytest.raises(InvalidRequest, match=r"`seed` .* nothing was sent") as caught:
        translated(seed=1)
    assert caught.value.reason == "unsupported_parameter"
