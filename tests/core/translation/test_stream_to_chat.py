"""Streams of Anthropic's messages, told as chat chunks."""

import json
from typing import Any

import pytest

from gateway.core.sse import SseEvent, SseParser
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.stream_to_chat import StreamToChat
from tests.core.translation.accumulation import completion


def event(data: dict[str, Any]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def start(**usage: Any) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
    }
    return event({"type": "message_start", "message": message})


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    begins = event({"type": "content_block_start", "index": index, "content_block": begun})
    pieces = [event({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas]
    return begins + b"".join(pieces) + event({"type": "content_block_stop", "index": index})


def text_block(index: int, *pieces: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, *[{"type": "text_delta", "text": piece} for piece in pieces])


def stop(reason: str, *, sequence: str | None = None, details: Any = None, **usage: Any) -> bytes:
    delta = {"stop_reason": reason, "stop_sequence": sequence, "stop_details": details}
    return event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5, **usage}})


END = event({"type": "message_stop"})
PING = event({"type": "ping"})


def told(stream: bytes, *, include_usage: bool = True) -> tuple[bytes, StreamToChat]:
    translator = StreamToChat(created=1_700_000_000, include_usage=include_usage)
    return b"".join([translator.feed(event) for event in SseParser().feed(stream)]), translator


def chunks(stream: bytes, **options: Any) -> list[Any]:
    lines = told(stream, **options)[0].decode().split("\n\n")[:-1]
    return [json.loads(line[6:]) if line.startswith("data: {") else line for line in lines]


def test_the_conversation_on_the_wire() -> None:
    stream = start() + text_block(0, "Hel", "lo.") + stop("end_turn") + END
    heard = chunks(stream)
    head = {"id": "msg_1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "claude"}
    assert all(chunk.items() >= head.items() for chunk in heard[:-1])
    deltas = [chunk["choices"][0]["delta"] for chunk in heard[:-2]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo."}, {}]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in heard[:-2]]
    assert reasons == [None, None, None, "stop"]
    assert heard[-2]["choices"] == []
    assert heard[-2]["usage"]["total_tokens"] == 15
    assert heard[-1] == "data: [DONE]"


def test_the_usage_chunk_comes_only_where_it_is_asked_for() -> None:
    heard = chunks(start() + stop("end_turn") + END, include_usage=False)
    assert [chunk for chunk in heard[:-1] if "usage" in chunk] == []


def test_the_last_usage_holds() -> None:
    stream = start(cache_read_input_tokens=7) + stop("end_turn", input_tokens=90, cache_read_input_tokens=None) + END
    usage = completion(told(stream)[0])["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (97, 7)


def test_thinking_then_text_then_calls() -> None:
    stream = (
        start()
        + block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "H"},
            {"type": "thinking_delta", "thinking": "mm."},
            {"type": "signature_delta", "signature": "c2ln"},
        )
        + block(1, {"type": "redacted_thinking", "data": "ZW5j"})
        + text_block(2, "A")
        + block(
            3,
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"city": '},
            {"type": "input_json_delta", "partial_json": '"Rome"}'},
        )
        + block(4, {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}})
        + stop("tool_use")
        + END
    )
    message = completion(told(stream)[0])["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": "A",
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
                "index": 0,
                "id": "toolu_1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
            },
            {"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ],
    }


def test_citations_come_once_and_last() -> None:
    web = {"type": "web_search_result_location", "url": "https://a.example", "title": "A", "cited_text": "a"}
    cited: list[dict[str, Any]] = [
        {"type": "citations_delta", "citation": web},
        {"type": "text_delta", "text": "it is."},
    ]
    page = {"type": "citations_delta", "citation": {"type": "page_location"}}
    stream = (
        start()
        + text_block(0, "Well, ")
        + block(1, {"type": "text", "text": "", "citations": []}, *cited, page)
        + stop("end_turn")
        + END
    )
    heard, translator = told(stream)
    place = completion(heard)["choices"][0]["message"]["annotations"][0]["url_citation"]
    assert (place["start_index"], place["end_index"], place["url"]) == (6, 12, "https://a.example")
    assert translator.dropped == ("content[].citations[].type=page_location",)


def test_blocks_that_a_chat_cannot_tell_are_passed_over_and_listed() -> None:
    stream = (
        start()
        + block(
            0,
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"q":1}'},
        )
        + text_block(1, "A")
        + stop("end_turn")
        + END
    )
    heard, translator = told(stream)
    assert completion(heard)["choices"][0]["message"] == {"role": "assistant", "content": "A"}
    assert translator.dropped == ("content[].type=server_tool_use",)


def test_a_refusal_is_explained() -> None:
    details = {"type": "refusal", "category": None, "explanation": "Not this."}
    choice = completion(told(start() + stop("refusal", details=details) + END)[0])["choices"][0]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "Not this.")


def test_pings_and_comments_keep_the_connection_alive() -> None:
    assert told(PING + b": keep\n\n")[0] == b": ping\n\n: ping\n\n"


def test_events_of_other_kinds_say_nothing() -> None:
    assert told(event({"type": "message_pause"}))[0] == b""


@pytest.mark.parametrize(
    ("type_", "code"),
    [("overloaded_error", "overloaded"), ("rate_limit_error", "rate_limit_exceeded"), ("strange", None)],
)
def test_an_error_ends_the_stream_as_an_error(type_: str, code: str | None) -> None:
    error = event({"type": "error", "error": {"type": type_, "message": "Too busy."}})
    heard, translator = told(start() + text_block(0, "A") + error + stop("end_turn") + END)
    made = completion(heard)
    assert (made["error"]["message"], made["error"]["code"]) == ("Too busy.", code)
    assert made["choices"][0]["finish_reason"] is None, "a chunk that ends well would hide the error from some SDKs"
    assert not made["done"]
    assert (translator.failed, translator.finished) == (True, False)


@pytest.mark.parametrize("events", range(1, 6))
def test_a_stream_that_ends_early_is_visibly_unfinished(events: int) -> None:
    stream = start() + text_block(0, "Hel", "lo.") + stop("end_turn") + END
    early = b"\n\n".join(stream.split(b"\n\n")[:events]) + b"\n\n"
    heard, translator = told(early)
    made = completion(heard)
    assert made["choices"][0]["finish_reason"] is None
    assert not made["done"]
    assert not translator.finished


def test_nothing_is_said_after_the_end() -> None:
    stream = start() + stop("end_turn") + END
    assert told(stream + PING + text_block(0, "x"))[0] == told(stream)[0]


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"a":' * 100_000])
def test_data_that_is_no_event_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        StreamToChat(created=1, include_usage=True).feed(SseEvent(b"", data))


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"message_start"}',
        b'{"type":"message_start","message":[]}',
        b'{"type":"content_block_start","content_block":3}',
        b'{"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"x"}}',
        b'{"type":"content_block_delta","index":"x"}',
        b'{"type":"content_block_stop"}',
        b'{"type":"message_delta","usage":7,"delta":null}',
        b'{"type":"error","error":"x"}',
        b"{}",
    ],
)
def test_odd_events_do_no_harm(data: bytes) -> None:
    StreamToChat(created=1, include_usage=True).feed(SseEvent(b"", data))
