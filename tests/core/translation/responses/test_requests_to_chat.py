"""Responses requests, said as chats."""

from typing import Any

import pytest

from tests.core.translation.responses.said import (
    CALL,
    CHAT_CALL,
    CHAT_TOOL,
    DETAILS,
    HI,
    PLAIN,
    REASONING,
    TOOL,
    Json,
    asked,
    dropped,
    made,
    refused,
    to_chat,
)

CHAT = to_chat()


def messages(*items: Json, **more: Any) -> list[Json]:
    return made(CHAT, asked(*items, **more))["messages"]  # type: ignore[no-any-return]


def test_the_smallest_request() -> None:
    assert made(CHAT, {"model": "gpt", "input": "Hi"}) == {"model": "gpt", "messages": [HI]}
    assert refused(CHAT, {"model": "gpt"}) == "input"
    assert refused(CHAT, {"input": "Hi"}) == "model"


def test_instructions_are_the_first_system_prompt() -> None:
    assert messages(HI, instructions="Be brief.") == [{"role": "system", "content": "Be brief."}, HI]
    assert messages({"role": "developer", "content": "x"}, HI)[0] == {"role": "developer", "content": "x"}


def test_texts_images_and_files() -> None:
    content = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://a.example/b.png", "detail": "auto"},
        {"type": "input_image", "image_url": "data:image/png;base64,eA==", "detail": "high"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="},
        {"type": "input_file", "file_url": "https://a.example/b.pdf"},
    ]
    assert messages({"role": "user", "content": content}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA==", "detail": "high"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,eA=="}},
                {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://a.example/b.pdf"}},
            ],
        }
    ]


@pytest.mark.parametrize("part", [{"type": "input_image", "file_id": "f"}, {"type": "input_file", "file_id": "f"}])
def test_files_by_id_are_another_providers(part: Json) -> None:
    request = asked({"role": "user", "content": [{"type": "input_text", "text": "a"}, part]})
    assert refused(CHAT, request) == "input[0].content[1].file_id"
    assert dropped(CHAT, request)[1] == ("input[].content[].file_id",)


def test_one_turn_of_an_assistant_is_one_message() -> None:
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary"}
    content = [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}]
    other = {**CALL, "call_id": "call_2", "id": "fc_2", "status": "completed"}
    result = {"type": "function_call_output", "call_id": "call_2", "output": "sun"}
    made = messages(HI, REASONING, {**said, "content": content}, CALL, other, result, {**result, "call_id": "call_1"})
    assert made == [
        HI,
        {
            "role": "assistant",
            "content": "Let me see.",
            "reasoning_content": "First.Then.",
            "reasoning_details": DETAILS,
            "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "call_2"}],
        },
        {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    ]


def test_a_refusal_that_is_handed_back() -> None:
    said = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
    assert messages(HI, said)[1] == {"role": "assistant", "content": None, "refusal": "No."}


def test_images_that_a_tool_found_are_said_by_the_user_where_a_plain_chat_wants_that() -> None:
    found = [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "https://a.example/b.png"}]
    items = (HI, CALL, {"type": "function_call_output", "call_id": "call_1", "output": found})
    image = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
    assert messages(*items)[2]["content"] == [{"type": "text", "text": "a"}, image]
    plain = made(to_chat(PLAIN), asked(*items))["messages"]
    assert plain[2:] == [
        {"role": "tool", "tool_call_id": "call_1", "content": "a"},
        {"role": "user", "content": [image]},
    ]


def test_reasoning_that_says_nothing_is_left_out() -> None:
    assert messages(HI, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}) == [HI]
    assert refused(to_chat(PLAIN), asked(HI, REASONING)) == "input[1].type"


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "custom_tool_call", "call_id": "c", "name": "n", "input": "x"},
        {"type": "compaction", "id": "c", "encrypted_content": "x"},
        {"type": "tool_search_output", "execution": "client", "tools": []},
    ],
)
def test_items_that_a_chat_has_no_words_for(item: Json) -> None:
    assert refused(CHAT, asked(HI, item)) == "input[1].type"
    assert dropped(CHAT, asked(HI, item)) == (
        {"model": "gpt", "messages": [HI]},
        (f"input[].type={item['type']}",),
    )


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"prompt": {"id": "pmpt_1"}},
        {"truncation": "auto"},
        {"moderation": {"model": "m"}},
        {"context_management": [{"type": "compaction"}]},
        {"anything_new": 1},
    ],
)
def test_what_lives_at_the_provider_cannot_be_said(more: Json) -> None:
    assert [refused(CHAT, asked(**more))] == list(more)
    assert dropped(CHAT, asked(**more)) == ({"model": "gpt", "messages": [HI]}, tuple(more))


@pytest.mark.parametrize("store", [True, False, None])
def test_nothing_is_stored_and_so_it_does_not_matter_whether_it_should_be(store: bool | None) -> None:
    assert made(CHAT, asked(store=store)) == {"model": "gpt", "messages": [HI]}


def test_tools() -> None:
    strict = {**TOOL, "strict": True, "description": "d"}
    unsaid = {key: value for key, value in TOOL.items() if key != "strict"}
    request = asked(tools=[TOOL, strict, {**unsaid, "defer_loading": True}, {"type": "tool_search"}])
    function = {**CHAT_TOOL["function"], "strict": True, "description": "d"}  # type: ignore[dict-item]
    assert made(CHAT, request)["tools"] == [CHAT_TOOL, {"type": "function", "function": function}, CHAT_TOOL]


@pytest.mark.parametrize("kind", ["web_search", "file_search", "mcp", "custom", "code_interpreter", "namespace"])
def test_tools_that_cannot_be_said(kind: str) -> None:
    assert refused(CHAT, asked(tools=[TOOL, {"type": kind}])) == "tools[1].type"
    body, lost = dropped(CHAT, asked(tools=[TOOL, {"type": kind, "name": "x"}]))
    assert (body["tools"], lost) == ([CHAT_TOOL], (f"tools[].type={kind}",))


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]},
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        ),
    ],
)
def test_the_choice_of_tools(choice: Any, said: Any) -> None:
    assert made(CHAT, asked(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)) == {
        "model": "gpt",
        "messages": [HI],
        "tools": [CHAT_TOOL],
        "tool_choice": said,
        "parallel_tool_calls": False,
    }


def test_choices_that_cannot_be_said() -> None:
    assert refused(CHAT, asked(tools=[TOOL], tool_choice={"type": "web_search"})) == "tool_choice.type"
    assert refused(CHAT, asked(tools=[TOOL], tool_choice="x")) == "tool_choice"
    assert refused(CHAT, asked(tool_choice="required")) == "tool_choice"
    assert made(CHAT, asked(tool_choice="auto")) == {"model": "gpt", "messages": [HI]}


def test_the_form_of_the_answer() -> None:
    format = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"}
    named = {key: value for key, value in format.items() if key != "type"}
    body = made(CHAT, asked(text={"format": format, "verbosity": "low"}))
    assert (body["response_format"], body["verbosity"]) == ({"type": "json_schema", "json_schema": named}, "low")
    assert made(CHAT, asked(text={"format": {"type": "json_object"}}))["response_format"] == {"type": "json_object"}
    assert made(CHAT, asked(text={"format": {"type": "text"}})) == {"model": "gpt", "messages": [HI]}
    assert refused(CHAT, asked(text={"format": {"type": "grammar"}})) == "text.format.type"


def test_reasoning_logprobs_and_the_rest() -> None:
    body = made(
        CHAT,
        asked(
            reasoning={"effort": "low", "summary": "auto"},
            include=["reasoning.encrypted_content", "message.output_text.logprobs"],
            top_logprobs=2,
            max_output_tokens=50,
            temperature=0.5,
            user="u",
            service_tier="flex",
            stream=True,
            stream_options={"include_obfuscation": False},
            metadata={"a": "b"},
        ),
    )
    assert body == {
        "model": "gpt",
        "messages": [HI],
        "max_completion_tokens": 50,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "temperature": 0.5,
        "user": "u",
        "service_tier": "flex",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert refused(CHAT, asked(include=["file_search_call.results"])) == "include"
    assert refused(CHAT, asked(reasoning={"context": "all_turns"})) == "reasoning.context"
