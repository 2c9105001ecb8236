"""Anthropic's conversations, said as chats: who speaks, what is shown, what was thought."""

import json
from typing import Any

import pytest

from gateway.core.translation.requests_to_chat import request_to_chat
from tests.core.translation.said_to_chat import (
    EXTENDED,
    HI,
    IMAGE,
    IMAGE_PART,
    MARK,
    PIXEL,
    PLAIN,
    TOOL,
    USE,
    assistant,
    dropped,
    encoded,
    messages,
    refused,
    text,
    translated,
    user,
)

# --- turns ----------------------------------------------------------------------------------------------------------


def test_system_prompts() -> None:
    assert translated(system="Be brief.")["messages"] == [{"role": "system", "content": "Be brief."}, HI]
    assert translated(system=[text("A"), text("B", cache_control=MARK)])["messages"][0] == {
        "role": "system",
        "content": [text("A"), text("B", cache_control=MARK)],
    }
    assert translated(system="")["messages"] == [HI]
    assert messages(HI, {"role": "system", "content": [text("Now in French.")]})[1] == {
        "role": "system",
        "content": "Now in French.",
    }


def test_text_alone_is_a_string() -> None:
    assert messages(user(text("Hi"))) == [HI]
    assert messages(user(text("Hi"), text("there"))) == [user(text("Hi"), text("there"))]


def test_calls_and_results() -> None:
    made = messages(
        HI,
        assistant(text("Let me see."), USE, {**USE, "id": "toolu_2", "caller": {"type": "direct"}}),
        user(
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "rain"},
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("sun")], "is_error": False},
            text("Well?"),
        ),
    )
    called = {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert made[1:] == [
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": called},
                {"id": "toolu_2", "type": "function", "function": called},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_2", "content": "rain"},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sun"},
        {"role": "user", "content": "Well?"},
    ]


def test_neighbours_of_one_role_are_one_turn() -> None:
    """Otherwise a chat would have calls that are followed by something else than their results."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sun"}
    second = {**USE, "id": "toolu_2"}
    made = messages(HI, assistant(USE), assistant(text("And:"), second), user(text("Well?")), user(result))
    assert [message["role"] for message in made] == ["user", "assistant", "tool", "user"]
    assert [call["id"] for call in made[1]["tool_calls"]] == ["toolu_1", "toolu_2"]
    assert made[1]["content"] == "And:"
    assert (made[2]["content"], made[3]["content"]) == ("sun", "Well?")


def test_an_input_is_kept_byte_for_byte() -> None:
    spelled = b'{"n": 1.50, "big": 123456789012345678901234567890}'
    use = b'[{"type":"tool_use","id":"a","name":"f","input":' + spelled + b"}]"
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":' + use + b"}]}"
    made = json.loads(request_to_chat(body, EXTENDED).body)
    assert made["messages"][0]["tool_calls"][0]["function"]["arguments"] == spelled.decode()


def test_a_result_that_is_an_error_says_so() -> None:
    failed = {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}
    assert messages(user({**failed, "content": "no sky"}))[0]["content"] == "[tool error] no sky"
    assert messages(user(failed))[0]["content"] == "[tool error] "
    assert messages(user({**failed, "content": [IMAGE]}))[0]["content"] == [text("[tool error] "), IMAGE_PART]


def test_an_image_in_a_result_stays_there_or_follows_it() -> None:
    turn = user(
        {"type": "tool_result", "tool_use_id": "a", "content": [text("see"), IMAGE]},
        {"type": "tool_result", "tool_use_id": "b"},
        text("Well?"),
    )
    assert messages(turn) == [
        {"role": "tool", "tool_call_id": "a", "content": [text("see"), IMAGE_PART]},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        {"role": "user", "content": "Well?"},
    ]
    assert messages(turn, target=PLAIN) == [
        {"role": "tool", "tool_call_id": "a", "content": "see"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
        user(IMAGE_PART, text("Well?")),
    ]


def test_marks_for_the_cache_are_kept_where_they_can_stand() -> None:
    result = {"type": "tool_result", "tool_use_id": "a", "content": "x", "cache_control": MARK}
    assert messages(user(result))[0]["content"] == [text("x", cache_control=MARK)]
    assert translated(tools=[{**TOOL, "cache_control": MARK}])["tools"][0]["cache_control"] == MARK
    assert translated(cache_control=MARK)["cache_control"] == MARK
    assert refused(messages=[assistant({**USE, "cache_control": MARK})]) == "messages[0].content[0].cache_control"


def test_a_plain_chat_is_not_told_of_marks_for_the_cache_and_they_are_listed() -> None:
    said = {
        "system": [text("A", cache_control=MARK)],
        "messages": [user(text("x", cache_control=MARK))],
        "tools": [{**TOOL, "cache_control": MARK}],
        "cache_control": MARK,
    }
    made = request_to_chat(encoded(said), PLAIN)
    assert b"cache_control" not in made.body
    assert set(made.dropped) == {
        "cache_control",
        "messages[].content[].cache_control",
        "system[].cache_control",
        "tools[].cache_control",
    }


BLOCKS: dict[str, Any] = {
    "an image by its URL": (
        {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}},
        [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}],
    ),
    "a PDF": (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": PIXEL},
            "title": "a.pdf",
            "citations": {"enabled": False},
        },
        [{"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PIXEL}"}}],
    ),
    "plain text": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "pixel"}},
        [{"type": "file", "file": {"filename": "document.txt", "file_data": f"data:text/plain;base64,{PIXEL}"}}],
    ),
    "a document by its URL": (
        {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}},
        [{"type": "file", "file": {"filename": "document.pdf", "file_data": "https://a.example/a.pdf"}}],
    ),
    "a document of blocks": (
        {
            "type": "document",
            "source": {"type": "content", "content": [text("A"), IMAGE]},
            "title": "t",
            "cache_control": MARK,
        },
        [text("A"), {**IMAGE_PART, "cache_control": MARK}],
    ),
    "text with citations": (
        text("A", citations=[{"type": "web_search_result_location", "url": "https://a.example"}]),
        [text("A")],
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_becomes_parts(name: str) -> None:
    block, parts = BLOCKS[name]
    assert messages(user(block, text("?"))) == [user(*parts, text("?"))]


LOST_BLOCKS: dict[str, Any] = {
    "messages[0].content[0].source.type": {"type": "image", "source": {"type": "file", "file_id": "f"}},
    "messages[0].content[0].type": {"type": "search_result", "source": "s", "title": "t", "content": []},
    "messages[0].content[0].context": {
        "type": "document",
        "source": {"type": "text", "data": "x"},
        "context": "c",
    },
    "messages[0].content[0].citations": {
        "type": "document",
        "source": {"type": "text", "data": "x"},
        "citations": {"enabled": True},
    },
    "messages[0].content[0].content[0].type": {
        "type": "tool_result",
        "tool_use_id": "a",
        "content": [{"type": "browser_state"}],
    },
}


@pytest.mark.parametrize("param", LOST_BLOCKS)
def test_a_block_that_cannot_be_said_is_refused_or_dropped(param: str) -> None:
    turn = user(LOST_BLOCKS[param], text("?"))
    assert refused(messages=[turn]) == param
    body, lost = dropped(messages=[turn])
    assert [name.split("=")[0] for name in lost] == [param.replace("[0]", "[]")]
    assert "?" in json.dumps(body["messages"][-1])


def test_a_turn_of_which_nothing_is_left_is_left_out() -> None:
    body, lost = dropped(messages=[HI, assistant({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}), HI])
    assert (body["messages"], lost) == ([HI, HI], ("messages[].content[].type=server_tool_use",))


# --- thinking -------------------------------------------------------------------------------------------------------


def test_thinking_is_carried_with_its_signature() -> None:
    made = messages(
        HI,
        assistant(
            {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZW5j"},
            text("A"),
            USE,
        ),
    )[1]
    assert made["content"] == "A"
    assert made["reasoning_content"] == "Hmm."
    assert made["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "text": "Hmm.",
            "index": 0,
            "signature": "c2ln",
            "format": "anthropic-claude-v1",
        },
        {"type": "reasoning.encrypted", "data": "ZW5j", "format": "anthropic-claude-v1", "index": 1},
    ]


def test_unsigned_thinking_is_only_text() -> None:
    made = messages(HI, assistant({"type": "thinking", "thinking": "Hmm.", "signature": ""}, text("A")))[1]
    assert made == {"role": "assistant", "content": "A", "reasoning_content": "Hmm."}


def test_a_plain_chat_takes_no_thinking() -> None:
    turn = assistant({"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"}, text("A"))
    assert refused(PLAIN, messages=[HI, turn]) == "messages[1].content[0].type"
    body, lost = dropped(PLAIN, messages=[HI, turn])
    assert (body["messages"][1], lost) == (
        {"role": "assistant", "content": "A"},
        ("messages[].content[].type=thinking",),
    )


@pytest.mark.parametrize(
    ("thinking", "config", "effort"),
    [
        ({"type": "disabled"}, None, "none"),
        ({"type": "enabled", "budget_tokens": 1024}, None, "minimal"),
        ({"type": "enabled", "budget_tokens": 3000}, None, "low"),
        ({"type": "enabled", "budget_tokens": 5000}, None, "medium"),
        ({"type": "enabled", "budget_tokens": 9999}, None, "max"),
        ({"type": "enabled", "budget_tokens": 9999}, {"effort": "low"}, "low"),
        ({"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}, "xhigh"),
        ({"type": "disabled"}, {"effort": "xhigh"}, "none"),
        ({"type": "adaptive"}, None, None),
        (None, {"effort": "max"}, "max"),
    ],
)
def test_the_effort(thinking: object, config: object, effort: str | None) -> None:
    body = translated(max_tokens=10_000, thinking=thinking, output_config=config)
    assert body.get("reasoning_effort") == effort
