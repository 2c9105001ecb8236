import json
from typing import Any

import pytest

from gateway.replay.directions import Directions
from gateway.replay.request import read_chat_request, read_messages_request
from gateway.replay.tool_calls import tool_calls

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SUM = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
SCHEMAS = {"get_weather": CITY, "add": SUM, "answer": CITY}
CHAT_TOOLS = [{"type": "function", "function": {"name": name, "parameters": it}} for name, it in SCHEMAS.items()]
MESSAGES_TOOLS = [{"name": name, "input_schema": schema} for name, schema in SCHEMAS.items()]
USER = {"role": "user", "content": "What is 'Lima' like?"}


def in_chat(*messages: Any, directions: Directions | None = None, **fields: Any) -> list[tuple[str, Any]]:
    asked = {"model": "m", "tools": CHAT_TOOLS, "messages": messages, **fields}
    calls = tool_calls(read_chat_request(json.dumps(asked).encode()), directions or Directions())
    return [(name, json.loads(arguments)) for name, arguments in calls]


def in_messages(*messages: Any, **fields: Any) -> list[tuple[str, Any]]:
    asked = {"model": "m", "max_tokens": 9, "tools": MESSAGES_TOOLS, "messages": messages, **fields}
    calls = tool_calls(read_messages_request(json.dumps(asked).encode()), Directions())
    return [(name, json.loads(arguments)) for name, arguments in calls]


def chat_called(*names: str) -> list[dict[str, Any]]:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
    return [
        {"role": "assistant", "tool_calls": calls},
        *({"role": "tool", "tool_call_id": name, "content": "It is 18 °C."} for name in names),
    ]


def messages_called(*names: str) -> list[dict[str, Any]]:
    uses = [{"type": "tool_use", "id": name, "name": name, "input": {}} for name in names]
    results = [{"type": "tool_result", "tool_use_id": name, "content": "It is 18 °C."} for name in names]
    return [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]


def test_the_arguments_are_what_the_question_says() -> None:
    wanted = [("get_weather", {"city": "Lima"})]
    assert in_chat(USER) == in_messages(USER) == wanted


def test_tools_that_the_question_names_are_called_at_once_unless_that_is_forbidden() -> None:
    both = {"role": "user", "content": "Use add for 3 and 4, and get_weather for 'Oslo'."}
    wanted = [("get_weather", {"city": "Oslo"}), ("add", {"a": 3, "b": 4})]
    assert in_chat(both) == in_messages(both) == wanted
    assert in_chat(both, parallel_tool_calls=False) == wanted[:1]
    assert in_messages(both, tool_choice={"type": "auto", "disable_parallel_tool_use": True}) == wanted[:1]


def test_after_a_result_words_follow_unless_a_call_is_demanded() -> None:
    chat, messages = [USER, *chat_called("get_weather")], [USER, *messages_called("get_weather")]
    assert in_chat(*chat) == in_messages(*messages) == []
    [(chat_name, _)], [(messages_name, _)] = (
        in_chat(*chat, tool_choice="required"),
        in_messages(*messages, tool_choice={"type": "any"}),
    )
    assert chat_name == messages_name == "add", "the first that was not called yet"
    [(name, _)] = in_chat(*chat, tool_choice={"type": "function", "function": {"name": "answer"}})
    assert name == "answer"
    [(name, _)] = in_chat(USER, *chat_called(*SCHEMAS), tool_choice="required")
    assert name == "get_weather"


def test_a_new_question_begins_anew() -> None:
    assert in_chat(USER, *chat_called("get_weather"), USER) == in_chat(USER)
    assert in_messages(USER, *messages_called("get_weather"), USER) == in_messages(USER)


@pytest.mark.parametrize("tool_choice", ["required", {"type": "function", "function": {"name": "add"}}])
def test_directions_come_before_the_request(tool_choice: Any) -> None:
    assert in_chat(USER, tool_choice=tool_choice, directions=Directions(output_tokens=5)) == []
    assert in_chat(USER, tool_choice=tool_choice, directions=Directions(tool_calls=0)) == []


def test_results_are_read_in_both_dialects() -> None:
    chat = {"model": "m", "messages": [USER, *chat_called("add", "answer")]}
    messages = {"model": "m", "max_tokens": 9, "messages": [USER, *messages_called("add", "answer")]}
    for request in (read_chat_request(json.dumps(chat).encode()), read_messages_request(json.dumps(messages).encode())):
        assert request.result == "It is 18 °C. It is 18 °C."
        assert request.prompt == USER["content"]
        assert request.called == {"add", "answer"}
        assert request.after_tool
