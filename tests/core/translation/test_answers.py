"""Whole answers, both ways."""

import json
from typing import Any

import pytest

from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import UNREADABLE_ARGUMENTS, answer_to_messages
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.reasoning import CARRIED
from gateway.core.translation.stop_reasons import FINISH_REASON, STOP_REASON

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 10, "output_tokens": 3},
}
COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hello.", "refusal": None}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
}


def to_chat(**changes: Any) -> dict[str, Any]:
    made = answer_to_chat(json.dumps(MESSAGE | changes, separators=(",", ":")).encode(), created=1_700_000_000)
    return json.loads(made.body) | {"dropped": made.dropped}  # type: ignore[no-any-return]


def to_messages(choice: dict[str, Any] | None = None, *, message: Any = None, **changes: Any) -> dict[str, Any]:
    first = {**COMPLETION["choices"][0], **(choice or {})}
    if message is not None:
        first["message"] = {"role": "assistant", "content": None, **message}
    made = answer_to_messages(json.dumps(COMPLETION | {"choices": [first]} | changes).encode())
    return json.loads(made.body) | {"dropped": made.dropped}  # type: ignore[no-any-return]


# --- messages → chat ------------------------------------------------------------------------------------------------


def test_a_message_as_a_completion() -> None:
    assert to_chat() == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "claude-opus-5",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
                "native_finish_reason": "end_turn",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "total_tokens": 13,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "dropped": (),
    }


def test_the_blocks_of_a_message() -> None:
    content = [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "text", "text": "Let me "},
        {"type": "text", "text": "see."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}, "caller": {"type": "direct"}},
    ]
    choice = to_chat(content=content, stop_reason="tool_use")["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Let me see.",
        "refusal": None,
        "reasoning_content": "Hmm.",
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Hmm.",
                "index": 0,
                "signature": "c2ln",
                "format": "anthropic-claude-v1",
            },
            {"type": "reasoning.encrypted", "data": "ZW5j", "format": "anthropic-claude-v1", "index": 1},
        ],
        "tool_calls": [
            {
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
            },
            {"id": "toolu_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ],
    }


def test_blocks_of_tools_that_the_provider_ran_are_left_out_and_listed() -> None:
    content = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "text", "text": "Found."},
    ]
    made = to_chat(content=content, container={"id": "c"})
    assert made["choices"][0]["message"]["content"] == "Found."
    assert made["dropped"] == ("content[].type=server_tool_use", "content[].type=web_search_tool_result", "container")


def test_citations_of_the_web_become_annotations() -> None:
    web = {
        "type": "web_search_result_location",
        "url": "https://a.example",
        "title": "A",
        "cited_text": "It is so.",
        "encrypted_index": "x",
    }
    page = {"type": "page_location", "cited_text": "p", "document_index": 0}
    content = [
        {"type": "text", "text": "Well, "},
        {"type": "text", "text": "it is.", "citations": [web, page]},
    ]
    made = to_chat(content=content)
    place = {"start_index": 6, "end_index": 12, "url": "https://a.example", "title": "A", "content": "It is so."}
    assert made["choices"][0]["message"]["annotations"] == [
        {"type": "url_citation", "url_citation": {**place, "encrypted_index": "x"}}
    ]
    assert made["dropped"] == ("content[].citations[].type=page_location",)


def test_a_message_without_text_has_null_for_content() -> None:
    assert to_chat(content=[])["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize(("stop", "finish"), FINISH_REASON.items())
def test_every_stop_reason_has_its_finish_reason(stop: str, finish: str) -> None:
    choice = to_chat(stop_reason=stop)["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (finish, stop)


def test_an_unknown_stop_reason_is_a_stop() -> None:
    assert to_chat(stop_reason="bored")["choices"][0]["finish_reason"] == "stop"
    assert to_chat(stop_reason=None)["choices"][0]["finish_reason"] == "stop"


def test_the_sequence_that_was_met() -> None:
    choice = to_chat(stop_reason="stop_sequence", stop_sequence="END")["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "END")


def test_a_refusal_is_explained() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    choice = to_chat(stop_reason="refusal", stop_details=details, content=[])["choices"][0]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "Not this.")


def test_usage_includes_the_cache_on_the_chat_side() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 20},
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "priority",
    }
    made = to_chat(usage=usage)
    assert made["service_tier"] == "priority"
    assert made["usage"] == {
        "prompt_tokens": 1110,
        "completion_tokens": 50,
        "total_tokens": 1160,
        "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 20},
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
        "server_tool_use": {"web_search_requests": 2},
    }


# --- chat → messages ------------------------------------------------------------------------------------------------


def test_a_completion_as_a_message() -> None:
    assert to_messages() == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "gpt-5",
        "content": [{"type": "text", "text": "Hello."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
            "output_tokens_details": {"thinking_tokens": 0},
        },
        "dropped": (),
    }


def test_the_fields_of_a_completion() -> None:
    message = {
        "content": "Let me see.",
        "reasoning_content": "Hmm.",
        "tool_calls": [
            {"id": "call:1", "type": "function", "function": {"name": "weather", "arguments": '{"n": 1.50}'}},
            {"function": {"name": "time", "arguments": ""}},
        ],
    }
    body = json.dumps(COMPLETION | {"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()
    made = answer_to_messages(body)
    assert b'{"n": 1.50}' in made.body
    assert json.loads(made.body)["content"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": ""},
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "call_3a_1", "name": "weather", "input": {"n": 1.5}},
        {"type": "tool_use", "id": "chatcmpl-1_1", "name": "time", "input": {}},
    ]
    assert json.loads(made.body)["stop_reason"] == "tool_use"


def test_mistrals_parts_of_content() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "m."}]},
        {"type": "text", "text": "A"},
        {"type": "reference", "reference_ids": [1]},
    ]
    made = to_messages(message={"content": parts})
    assert made["content"] == [
        {"type": "thinking", "thinking": "Hmm.", "signature": ""},
        {"type": "text", "text": "A"},
    ]
    assert made["dropped"] == ("choices[].message.content[].type=reference",)


def test_arguments_that_spell_no_object_are_kept_where_no_tool_takes_them_for_its_input() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "delete", "arguments": '{"only": "th'}}
    made = to_messages({"finish_reason": "length"}, message={"tool_calls": [call]})
    assert made["content"][0]["input"] == {UNREADABLE_ARGUMENTS: '{"only": "th'}
    assert made["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(("finish", "stop"), STOP_REASON.items())
def test_every_finish_reason_has_its_stop_reason(finish: str, stop: str) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"tool_calls": [call]} if stop == "tool_use" else {"content": "A"}
    assert to_messages({"finish_reason": finish}, message=message)["stop_reason"] == stop


@pytest.mark.parametrize("finish", ["stop", "", None, "whatever"])
def test_calls_are_waited_for_whatever_the_finish_reason(finish: str | None) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert to_messages({"finish_reason": finish}, message={"tool_calls": [call]})["stop_reason"] == "tool_use"
    assert to_messages({"finish_reason": finish})["stop_reason"] == "end_turn"


def test_calls_that_were_promised_and_never_came_are_not_waited_for() -> None:
    assert to_messages({"finish_reason": "tool_calls"})["stop_reason"] == "end_turn"


def test_a_refusal_is_text_and_a_reason() -> None:
    made = to_messages(message={"refusal": "I will not."})
    assert made["content"] == [{"type": "text", "text": "I will not."}]
    assert made["stop_reason"] == "refusal"


def test_annotations_become_citations_of_the_text() -> None:
    place = {"start_index": 0, "end_index": 5, "url": "https://a.example", "title": "A"}
    annotations = [{"type": "url_citation", "url_citation": place}, {"type": "file", "file": {}}]
    made = to_messages(message={"content": "Hello.", "annotations": annotations})
    assert made["content"][0]["citations"] == [
        {
            "type": "web_search_result_location",
            "url": "https://a.example",
            "title": "A",
            "cited_text": "",
            "encrypted_index": "",
        }
    ]
    assert made["dropped"] == ("choices[].message.annotations[].type=file",)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (
            {
                "prompt_tokens": 1110,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 1000},
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            (10, 1000, 100, 50, 20),
        ),
        ({"prompt_tokens": 12, "completion_tokens": 5, "prompt_cache_hit_tokens": 8}, (4, 0, 8, 5, 0)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "num_cached_tokens": 9}, (0, 0, 5, 1, 0)),
        (None, (0, 0, 0, 0, 0)),
    ],
)
def test_usage_excludes_the_cache_on_the_messages_side(usage: object, counts: tuple[int, ...]) -> None:
    made = to_messages(usage=usage)["usage"]
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    assert (*[made[name] for name in names], made["output_tokens_details"]["thinking_tokens"]) == counts


def test_what_a_message_cannot_say_is_left_out_and_listed() -> None:
    second = {**COMPLETION["choices"][0], "index": 1}
    first = {**COMPLETION["choices"][0], "logprobs": {"content": [{"token": "H"}]}}
    first["message"] = {**first["message"], "audio": {"id": "a"}}
    made = to_messages(choices=[first, second])
    assert made["dropped"] == ("choices[]", "choices[].message.audio", "choices[].logprobs")


FOREIGN: list[dict[str, Any]] = [
    {"type": "reasoning.summary", "summary": "In short.", "format": "openai-responses-v1", "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1", "id": "rs_1", "index": 1},
    {"type": "reasoning.text", "text": "T.", "signature": "s", "format": "google-gemini-v1", "index": 2},
]


def test_another_providers_reasoning_is_carried_for_the_way_back() -> None:
    content = to_messages(message={"content": "A", "reasoning_details": FOREIGN})["content"]
    assert [block["type"] for block in content] == ["thinking", "redacted_thinking", "thinking", "text"]
    assert content[0]["thinking"] == "In short."
    assert content[0]["signature"].startswith(CARRIED)
    back = to_chat(content=content)["choices"][0]["message"]
    assert back["reasoning_details"] == FOREIGN
    assert back["reasoning_content"] == "In short.T."


def test_details_of_no_known_type_are_carried_too() -> None:
    odd: list[dict[str, Any]] = [{"type": {"a": 1}, "index": 0}, {"type": ["b"], "index": 1}]
    content = to_messages(message={"content": "A", "reasoning_details": odd})["content"]
    assert to_chat(content=content)["choices"][0]["message"]["reasoning_details"] == odd


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"<html>", None),
        (b"[]", None),
        (b'{"choices":[]}', "choices"),
        (b'{"choices":[{}]}', "choices[0].message"),
        (b'{"choices":[{"message":3}]}', "choices[0].message"),
        (b'{"choices":[{"message":{"content":3}}]}', "choices[0].message.content"),
        (b'{"error":{"message":"x"}}', "choices"),
        (b'{"choices":' + b"[" * 100_000, None),
        (b'{"choices":[{"message":{"content":"\xff"}}]}', None),
    ],
)
def test_a_chat_answer_that_cannot_be_read_says_where(body: bytes, field: str | None) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        answer_to_messages(body)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b'{"type":"error","error":{"type":"api_error","message":"x"}}', "content"),
        (b'{"content":"Hello."}', "content"),
        (b'{"content":[{"type":"text"}]}', "content[0].text"),
        (b'{"content":[{"type":"tool_use","id":"a","name":"b","input":[]}]}', "content[0].input"),
        (b'{"content":[],"usage":[]}', None),
        (b'{"content":' + b"[" * 100_000, None),
    ],
)
def test_a_message_that_cannot_be_read_says_where(body: bytes, field: str | None) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        answer_to_chat(body, created=1)
    assert caught.value.field == field
