"""Chats, said as Responses requests."""

from typing import Any

import pytest

from gateway.core.translation.responses.requests_from_chat import ResponsesTarget
from tests.core.translation.responses.said import (
    CALL,
    CHAT_CALL,
    CHAT_TOOL,
    DETAILS,
    HI,
    REASONING,
    TOOL,
    Json,
    chat,
    dropped,
    from_chat,
    made,
    refused,
)

RESPONSES = from_chat()
SMALLEST = {"model": "gpt", "input": [HI], "store": False}


def items(*messages: Json) -> list[Json]:
    return made(RESPONSES, chat(*messages))["input"]  # type: ignore[no-any-return]


def test_the_smallest_request_stores_nothing() -> None:
    assert made(RESPONSES, chat()) == SMALLEST
    assert refused(RESPONSES, chat(store=True)) == "store"
    assert items({"role": "system", "content": "x"}) == [{"role": "system", "content": "x"}]
    assert refused(RESPONSES, chat({"role": "system", "content": ""})) == "messages"


def test_a_first_system_prompt_of_plain_text_is_the_instructions() -> None:
    later = {"role": "system", "content": "b"}
    assert made(RESPONSES, chat({"role": "system", "content": "a"}, HI, later)) == {
        **SMALLEST,
        "instructions": "a",
        "input": [HI, later],
    }


def test_an_assistants_message_is_an_item_for_each_thing_it_holds() -> None:
    message = {"role": "assistant", "content": "Let me see.", "reasoning_details": DETAILS, "tool_calls": [CHAT_CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sun"}
    assert items(HI, message, result) == [
        HI,
        REASONING,
        {"role": "assistant", "content": "Let me see."},
        CALL,
        {"type": "function_call_output", "call_id": "call_1", "output": "sun"},
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reasoning_content", "Hm."),
        ("reasoning", "Hm."),
        ("reasoning_details", [{"type": "reasoning.text", "text": "Hm.", "signature": "x", "index": 0}]),
    ],
)
def test_reasoning_of_another_provider_cannot_be_handed_to_this_one(key: str, value: Any) -> None:
    message = {"role": "assistant", "content": "a", key: value}
    assert refused(RESPONSES, chat(HI, message)) == f"messages[1].{key}"
    body, lost = dropped(RESPONSES, chat(HI, message))
    assert (body["input"], lost) == ([HI, {"role": "assistant", "content": "a"}], (f"messages[].{key}",))


def test_pieces_of_reasoning_that_a_client_kept_apart_are_put_together() -> None:
    pieces = [
        {"type": "reasoning.summary", "summary": "Fir", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.summary", "summary": "st.", "format": "openai-responses-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
    ]
    first = {**REASONING, "summary": REASONING["summary"][:1]}
    assert items(HI, {"role": "assistant", "content": "a", "reasoning_details": pieces})[1] == first


def test_texts_images_and_files() -> None:
    mark = {"mode": "explicit"}
    content = [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "prompt_cache_breakpoint": mark},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": "https://a.example/b.png"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="}},
        {"type": "file", "file": {"filename": "b.pdf", "file_data": "https://a.example/b.pdf"}},
        {"type": "document_url", "document_url": "https://a.example/b.pdf"},
    ]
    assert items({"role": "user", "content": content})[0]["content"] == [
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": mark},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "low"},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="},
        {"type": "input_file", "file_url": "https://a.example/b.pdf"},
        {"type": "input_file", "file_url": "https://a.example/b.pdf"},
    ]
    sound = {"type": "input_audio", "input_audio": {}}
    assert refused(RESPONSES, chat({"role": "user", "content": [sound]})) == "messages[0].content[0].type"
    file = {"type": "file", "file": {"file_id": "f"}}
    assert refused(RESPONSES, chat({"role": "user", "content": [file]})) == "messages[0].content[0].file.file_id"
    assert refused(RESPONSES, chat({"role": "user", "content": [{"type": "file", "file": {}}]})) == (
        "messages[0].content[0].file.file_data"
    )


def test_marks_for_the_cache_are_hints_unless_the_model_takes_them() -> None:
    marked = {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]}
    assert items(marked) == [HI]
    takes = from_chat(ResponsesTarget(cache_breakpoints=True))
    part = {"type": "input_text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}
    assert made(takes, chat(marked))["input"] == [{"role": "user", "content": [part]}]


def test_functions_are_not_strict_unless_they_say_so() -> None:
    bare = {"type": "function", "function": {"name": "now", "strict": True}}
    assert made(RESPONSES, chat(tools=[CHAT_TOOL, bare]))["tools"] == [
        TOOL,
        {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": True},
    ]
    assert refused(RESPONSES, chat(tools=[{"type": "custom", "custom": {"name": "x"}}])) == "tools[0].type"


def test_the_choice_of_tools() -> None:
    named = {"type": "function", "function": {"name": "weather"}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named]}}
    said = [
        made(RESPONSES, chat(tools=[CHAT_TOOL], tool_choice=choice))["tool_choice"]
        for choice in ("auto", "none", "required", "any", named, allowed)
    ]
    flat = {"type": "function", "name": "weather"}
    assert said == [
        "auto",
        "none",
        "required",
        "required",
        flat,
        {"type": "allowed_tools", "mode": "auto", "tools": [flat]},
    ]
    assert refused(RESPONSES, chat(tool_choice="required")) == "tool_choice"
    assert made(RESPONSES, chat(tool_choice="auto", parallel_tool_calls=True)) == SMALLEST


@pytest.mark.parametrize("key", ["stop", "seed", "top_k", "logit_bias", "prediction", "audio", "n", "provider"])
def test_fields_that_cannot_be_said(key: str) -> None:
    assert refused(RESPONSES, chat(**{key: 2})) == key
    assert dropped(RESPONSES, chat(**{key: 2})) == (SMALLEST, (key,))


def test_a_limit_that_is_too_small_for_these_providers() -> None:
    assert refused(RESPONSES, chat(max_completion_tokens=5)) == "max_completion_tokens"
    assert made(RESPONSES, chat(max_completion_tokens=50, max_tokens=40))["max_output_tokens"] == 40
    assert refused(RESPONSES, chat(max_tokens=0)) == "max_tokens"


def test_reasoning_is_asked_for_where_the_model_reasons() -> None:
    sealed = ["reasoning.encrypted_content"]
    assert made(RESPONSES, chat(reasoning_effort="low")) == {
        **SMALLEST,
        "reasoning": {"effort": "low"},
        "include": sealed,
    }
    assert made(RESPONSES, chat(reasoning_effort="none")) == {**SMALLEST, "reasoning": {"effort": "none"}}
    thinks = from_chat(ResponsesTarget(reasons=True, summary="auto"))
    assert made(thinks, chat()) == {**SMALLEST, "reasoning": {"summary": "auto"}, "include": sealed}
    assert made(thinks, chat(reasoning={"enabled": False})) == {**SMALLEST, "reasoning": {"effort": "none"}}
    hidden = made(thinks, chat(reasoning={"effort": "high", "exclude": True}))
    assert hidden["reasoning"] == {"effort": "high"}
    assert refused(RESPONSES, chat(reasoning={"max_tokens": 2000})) == "reasoning.max_tokens"


def test_the_form_of_the_answer_and_the_rest() -> None:
    format = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}
    options = {"include_usage": True, "include_obfuscation": False}
    body = made(
        RESPONSES,
        chat(
            response_format=format, verbosity="low", logprobs=True, top_logprobs=2, stream=True, stream_options=options
        ),
    )
    assert body == {
        **SMALLEST,
        "text": {
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True},
            "verbosity": "low",
        },
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
        "stream": True,
        "stream_options": {"include_obfuscation": False},
    }
