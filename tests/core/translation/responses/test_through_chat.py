"""Responses and Anthropic's messages, said as each other: order, signatures and names survive the chat in between."""

import json
from typing import Any

import pytest

from gateway.core.translation.errors import ErrorAnswer
from gateway.core.translation.responses.errors import (
    chat_error_to_responses,
    messages_error_to_responses,
    responses_error_to_chat,
    responses_error_to_messages,
)
from gateway.core.translation.responses.requests_from_chat import ResponsesTarget
from gateway.core.translation.responses.through_chat import (
    MessagesStreamToResponses,
    ResponsesStreamToMessages,
    messages_answer_to_responses,
    responses_answer_to_messages,
)
from tests.core.translation.accumulation import message
from tests.core.translation.responses.drawn import response_stream
from tests.core.translation.responses.said import (
    CALL,
    HI,
    REASONING,
    TOOL,
    Json,
    asked,
    dropped,
    encoded,
    fed,
    from_messages,
    made,
    refused,
    response_of,
    to_messages,
)
from tests.core.translation.responses.test_answers_and_streams_to_chat import FUNCTION_CALL, TEXT, answer, spoken
from tests.core.translation.streaming import messages_stream

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
SEALED = {"type": "redacted_thinking", "data": "c2VhbGVk"}
USE = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}}
WOVEN: list[Json] = [
    THOUGHT,
    {"type": "text", "text": "Let me see."},
    USE,
    SEALED,
    {"type": "text", "text": "And there."},
    {**USE, "id": "call_2"},
]


def to_anthropic(*items: Json, **more: Any) -> Json:
    return made(to_messages(), asked(*items, **more))


def said_by_anthropic(*content: Json, **more: Any) -> Json:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 3,
        "cache_creation_input_tokens": 2,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": list(content)}
    return {**head, "stop_reason": "end_turn", "stop_sequence": None, "usage": usage, **more}


def in_responses(body: Json) -> Json:
    return json.loads(messages_answer_to_responses(encoded(body), created=7).body)  # type: ignore[no-any-return]


def streamed_in_responses(body: Json) -> Json:
    return response_of(fed(MessagesStreamToResponses(created=7), messages_stream(body, lambda text: [text])))


@pytest.mark.parametrize("tell", [in_responses, streamed_in_responses])
def test_a_client_that_hands_an_answers_items_back_hands_anthropic_what_it_said(tell: Any) -> None:
    response = tell(said_by_anthropic(*WOVEN, stop_reason="tool_use"))
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["reasoning", "message", "function_call", "reasoning", "message", "function_call"]
    results = [{"type": "function_call_output", "call_id": f"call_{at}", "output": "sun"} for at in (1, 2)]
    turns = to_anthropic(HI, *response["output"], *results)["messages"]
    assert turns == [
        HI,
        {"role": "assistant", "content": WOVEN},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": f"call_{at}", "content": "sun"}  # as items came
                for at in (1, 2)
            ],
        },
    ]


def test_a_client_of_anthropics_hands_a_provider_of_responses_what_it_said() -> None:
    output = [REASONING, spoken(TEXT), FUNCTION_CALL, {**REASONING, "id": "rs_2"}, {**FUNCTION_CALL, "call_id": "b"}]
    whole = json.loads(responses_answer_to_messages(encoded(answer(*output))).body)
    stream = fed(ResponsesStreamToMessages(), response_stream(answer(*output), lambda text: [text]))
    assert message(stream)["content"] == whole["content"]
    kinds = [block["type"] for block in whole["content"]]
    thought = ["thinking", "thinking", "redacted_thinking"]
    assert kinds == [*thought, "text", "tool_use", *thought, "tool_use"]
    turns = [HI, {"role": "assistant", "content": whole["content"]}, HI]
    request = {"model": "gpt", "max_tokens": 100, "messages": turns}
    call = {**CALL, "arguments": '{"city":"Rome"}'}
    assert made(from_messages(), request)["input"] == [
        HI,
        REASONING,
        {"role": "assistant", "content": "Hi"},
        call,
        {**REASONING, "id": "rs_2"},
        {**call, "call_id": "b"},
        HI,
    ]


def test_reasoning_goes_back_to_those_alone_who_gave_it() -> None:
    assert refused(to_messages(), asked(HI, REASONING, {"role": "assistant", "content": "a"}, HI)) == (
        "input[].encrypted_content"
    )
    turns = [HI, {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "a"}]}, HI]
    request = {"model": "gpt", "max_tokens": 100, "messages": turns}
    assert refused(from_messages(), request) == "messages[].content[].signature"
    assert dropped(from_messages(), request)[1] == ("messages[].content[].signature",)


def test_a_request_to_anthropic() -> None:
    format = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
    assert to_anthropic(
        instructions="Be brief.",
        tools=[TOOL],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        text={"format": format},
        max_output_tokens=50,
        user="u",
        stream=True,
    ) == {
        "model": "gpt",
        "max_tokens": 50,
        "messages": [HI],
        "system": "Be brief.",
        "tools": [{"name": "weather", "input_schema": TOOL["parameters"]}],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u"},
        "stream": True,
    }
    assert to_anthropic(reasoning={"effort": "high"})["output_config"] == {"effort": "high"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"text": {"format": {"type": "json_object"}}}, "text.format.type"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"temperature": 1.5}, "temperature"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"reasoning": {"effort": "hard"}}, "reasoning.effort"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{**TOOL, "parameters": 1}]}, "tools[].parameters"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.type"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
    ],
)
def test_what_anthropic_cannot_be_told_is_named_as_the_caller_spelled_it(more: Json, param: str) -> None:
    assert refused(to_messages(), asked(**more)) == param


def test_a_request_from_anthropics_dialect() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "eA=="}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [USE]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "is_error": True,
                    "content": [{"type": "text", "text": "x"}, {"type": "image", "source": source}],
                }
            ],
        },
    ]
    schema = TOOL["parameters"]
    request = {
        "model": "gpt",
        "max_tokens": 100,
        "system": "Be brief.",
        "messages": turns,
        "tools": [{"name": "weather", "input_schema": schema, "cache_control": {"type": "ephemeral"}}],
        "tool_choice": {"type": "any"},
        "thinking": {"type": "enabled", "budget_tokens": 50},
        "metadata": {"user_id": "u"},
    }
    assert made(from_messages(ResponsesTarget(summary="auto")), request) == {
        "model": "gpt",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": "a"},
            {**CALL, "arguments": '{"city":"Rome"}'},
            {
                "type": "function_call_output",
                "call_id": "call_1",
                "output": [
                    {"type": "input_text", "text": "[tool error] x"},
                    {"type": "input_image", "image_url": "data:image/png;base64,eA==", "detail": "auto"},
                ],
            },
        ],
        "store": False,
        "max_output_tokens": 100,
        "tools": [TOOL],
        "tool_choice": "required",
        "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "user": "u",
    }


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop_sequences": ["a"]}, "stop_sequences"),
        ({"top_k": 4}, "top_k"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ],
)
def test_what_a_provider_of_responses_cannot_be_told(more: Json, param: str) -> None:
    request = {"model": "gpt", "max_tokens": 100, "messages": [HI], **more}
    assert refused(from_messages(), request) == param
    assert dropped(from_messages(), request)[1][0].startswith(param.replace("[0]", "[]"))


def test_usage_and_the_reason_it_stopped() -> None:
    response = in_responses(said_by_anthropic({"type": "text", "text": "Hi"}, stop_reason="max_tokens"))
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 17,
    }
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["native_finish_reason"] == "max_tokens"
    back = json.loads(responses_answer_to_messages(encoded(response)).body)
    assert (back["stop_reason"], back["usage"]) == ("max_tokens", said_by_anthropic()["usage"])


def test_a_refusal_of_anthropics() -> None:
    details = {"type": "refusal", "category": None, "explanation": "No."}
    body = said_by_anthropic({"type": "text", "text": "Hi"}, stop_reason="refusal", stop_details=details)
    for response in (in_responses(body), streamed_in_responses(body)):
        assert response["incomplete_details"] == {"reason": "content_filter"}
        assert response["output"][0]["content"][1] == {"type": "refusal", "refusal": "No."}


@pytest.mark.parametrize(
    ("event", "code"), [("overloaded_error", "server_error"), ("rate_limit_error", "rate_limit_exceeded")]
)
def test_an_error_in_a_stream_of_anthropics(event: str, code: str) -> None:
    error = {"type": "error", "error": {"type": event, "message": "Not now."}}
    translator = MessagesStreamToResponses(created=7)
    told = fed(translator, b"event: error\ndata: " + encoded(error) + b"\n\n")
    assert f'"error":{{"code":"{code}","message":"Not now."}}'.encode() in told
    assert (translator.failed, translator.finished) == (True, False)


def test_an_error_in_a_stream_of_responses() -> None:
    error = {"type": "error", "code": "rate_limit_exceeded", "message": "Not now.", "param": None}
    translator = ResponsesStreamToMessages()
    told = fed(translator, b"event: error\ndata: " + encoded(error) + b"\n\n")
    assert b'"error":{"type":"rate_limit_error","message":"Not now."}' in told
    assert translator.failed


def test_errors_are_a_chats() -> None:
    body = encoded(
        {"error": {"message": "Too many.", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    )
    assert chat_error_to_responses(429, body) == responses_error_to_chat(429, body) == ErrorAnswer(429, body)
    told = responses_error_to_messages(429, body, request_id="r")
    assert json.loads(told.body)["error"] == {"type": "rate_limit_error", "message": "Too many."}
    assert messages_error_to_responses(429, told.body) == ErrorAnswer(429, body)
