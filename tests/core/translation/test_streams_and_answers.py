"""A translated stream adds up to what the translated whole answer says, however the source is cut."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.sse import SseParser
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages
from tests.core.translation.accumulation import completion, message
from tests.core.translation.conversations import chat_answers, message_answers
from tests.core.translation.streaming import chat_stream, cutter, messages_stream

CREATED = 1_700_000_000
CUTS = st.lists(st.integers(0, 10_000), max_size=6)

Json = dict[str, Any]


def fed(translator: StreamToChat | StreamToMessages, stream: bytes, cuts: list[int]) -> bytes:
    parser = SseParser()
    told: list[bytes] = []
    at = 0
    for cut in (*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)):
        told += [translator.feed(event) for event in parser.feed(stream[at:cut])]
        at = cut
    return b"".join(told)


def added_up(stream: bytes) -> Json:
    """A completion, without what only streams have or leave out."""
    made = completion(stream)
    said = made["choices"][0]["message"]
    said["content"] = said["content"] or None
    said.setdefault("refusal", None)
    for call in said.get("tool_calls", ()):
        del call["index"]
    assert made.pop("done")
    return made | {"object": "chat.completion"}


@given(message_answers(), CUTS, CUTS)
def test_a_messages_stream_says_what_the_whole_answer_says(answer: Json, pieces: list[int], cuts: list[int]) -> None:
    whole = json.loads(answer_to_chat(json.dumps(answer).encode(), created=CREATED).body)
    translator = StreamToChat(created=CREATED, include_usage=True)
    stream = fed(translator, messages_stream(answer, cutter(pieces)), cuts)
    assert translator.finished
    made = added_up(stream)
    assert inputs_read(made) == inputs_read(whole)


def inputs_read(answer: Json) -> Json:
    """Arguments as what they spell: a stream spells them as the model did, an answer as its JSON does."""
    for call in answer["choices"][0]["message"].get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return answer


@given(chat_answers(), CUTS, CUTS)
def test_a_chat_stream_says_what_the_whole_answer_says(answer: Json, pieces: list[int], cuts: list[int]) -> None:
    whole = json.loads(answer_to_messages(json.dumps(answer).encode()).body)
    translator = StreamToMessages()
    stream = fed(translator, chat_stream(answer, cutter(pieces)), cuts)
    assert translator.finished
    assert translator.close() == b""
    made = message(stream)
    assert made.pop("done")
    assert made == whole


@given(chat_answers(), CUTS)
def test_a_stream_comes_back_from_the_other_dialect(answer: Json, pieces: list[int]) -> None:
    source = chat_stream(answer, cutter(pieces))
    there = fed(StreamToMessages(), source, [])
    back = added_up(fed(StreamToChat(created=answer["created"], include_usage=True), there, []))
    expected = {key: value for key, value in answer.items() if key != "service_tier"}
    del back["choices"][0]["native_finish_reason"]
    back.pop("service_tier", None)
    assert inputs_read(back) == inputs_read(expected)


@given(chat_answers(), CUTS, st.integers(0, 10_000))
def test_a_chat_stream_that_breaks_off_is_never_taken_for_a_whole_one(
    answer: Json, pieces: list[int], end: int
) -> None:
    source = chat_stream(answer, cutter(pieces))
    reason_at = source.index(b'"finish_reason"')
    translator = StreamToMessages()
    fed(translator, source[: end % reason_at], [])
    assert translator.close() == b""
    assert not translator.finished


@given(message_answers(), CUTS, st.integers(0, 10_000))
def test_a_messages_stream_that_breaks_off_is_never_taken_for_a_whole_one(
    answer: Json, pieces: list[int], end: int
) -> None:
    source = messages_stream(answer, cutter(pieces))
    reason_at = source.index(b"event: message_delta")
    told = fed(StreamToChat(created=CREATED, include_usage=True), source[: end % reason_at], [])
    made = completion(told)
    assert (made["choices"][0]["finish_reason"], made["done"]) == (None, False)


@given(st.lists(st.tuples(st.integers(0, 2), st.text('{}" :1x', max_size=4)), max_size=12))
def test_woven_calls_keep_every_piece(pieces: list[tuple[int, str]]) -> None:
    """Whatever order their pieces come in: what is not told is listed."""
    chunks = [
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "id": f"id{index}", "function": said}]}}]}
        for index, text in pieces
        for said in [{"name": f"f{index}", "arguments": text}]
    ]
    source = b"".join([b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]) + b"data: [DONE]\n\n"
    translator = StreamToMessages()
    told = message(fed(translator, source, [])) if pieces else {"content": []}
    spelled = {index: "".join([text for at, text in pieces if at == index]) for index, _ in pieces}
    assert sorted(block["name"] for block in told["content"]) == sorted(f"f{index}" for index in spelled)
    if not translator.dropped:
        for block in told["content"]:
            whole = spelled[int(block["name"][1:])]
            assert block["input"] == read(whole)


def read(spelled: str) -> Any:
    try:
        return json.loads(spelled) if spelled else {}
    except ValueError:
        return {"unfinished": spelled}
