"""Conversations of chats, said for Anthropic: who speaks, what is shown, what was thought."""

import json
from typing import Any

import pytest

from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from tests.core.translation.said_to_anthropic import (
    ADAPTIVE,
    CALL,
    HI,
    PIXEL,
    TARGET,
    TOOL,
    dropped,
    refused,
    translated,
    turns,
)

# --- turns ----------------------------------------------------------------------------------------------------------


def test_system_prompts_of_all_places_are_gathered() -> None:
    messages = [
        {"role": "system", "content": "One."},
        {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
        HI,
        {"role": "system", "content": "Three."},
    ]
    assert translated(messages=messages)["system"] == [
        {"type": "text", "text": "One."},
        {"type": "text", "text": "Two."},
        {"type": "text", "text": "Three."},
    ]


def test_a_single_system_prompt_stays_a_string() -> None:
    assert translated(messages=[{"role": "developer", "content": "Be brief."}, HI])["system"] == "Be brief."


def test_a_later_system_prompt_keeps_its_place_where_the_model_takes_it() -> None:
    target = MessagesTarget(max_tokens_default=1, system_in_place=True)
    later = {"role": "system", "content": "Now in French."}
    answer = {"role": "assistant", "content": "Hello."}
    assert turns(HI, later, answer, HI, target=target) == [HI, later, answer, HI]
    assert turns(HI, answer, later, HI, target=target) == [HI, answer, HI, later]
    body = translated(target, messages=[HI, answer, later])
    assert (body["system"], body["messages"]) == ("Now in French.", [HI, answer])


def test_neighbours_of_one_role_become_one_turn() -> None:
    assert turns(HI, {"role": "user", "content": "There?"}, {"role": "assistant", "content": "A"}, HI) == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "There?"}]},
        {"role": "assistant", "content": "A"},
        HI,
    ]


def test_calls_and_their_results_in_any_order() -> None:
    second = {**CALL, "id": "call_2"}
    made = turns(
        HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL, second]},
        {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
        {"role": "user", "content": "Well?"},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sun"}]},
    )
    assert made[1]["content"] == [
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "call_2", "name": "weather", "input": {"city": "Rome"}},
    ]
    assert made[2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "call_2", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "call_1", "content": "sun"},
            {"type": "text", "text": "Well?"},
        ],
    }


def test_arguments_are_kept_byte_for_byte() -> None:
    spelled = '{"n": 1.50, "big": 123456789012345678901234567890, "e":1e400}'
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": spelled}}
    body = json.dumps({"model": "m", "messages": [HI, {"role": "assistant", "tool_calls": [call]}]}).encode()
    assert b'"input":' + spelled.encode() in request_to_messages(body, TARGET).body


def test_empty_arguments_are_an_empty_object() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert turns(HI, {"role": "assistant", "tool_calls": [call]})[1]["content"][0]["input"] == {}


@pytest.mark.parametrize("arguments", ["[1]", "nul", '{"a":', "3", "[" * 100_000])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [HI, {"role": "assistant", "tool_calls": [call]}]
    assert refused(messages=messages) == "messages[1].tool_calls[0].function.arguments"


def test_ids_of_calls_are_spelled_as_anthropic_takes_them() -> None:
    call = {**CALL, "id": "functions.weather:0"}
    made = turns(
        HI,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sun"},
    )
    assert made[1]["content"][0]["id"] == made[2]["content"][0]["tool_use_id"] == "functions_2e_weather_3a_0"


def test_a_result_may_hold_an_image_or_tell_of_an_error() -> None:
    made = turns(
        HI,
        {"role": "assistant", "tool_calls": [CALL]},
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": [
                {"type": "text", "text": "[tool error] no sky"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        },
    )
    assert made[2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "call_1",
            "is_error": True,
            "content": [
                {"type": "text", "text": "no sky"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
            ],
        }
    ]


def test_text_that_says_nothing_is_left_out() -> None:
    parts = [{"type": "text", "text": ""}, {"type": "text", "text": "\n"}, {"type": "text", "text": "x"}]
    assert turns(HI, {"role": "assistant", "content": ""}, {"role": "user", "content": parts}) == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "x"}]}
    ]
    assert refused(messages=[{"role": "user", "content": " "}]) == "messages"
    assert refused(messages=[]) == "messages"


def test_a_refusal_of_an_earlier_turn_is_said_as_text() -> None:
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    assert turns(HI, message, HI)[1] == {"role": "assistant", "content": "I will not."}


def test_what_clients_hand_back_with_an_answer_is_no_obstacle() -> None:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "Hello.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "prefix": False,
    }
    assert turns(HI, message, HI)[1] == {"role": "assistant", "content": "Hello."}


# --- parts ----------------------------------------------------------------------------------------------------------

PARTS: dict[str, Any] = {
    "an image as data": (
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PIXEL}", "detail": "auto"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}},
    ),
    "an image by its URL": (
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
    ),
    "an image as Mistral writes it": (
        {"type": "image_url", "image_url": "https://a.example/b.png"},
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
    ),
    "a PDF": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
            "title": "a.pdf",
        },
    ),
    "plain text": (
        {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{PIXEL}"}},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "pixel"},
            "title": "a.txt",
        },
    ),
    "a file by its URL": (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://a.example/a.pdf"}},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}, "title": "a.pdf"},
    ),
    "a document as Mistral writes it": (
        {"type": "document_url", "document_url": "https://a.example/a.pdf"},
        {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}},
    ),
    "a mark for the cache": (
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ),
    "OpenAI's mark for the cache": (
        {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_becomes_a_block(name: str) -> None:
    part, block = PARTS[name]
    assert turns({"role": "user", "content": [part, {"type": "text", "text": "?"}]})[0]["content"][0] == block


LOST_PARTS = {
    "messages[0].content[0].type": {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
    "messages[0].content[0].file.file_id": {"type": "file", "file": {"file_id": "file-1"}},
    "messages[0].content[0].image_url.url": {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AA"}},
    "messages[0].content[0].image_url.detail": {
        "type": "image_url",
        "image_url": {"url": "https://a.example", "detail": "low"},
    },
    "messages[0].content[0].file.file_data": {"type": "file", "file": {"file_data": "data:text/plain;base64,_"}},
    "messages[0].content[0].prompt_cache_breakpoint.ttl": {
        "type": "text",
        "text": "x",
        "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"},
    },
}


@pytest.mark.parametrize("param", LOST_PARTS)
def test_a_part_that_cannot_be_said_is_refused_or_dropped(param: str) -> None:
    content = [LOST_PARTS[param], {"type": "text", "text": "?"}]
    assert refused(messages=[{"role": "user", "content": content}]) == param
    body, lost = dropped(messages=[{"role": "user", "content": content}])
    assert [name.split("=")[0] for name in lost] == [param.replace("[0]", "[]")]
    assert "?" in json.dumps(body["messages"])


# --- thinking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "thinking"),
    [
        ("none", {"type": "disabled"}),
        ("minimal", {"type": "enabled", "budget_tokens": 2000}),
        ("low", {"type": "enabled", "budget_tokens": 4000}),
        ("medium", {"type": "enabled", "budget_tokens": 10000}),
        ("high", {"type": "enabled", "budget_tokens": 16000}),
        ("xhigh", {"type": "enabled", "budget_tokens": 18000}),
        ("max", {"type": "enabled", "budget_tokens": 19000}),
    ],
)
def test_effort_is_a_share_of_the_output(effort: str, thinking: dict[str, Any]) -> None:
    assert translated(reasoning_effort=effort, max_tokens=20_000)["thinking"] == thinking
    assert translated(reasoning={"effort": effort}, max_tokens=20_000)["thinking"] == thinking


def test_effort_is_named_to_models_that_think_adaptively() -> None:
    made = translated(ADAPTIVE, reasoning_effort="minimal")
    assert (made["thinking"], made["output_config"]) == ({"type": "adaptive"}, {"effort": "low"})


def test_openrouters_words_for_thinking() -> None:
    assert translated(reasoning={"max_tokens": 1500})["thinking"] == {"type": "enabled", "budget_tokens": 1500}
    assert translated(reasoning={"enabled": True})["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    assert translated(reasoning={"enabled": False})["thinking"] == {"type": "disabled"}
    assert translated(reasoning={"effort": "high", "exclude": True})["thinking"]["display"] == "omitted"


def test_a_budget_leaves_room_for_an_answer() -> None:
    assert translated(reasoning_effort="low", max_tokens=1025)["thinking"]["budget_tokens"] == 1024
    assert refused(reasoning_effort="low", max_tokens=1024) == "reasoning_effort"
    assert refused(reasoning={"max_tokens": 4096}) == "reasoning"
    assert refused(reasoning_effort="enormous") == "reasoning_effort"


def test_what_cannot_be_had_while_thinking() -> None:
    assert refused(reasoning_effort="low", temperature=0.5) == "temperature"
    assert refused(reasoning_effort="low", top_k=5) == "top_k"
    assert refused(reasoning_effort="low", top_p=0.9) == "top_p"
    assert translated(reasoning_effort="low", top_p=0.95)["top_p"] == 0.95
    assert refused(reasoning_effort="low", tools=[TOOL], tool_choice="required") == "reasoning_effort"
    assert translated(reasoning_effort="none", temperature=0.5)["temperature"] == 0.5


SIGNED = {
    "type": "reasoning.text",
    "text": "Hmm.",
    "signature": "c2ln",
    "format": "anthropic-claude-v1",
    "index": 0,
}


def test_signed_thinking_comes_back_as_blocks_before_all_else() -> None:
    details = [SIGNED, {"type": "reasoning.encrypted", "data": "ZW5j", "format": "anthropic-claude-v1", "index": 1}]
    message = {
        "role": "assistant",
        "content": "A",
        "reasoning_content": "Hmm.",
        "reasoning_details": details,
        "tool_calls": [CALL],
    }
    assert turns(HI, message)[1]["content"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "text", "text": "A"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
    ]


def test_thinking_that_a_client_kept_in_pieces_is_put_together() -> None:
    pieces = [
        {"type": "reasoning.text", "text": "H", "index": 0},
        {"type": "reasoning.text", "text": "mm.", "index": 0, "signature": None},
        {"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
        {**SIGNED, "text": "Next."},
    ]
    made = turns(HI, {"role": "assistant", "content": "A", "reasoning_details": pieces})[1]["content"]
    assert [block.get("thinking") for block in made] == ["Hmm.", "Next.", None]


def test_thinking_without_anthropics_signature_is_not_sent() -> None:
    foreign = {**SIGNED, "format": "openai-responses-v1"}
    assert refused(messages=[HI, {"role": "assistant", "content": "A", "reasoning_content": "Hmm."}]) == (
        "messages[1].reasoning_content"
    )
    body, lost = dropped(messages=[HI, {"role": "assistant", "content": "A", "reasoning_details": [foreign]}, HI])
    assert (body["messages"][1]["content"], lost) == ("A", ("messages[].reasoning_details",))


def test_a_turn_that_goes_on_after_calls_can_only_think_on() -> None:
    messages: list[dict[str, Any]] = [
        HI,
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    ]
    assert refused(messages=messages, reasoning_effort="low") == "reasoning_effort"
    assert translated(ADAPTIVE, messages=messages, reasoning_effort="low")["thinking"] == {"type": "adaptive"}
    messages[1]["reasoning_details"] = [SIGNED]
    assert translated(messages=messages, reasoning_effort="low")["thinking"]["type"] == "enabled"
