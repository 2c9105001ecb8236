"""Streams of chat chunks, told as the events of a response."""

import json
from typing import Any

import pytest

from gateway.core.sse import SseEvent
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.responses import item_writer
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from tests.core.translation.responses.said import CALL, Json, data_of, encoded, fed, response_of

HEAD = {"id": "chat_1", "object": "chat.completion.chunk", "created": 7, "model": "gpt"}


def chunk(delta: Json, finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + encoded({**HEAD, "choices": [choice], **more}) + b"\n\n"


def call(index: int, arguments: str = "", **more: Any) -> Json:
    named = {key: more.pop(key) for key in ("name",) if key in more}
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments, **named}, **more}]}


DONE = b"data: [DONE]\n\n"
USAGE = b"data: " + encoded({**HEAD, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}) + b"\n\n"


def told(*pieces: bytes) -> bytes:
    return fed(ChatStreamToResponses(), b"".join(pieces))


def types(stream: bytes) -> list[str]:
    return [data["type"].removeprefix("response.") for data in data_of(stream)]


def test_the_events_of_a_text_in_their_order() -> None:
    stream = told(chunk({"role": "assistant", "content": ""}), chunk({"content": "Hel"}), chunk({"content": "lo"}))
    assert types(stream) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
    ]
    stream = told(chunk({"content": "Hello"}), chunk({}, "stop"), USAGE, DONE)
    assert types(stream)[5:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    whole = response_of(stream)
    assert whole["output"][0]["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ]
    assert (whole["id"], whole["created_at"], whole["model"], whole["status"]) == ("chat_1", 7, "gpt", "completed")
    assert whole["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }


def test_the_events_of_thoughts_and_of_a_call_in_their_order() -> None:
    stream = told(
        chunk({"reasoning_content": "Hm"}),
        chunk({"reasoning_content": "."}),
        chunk(call(0, name="weather", id="call_1", type="function")),
        chunk(call(0, '{"city": ')),
        chunk(call(0, '"Rome"}')),
        chunk({}, "tool_calls"),
        DONE,
    )
    assert types(stream)[2:] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    thought, called = response_of(stream)["output"]
    assert thought["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert {key: called[key] for key in CALL} == CALL


def test_summaries_are_parts_of_one_item_that_ends_with_what_is_encrypted() -> None:
    def detail(**said: Any) -> bytes:
        return chunk({"reasoning_details": [{"format": "openai-responses-v1", **said}]})

    stream = told(
        detail(type="reasoning.summary", summary="Fir", index=0),
        detail(type="reasoning.summary", summary="st.", index=0),
        detail(type="reasoning.summary", summary="Then.", index=1),
        detail(type="reasoning.encrypted", data="gAAA", id="rs_1", index=2),
        chunk({"content": "Hi"}, "stop"),
        DONE,
    )
    assert types(stream)[2:12] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    item = response_of(stream)["output"][0]
    assert [part["text"] for part in item["summary"]] == ["First.", "Then."]
    assert item["encrypted_content"] == "gAAA"


def test_woven_calls_stay_open_side_by_side() -> None:
    stream = told(
        chunk(call(0, '{"a"', name="f", id="1")),
        chunk(call(1, '{"b"', name="g", id="2")),
        chunk(call(0, ": 1}")),
        chunk(call(1, ": 2}")),
        chunk({"content": "After."}),
        chunk({}, "tool_calls"),
        DONE,
    )
    calls = response_of(stream)["output"]
    assert [(item["type"], item.get("arguments")) for item in calls] == [
        ("function_call", '{"a": 1}'),
        ("function_call", '{"b": 2}'),
        ("message", None),
    ]


def test_a_call_waits_for_its_name_and_has_an_id_and_arguments_in_any_case() -> None:
    stream = told(chunk(call(0, "{")), chunk(call(0, "}", name="f")), chunk(call(1, name="g")), chunk({}, "stop"), DONE)
    first, second = response_of(stream)["output"]
    assert (first["name"], first["arguments"], first["call_id"]) == ("f", "{}", first["id"])
    assert (second["name"], second["arguments"]) == ("g", "{}")


def test_a_refusal_is_a_part_of_its_own_and_citations_belong_to_their_text() -> None:
    place = {"start_index": 0, "end_index": 2, "url": "https://a.example", "title": "A"}
    stream = told(
        chunk({"content": "Hi"}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": place}, {"type": "file"}]}),
        chunk({"refusal": "No."}, "stop"),
        DONE,
    )
    text, refusal = response_of(stream)["output"][0]["content"]
    assert text["annotations"] == [{"type": "url_citation", **place}]
    assert refusal == {"type": "refusal", "refusal": "No."}


@pytest.mark.parametrize(("reason", "lacks"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_off_is_incomplete(reason: str, lacks: str) -> None:
    whole = response_of(told(chunk({"content": "Hel"}), chunk({}, reason), DONE))
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": lacks})
    assert whole["output"][0]["status"] == "incomplete"


def test_an_error_fails_the_response_and_makes_sdks_raise() -> None:
    error = {"message": "Too many.", "type": "requests", "code": "rate_limit_exceeded", "param": None}
    translator = ChatStreamToResponses()
    stream = fed(translator, chunk({"content": "Hel"}) + chunk({}, "error", error=error) + chunk({"content": "lo"}))
    failed, raised = data_of(stream)[-2:]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "Too many."}
    assert (raised["type"], raised["message"], raised["error"]) == ("error", "Too many.", error)
    assert (translator.failed, translator.finished) == (True, False)


def test_an_error_before_anything_else() -> None:
    stream = told(b'event: error\ndata: {"error": "down"}\n\n')
    assert types(stream) == ["created", "in_progress", "failed", "error"]


def test_the_settings_of_the_request_are_repeated() -> None:
    request = encoded({"instructions": "Be brief.", "temperature": 0.5, "tools": [{"type": "x"}], "store": True})
    source = chunk({"content": "Hi"}, "stop") + DONE
    stream = fed(ChatStreamToResponses(request=request), source)
    answer = {**HEAD, "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    whole = json.loads(chat_answer_to_responses(encoded(answer), request=request).body)
    assert response_of(stream) == whole
    assert (whole["instructions"], whole["temperature"], whole["tools"]) == ("Be brief.", 0.5, [{"type": "x"}])
    assert whole["store"] is False
    assert data_of(stream)[0]["response"]["instructions"] == "Be brief."


def test_comments_pass_and_other_choices_are_lost() -> None:
    other = b"data: " + encoded({**HEAD, "choices": [{"index": 1, "delta": {"content": "x"}}]}) + b"\n\n"
    translator = ChatStreamToResponses()
    stream = fed(translator, b": wait\n\n" + other + chunk({"content": "Hi"}, "stop") + DONE)
    assert stream.startswith(b": ping\n\n")
    assert response_of(stream)["output"][0]["content"][0]["text"] == "Hi"
    assert translator.dropped == ("choices[]",)


def test_a_stream_that_says_why_it_ended_is_whole_without_done() -> None:
    assert response_of(told(chunk({"content": "Hi"}), chunk({}, "stop")))["status"] == "completed"
    assert types(told(chunk({"content": "Hi"})))[-1] == "output_text.delta"


def test_what_is_no_chunk_cannot_be_read() -> None:
    with pytest.raises(UnreadableAnswer):
        ChatStreamToResponses().feed(SseEvent(b"", b"{"))


def test_what_is_repeated_at_the_end_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_writer, "HELD_CHARS_MAX", 3)
    with pytest.raises(UnreadableAnswer):
        told(chunk({"content": "four"}))
