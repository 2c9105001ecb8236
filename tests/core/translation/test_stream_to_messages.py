"""Streams of chat chunks, told as Anthropic's events."""

import json
from typing import Any

import pytest

from gateway.core.sse import SseEvent, SseParser
from gateway.core.translation import block_writer
from gateway.core.translation.fields import UnreadableAnswer, read_arguments
from gateway.core.translation.stream_to_messages import StreamToMessages
from tests.core.translation.accumulation import events, message

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    said = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt", "choices": [choice], **more}
    return f"data: {json.dumps(said)}\n\n".encode()


def call(index: int | None, *, id: str | None = None, name: str | None = None, arguments: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"function": {"arguments": arguments, **({"name": name} if name else {})}}
    return {"tool_calls": [entry | ({"index": index} if index is not None else {}) | ({"id": id} if id else {})]}


def told(stream: bytes) -> tuple[bytes, StreamToMessages]:
    translator = StreamToMessages()
    heard = [translator.feed(event) for event in SseParser().feed(stream)]
    return b"".join([*heard, translator.close()]), translator


def content(*deltas: dict[str, Any]) -> list[dict[str, Any]]:
    stream = b"".join([chunk(delta) for delta in deltas]) + chunk(finish="stop") + DONE
    return message(told(stream)[0])["content"]  # type: ignore[no-any-return]


def test_the_conversation_on_the_wire() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    stream = (
        chunk({"role": "assistant", "content": ""})
        + chunk({"content": "Hel"})
        + chunk({"content": "lo."})
        + chunk(finish="stop")
        + chunk(choices=[], usage=usage)
        + DONE
    )
    heard = [json.loads(event.data or b"") for event in events(told(stream)[0])]
    assert [data["type"] for data in heard] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start = heard[0]["message"]
    assert (start["id"], start["model"], start["role"], start["content"]) == ("chatcmpl-1", "gpt", "assistant", [])
    assert (start["stop_reason"], start["usage"]["input_tokens"]) == (None, 0)
    assert heard[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert heard[-2]["usage"]["input_tokens"] == 6
    assert heard[-2]["usage"]["cache_read_input_tokens"] == 4
    assert heard[-2]["usage"]["output_tokens"] == 5


def test_thinking_then_text_then_calls() -> None:
    made = content(
        {"role": "assistant", "content": None},
        {"reasoning_content": "H"},
        {"reasoning": "mm."},
        {"content": "A"},
        call(0, id="call_1", name="weather"),
        call(0, arguments='{"city": '),
        call(0, arguments='"Rome"}'),
        call(1, id="call_2", name="time"),
    )
    assert made == [
        {"type": "thinking", "thinking": "Hmm.", "signature": ""},
        {"type": "text", "text": "A"},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Rome"}},
        {"type": "tool_use", "id": "call_2", "name": "time", "input": {}},
    ]


def test_a_call_is_told_as_it_comes() -> None:
    translator = StreamToMessages()
    feed = SseParser().feed
    translator.feed(feed(chunk(call(0, id="a", name="f", arguments='{"x":')))[0])
    assert b'"partial_json":"1"' in translator.feed(feed(chunk(call(0, arguments="1")))[0])


def test_calls_woven_into_each_other_come_one_after_another() -> None:
    made = content(
        call(0, id="a", name="f"),
        call(1, id="b", name="g"),
        call(0, arguments='{"x"'),
        call(1, arguments='{"y"'),
        {"content": "Meanwhile."},
        call(0, arguments=": 1}"),
        call(1, arguments=": 2}"),
    )
    assert made == [
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": "Meanwhile."},
    ]


def test_a_call_that_has_said_nothing_but_white_space_goes_on() -> None:
    made = content(
        call(0, id="a", name="f", arguments=" "),
        call(1, id="b", name="g"),
        call(0, arguments='{"x": 1}'),
    )
    assert [(block["id"], block["input"]) for block in made] == [("a", {"x": 1}), ("b", {})]


def test_calls_without_indices_or_all_numbered_alike_are_told_apart_by_their_ids() -> None:
    for index in (0, None):
        made = content(
            call(index, id="a", name="f", arguments="{}"),
            call(index, id="b", name="f", arguments='{"x": 1}'),
        )
        assert [(block["id"], block["input"]) for block in made] == [("a", {}), ("b", {"x": 1})]


def test_calls_without_ids_get_some() -> None:
    made = content(call(0, name="f", arguments="{}"), call(1, name="f", arguments="{}"))
    assert [block["id"] for block in made] == ["chatcmpl-1_0", "chatcmpl-1_1"]


def test_a_name_that_comes_late_is_waited_for() -> None:
    made = content(call(0, id="a"), call(0, name="f", arguments="{}"))
    assert made == [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]


def test_text_after_a_call_is_a_block_of_its_own() -> None:
    made = content({"content": "A"}, call(0, id="a", name="f", arguments="{}"), {"content": "B"})
    assert [block.get("text") for block in made] == ["A", None, "B"]


def test_pieces_of_a_call_that_has_ended_are_listed() -> None:
    stream = (
        chunk(call(0, id="a", name="f", arguments="{}"))
        + chunk({"content": "B"})
        + chunk(call(0, arguments="\n"))
        + chunk(call(0, arguments="x"))
        + chunk(finish="stop")
    )
    heard, translator = told(stream)
    assert message(heard)["content"][0]["input"] == {}
    assert translator.dropped == ("choices[].message.tool_calls[].function.arguments",)


def test_what_is_held_back_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_writer, "HELD_CHARS_MAX", 10)
    with pytest.raises(UnreadableAnswer, match="more than 10 characters"):
        content(call(0, id="a", name="f", arguments="{"), *[call(0, arguments=" ")] * 10)


def test_signed_thinking() -> None:
    made = content(
        {"reasoning": "H", "reasoning_details": [{"type": "reasoning.text", "text": "H", "index": 0}]},
        {"reasoning": "mm.", "reasoning_details": [{"type": "reasoning.text", "text": "mm.", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "index": 0}], "content": ""},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "ZW5j", "index": 1}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "c2ln", "index": 2}]},
        {"content": "A", "reasoning_details": []},
    )
    assert made == [
        {"type": "thinking", "thinking": "Hmm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "text", "text": "A"},
    ]


def test_a_signature_after_its_block_is_listed() -> None:
    details = [{"type": "reasoning.text", "text": "Hmm.", "index": 0}]
    late = [{"type": "reasoning.text", "signature": "c2ln", "index": 0}]
    stream = chunk({"reasoning_details": details}) + chunk({"content": "A"}) + chunk({"reasoning_details": late})
    heard, translator = told(stream + chunk(finish="stop") + DONE)
    assert message(heard)["content"][0] == {"type": "thinking", "thinking": "Hmm.", "signature": ""}
    assert translator.dropped == ("choices[].message.reasoning_details",)


def test_a_refusal_is_text_and_a_reason() -> None:
    stream = chunk({"refusal": "I will"}) + chunk({"refusal": " not."}) + chunk(finish="stop") + DONE
    made = message(told(stream)[0])
    assert (made["content"], made["stop_reason"]) == ([{"type": "text", "text": "I will not."}], "refusal")


def test_annotations_are_cited_by_the_text_that_is_being_told() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    made = content({"content": "A"}, {"annotations": [note]})
    assert made[0]["citations"][0]["url"] == "https://a.example"


def test_the_providers_own_reason_is_told_where_it_fits() -> None:
    choice = {
        "index": 0,
        "delta": {},
        "finish_reason": "stop",
        "native_finish_reason": "stop_sequence",
        "stop_reason": "END",
    }
    made = message(told(chunk({"content": "A"}) + chunk(choices=[choice]) + DONE)[0])
    assert (made["stop_reason"], made["stop_sequence"]) == ("stop_sequence", "END")


def test_comments_become_pings() -> None:
    assert told(b": OPENROUTER PROCESSING\n\n")[0] == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_only_the_first_choice_is_told() -> None:
    other = {"index": 1, "delta": {"content": "B"}, "finish_reason": None}
    heard, translator = told(chunk({"content": "A"}) + chunk(choices=[other]) + chunk(finish="stop") + DONE)
    assert message(heard)["content"] == [{"type": "text", "text": "A"}]
    assert translator.dropped == ("choices[]",)


def test_usage_of_groq_and_of_the_last_chunk_of_all() -> None:
    groq = {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assert (
        message(told(chunk({"content": "A"}) + chunk(finish="stop", x_groq=groq) + DONE)[0])["usage"]["input_tokens"]
        == 3
    )
    both = chunk(usage={"prompt_tokens": 1, "completion_tokens": 1}) + chunk(
        finish="stop", usage={"prompt_tokens": 4, "completion_tokens": 2}
    )
    assert message(told(both + DONE)[0])["usage"]["input_tokens"] == 4


ERRORS = [
    (chunk(error={"message": "Busy.", "code": 429}), "rate_limit_error"),
    (b'event: error\ndata: {"error":{"message":"Busy.","type":"invalid_request_error"}}\n\n', "invalid_request_error"),
    (b'data: {"error":{"message":"Busy.","type":"server_error","code":null}}\n\n', "api_error"),
    (b'data: {"error":{"message":"Busy.","code":"insufficient_credits"}}\n\n', "billing_error"),
    (b'data: {"error":{"message":"Busy.","code":"strange"}}\n\n', "api_error"),
    (b'data: {"error":"Busy."}\n\n', "api_error"),
]


@pytest.mark.parametrize(("error", "type_"), ERRORS)
def test_an_error_ends_the_stream_as_an_error(error: bytes, type_: str) -> None:
    heard, translator = told(chunk({"content": "A"}) + error + chunk(finish="stop") + DONE)
    made = message(heard)
    assert made["error"] == {"type": type_, "message": "Busy."}
    assert made["stop_reason"] is None
    assert not made["done"]
    assert (translator.failed, translator.finished) == (True, False)


def test_an_error_may_be_all_there_is() -> None:
    assert message(told(ERRORS[2][0])[0])["error"]["message"] == "Busy."


def test_a_stream_that_ends_early_is_visibly_unfinished() -> None:
    heard, translator = told(chunk({"role": "assistant"}) + chunk({"content": "A"}))
    made = message(heard)
    assert (made["stop_reason"], made["done"], translator.finished) == (None, False, False)
    assert told(b"")[0] == b""


def test_a_reason_without_done_is_an_end_and_so_is_done_without_a_reason() -> None:
    for end in (chunk(finish="length"), chunk(finish="length") + DONE):
        made = message(told(chunk({"content": "A"}) + end)[0])
        assert (made["stop_reason"], made["done"]) == ("max_tokens", True)
    made = message(told(chunk({"content": "A"}) + DONE)[0])
    assert (made["stop_reason"], made["done"]) == ("end_turn", True)


def test_nothing_is_said_after_the_end() -> None:
    stream = chunk({"content": "A"}) + chunk(finish="stop") + DONE
    assert told(stream + chunk({"content": "B"}) + b": x\n\n" + DONE)[0] == told(stream)[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1]",
        b'{"choices":{}}',
        b'{"choices":[{"delta":[]}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":"x"}]}}]}',
        b'{"choices":[{"delta":{"content":3}}]}',
        b'{"choices":' + b"[" * 100_000,
    ],
)
def test_data_that_is_no_chunk_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        StreamToMessages().feed(SseEvent(b"", data))


def test_woven_calls_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a call's arguments are complete is read from all of them, so it may not be asked with every piece."""
    looked: list[str] = []

    def read(text: str) -> Any:
        looked.append(text)
        return read_arguments(text)

    monkeypatch.setattr("gateway.core.translation.block_writer.read_arguments", read)
    content(
        call(0, id="a", name="f", arguments="{"),
        *[{"content": "x", **call(0, arguments=" ")} for _ in range(50)],
        *[{"reasoning_content": "x", **call(1, id="b", name="g", arguments=" ")} for _ in range(50)],
    )
    assert looked == ["{"]
