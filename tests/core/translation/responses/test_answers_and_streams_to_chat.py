"""Responses, whole and streamed, told as chats."""

import json
from typing import Any

import pytest

from gateway.core.sse import SseEvent
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from tests.core.translation.accumulation import completion
from tests.core.translation.responses.drawn import response_stream
from tests.core.translation.responses.said import CALL, CHAT_CALL, DETAILS, REASONING, Json, encoded, fed

TEXT = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
CITED = {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://a.example", "title": "A"}


def spoken(*content: Json, id: str = "msg_1") -> Json:
    return {"id": id, "type": "message", "status": "completed", "role": "assistant", "content": list(content)}


def answer(*output: Json, **more: Any) -> Json:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 14,
    }
    head = {"id": "resp_1", "object": "response", "created_at": 7, "model": "gpt", "status": "completed"}
    return {**head, "output": list(output), "usage": usage, **more}


def said(*output: Json, **more: Any) -> Json:
    return json.loads(responses_answer_to_chat(encoded(answer(*output, **more))).body)  # type: ignore[no-any-return]


def streamed(*output: Json, **more: Any) -> Json:
    translator = ResponsesStreamToChat(include_usage=True)
    return completion(fed(translator, response_stream(answer(*output, **more), lambda text: [text])))


FUNCTION_CALL = {**CALL, "id": "fc_1", "status": "completed"}


def test_an_answer() -> None:
    assert said(REASONING, spoken(TEXT), FUNCTION_CALL, service_tier="default") == {
        "id": "resp_1",
        "object": "chat.completion",
        "created": 7,
        "model": "gpt",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "refusal": None,
                    "reasoning_content": "First.Then.",
                    "reasoning_details": DETAILS,
                    "tool_calls": [CHAT_CALL],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens": 5,
            "completion_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 14,
        },
        "service_tier": "default",
    }


@pytest.mark.parametrize("made", [said, streamed])
def test_texts_of_two_messages_are_paragraphs_and_citations_move_with_them(made: Any) -> None:
    message = made(spoken(TEXT, id="a"), spoken({**TEXT, "annotations": [CITED]}, id="b"))["choices"][0]["message"]
    assert message["content"] == "Hi\n\nHi"
    if made is said:  # the stream of these tests tells no citations
        place = {"start_index": 4, "end_index": 6, "url": "https://a.example", "title": "A"}
        assert message["annotations"] == [{"type": "url_citation", "url_citation": place}]


def test_a_stream_tells_citations_and_logprobs() -> None:
    events: list[Json] = [
        {"type": "response.created", "response": answer()},
        {"type": "response.output_item.added", "output_index": 0, "item": spoken()},
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "x" * 3},
        {"type": "response.output_item.added", "output_index": 1, "item": spoken(id="b")},
        {
            "type": "response.output_text.delta",
            "output_index": 1,
            "content_index": 0,
            "delta": "Hi",
            "logprobs": [{"token": "Hi", "logprob": -1, "top_logprobs": []}],
        },
        {
            "type": "response.output_text.annotation.added",
            "output_index": 1,
            "content_index": 0,
            "annotation": CITED,
        },
        {"type": "response.completed", "response": answer()},
    ]
    translator = ResponsesStreamToChat(include_usage=False)
    chunks = fed(translator, b"".join([b"data: " + encoded(event) + b"\n\n" for event in events]))
    message = completion(chunks)["choices"][0]["message"]
    assert message["annotations"][0]["url_citation"]["start_index"] == 5
    assert b'"logprobs":{"content":[{"token":"Hi"' in chunks
    assert b'"usage"' not in chunks


def test_a_refusal_and_logprobs() -> None:
    logprobs = [{"token": "Hi", "logprob": -1, "bytes": [], "top_logprobs": []}]
    choice = said(spoken({**TEXT, "logprobs": logprobs}, {"type": "refusal", "refusal": "No."}))["choices"][0]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == ("Hi", "No.")
    assert choice["logprobs"] == {"content": logprobs, "refusal": None}


@pytest.mark.parametrize(
    ("lacks", "reason"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("new", "stop")]
)
def test_why_an_answer_is_incomplete(lacks: str, reason: str) -> None:
    ended = {"status": "incomplete", "incomplete_details": {"reason": lacks}}
    assert said(spoken(TEXT), **ended)["choices"][0]["finish_reason"] == reason
    assert streamed(spoken(TEXT), **ended)["choices"][0]["finish_reason"] == reason


def test_what_the_provider_ran_is_left_out_and_listed() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    body = encoded(answer(search, spoken(TEXT)))
    assert responses_answer_to_chat(body).dropped == ("output[].type=web_search_call",)
    translator = ResponsesStreamToChat(include_usage=True)
    begun = {"type": "response.output_item.added", "output_index": 0, "item": search}
    translator.feed(SseEvent(b"", encoded(begun)))
    assert translator.dropped == ("output[].type=web_search_call",)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "Down."}}, "error"),
        ({"status": "queued"}, "status"),
        ({"status": "in_progress"}, "status"),
        ({"output": None}, "output"),
        ({"output": [{"type": "message", "content": 1}]}, "output[0].content"),
    ],
)
def test_what_is_no_whole_answer_cannot_be_read(more: Json, field: str) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        responses_answer_to_chat(encoded({**answer(), **more}))
    assert caught.value.field == field


# --- streams --------------------------------------------------------------------------------------------------------


def test_items_that_come_whole_are_told_whole() -> None:
    items = [REASONING, spoken({**TEXT, "annotations": [CITED]}, {"type": "refusal", "refusal": "No."}), FUNCTION_CALL]
    events: list[Json] = [{"type": "response.created", "response": answer()}]
    for at, item in enumerate(items):
        begun = {**item, "content": [], "arguments": ""} if item["type"] != "reasoning" else item
        events.append({"type": "response.output_item.added", "output_index": at, "item": begun})
        events.append({"type": "response.output_item.done", "output_index": at, "item": item})
    events.append({"type": "response.completed", "response": answer()})
    stream = b"".join([b"data: " + encoded(event) + b"\n\n" for event in events])
    message = completion(fed(ResponsesStreamToChat(include_usage=True), stream))["choices"][0]["message"]
    assert (message["content"], message["refusal"], message["reasoning_details"]) == ("Hi", "No.", DETAILS)
    assert message["tool_calls"] == [{"index": 0, **CHAT_CALL}]
    assert len(message["annotations"]) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Too many.", "param": None},
        {"type": "error", "error": {"type": "requests", "code": "rate_limit_exceeded", "message": "Too many."}},
        {
            "type": "response.failed",
            "response": {"error": {"code": "rate_limit_exceeded", "message": "Too many."}},
        },
    ],
)
def test_every_spelling_of_an_error(event: Json) -> None:
    translator = ResponsesStreamToChat(include_usage=True)
    frame = translator.feed(SseEvent(b"", encoded(event)))
    made = completion(frame)
    assert (made["error"]["code"], made["error"]["message"]) == ("rate_limit_exceeded", "Too many.")
    assert b'"choices"' not in frame, "some SDKs take what has them for a chunk like any other"
    assert translator.failed
    assert translator.feed(SseEvent(b"", b"{}")) == b""


def test_comments_pass_and_a_late_done_says_nothing() -> None:
    translator = ResponsesStreamToChat(include_usage=True)
    assert translator.feed(SseEvent(b"", None)) == b": ping\n\n"
    assert translator.feed(SseEvent(b"", b"[DONE]")) == b""
    with pytest.raises(UnreadableAnswer):
        translator.feed(SseEvent(b"", b"["))
