"""Requests for Anthropic's messages, said as chats: everything but the conversation."""

from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from tests.core.translation.said_to_chat import EXTENDED, HI, PLAIN, TOOL, USE, dropped, refused, translated


def test_the_smallest_request() -> None:
    assert translated() == {"model": "gpt", "max_completion_tokens": 1000, "messages": [HI]}
    older = ChatTarget(output_limit_field="max_tokens")
    assert translated(older) == {"model": "gpt", "max_tokens": 1000, "messages": [HI]}


# --- tools and the rest ---------------------------------------------------------------------------------------------


def test_tools() -> None:
    tools = [
        {**TOOL, "description": "d", "strict": True, "type": "custom"},
        {**TOOL, "name": "late", "defer_loading": True},
        {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    ]
    assert translated(tools=tools)["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "d",
                "parameters": TOOL["input_schema"],
                "strict": True,
            },
        },
        {"type": "function", "function": {"name": "late", "parameters": TOOL["input_schema"]}},
    ]
    assert refused(tools=[{"type": "web_search_20250305", "name": "web_search"}]) == "tools[0].type"
    assert refused(tools=[{**TOOL, "input_examples": [{}]}]) == "tools[0].input_examples"


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}, "parallel_tool_calls": False},
        ),
    ],
)
def test_the_choice_of_tools(choice: dict[str, Any], made: dict[str, Any]) -> None:
    body = translated(tools=[TOOL], tool_choice=choice)
    assert {key: body[key] for key in ("tool_choice", "parallel_tool_calls") if key in body} == made


def test_choices_that_cannot_be_said() -> None:
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "x"}) == "tool_choice"
    assert refused(tools=[TOOL], tool_choice={"type": "x"}) == "tool_choice.type"
    assert refused(tool_choice={"type": "any"}) == "tool_choice"
    assert "tool_choice" not in translated(tool_choice={"type": "auto"})


def test_the_form_of_the_answer() -> None:
    format = {"type": "json_schema", "schema": {"type": "object"}}
    expected = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
    }
    assert translated(output_config={"format": format})["response_format"] == expected
    assert translated(output_format=format)["response_format"] == expected


def test_sampling_and_stops() -> None:
    made = translated(temperature=0.5, top_p=0.9, top_k=4, stop_sequences=["A"])
    assert (made["temperature"], made["top_p"], made["top_k"], made["stop"]) == (0.5, 0.9, 4, ["A"])
    assert refused(PLAIN, top_k=4) == "top_k"
    assert refused(stop_sequences=list("ABCDE")) == "stop_sequences"
    assert dropped(stop_sequences=list("ABCDE"))[0]["stop"] == list("ABCD")


def test_who_asks_tier_and_stream() -> None:
    made = translated(metadata={"user_id": "u"}, service_tier="standard_only", stream=True)
    assert (made["user"], made["service_tier"], made["stream"]) == ("u", "default", True)
    assert "stream_options" not in made  # asked for by the provider's habits, when the body is spliced
    assert "stream_options" not in translated(stream=False)


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"context_management": {}}, "context_management"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"speed": "fast"}, "speed"),
        ({"metadata": {"other": 1}}, "metadata.other"),
        ({"output_config": {"task_budget": {}}}, "output_config.task_budget"),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, "thinking.display"),
        ({"service_tier": "other"}, "service_tier"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_field_that_cannot_be_said_is_refused_or_dropped_by_its_name(said: dict[str, Any], param: str) -> None:
    assert refused(**said) == param
    assert [name.split("=")[0] for name in dropped(**said)[1]] == [param]


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
        ({"messages": [{"role": "assistant", "content": [{**USE, "input": "x"}]}]}, "messages[0].content[0].input"),
        ({"output_config": {"effort": "much"}}, "output_config.effort"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
    ],
)
def test_what_is_malformed_is_named_even_when_dropping(said: dict[str, Any], param: str) -> None:
    assert refused(**said) == param
    with pytest.raises(InvalidRequest) as caught:
        dropped(**said)
    assert caught.value.param == param


def test_a_body_nested_too_deeply_is_refused() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    for body in (b'{"a":' * 100_000, b'{"model":"m","max_tokens":1,"messages":[],"x":' + deep + b"}"):
        with pytest.raises(InvalidRequest):
            request_to_chat(body, EXTENDED)
