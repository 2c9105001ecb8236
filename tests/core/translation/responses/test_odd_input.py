"""Whatever comes in: an answer, a refusal that names a field, or an answer that cannot be read. Never anything else."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.sse import SseEvent
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from gateway.core.translation.responses.through_chat import ResponsesStreamToMessages, responses_answer_to_messages
from tests.core.translation.accumulation import events
from tests.core.translation.conversations import chat_answers, chat_requests
from tests.core.translation.responses.drawn import response_answers, response_requests, response_stream
from tests.core.translation.responses.said import PLAIN, Translate, encoded, from_chat, to_chat, to_messages
from tests.core.translation.streaming import chat_stream, cutter
from tests.core.translation.test_odd_input import spoiled

CUT = cutter([1, 3])


@given(response_requests().flatmap(spoiled), st.booleans(), st.sampled_from([to_chat(), to_chat(PLAIN), to_messages()]))
def test_odd_responses_requests(request: Any, drop: bool, translate: Translate) -> None:
    with suppress(InvalidRequest):
        json.loads(translate(encoded(request), drop).body)


@given(chat_requests().flatmap(spoiled), st.booleans())
def test_odd_chat_requests(request: Any, drop: bool) -> None:
    with suppress(InvalidRequest):
        json.loads(from_chat()(encoded(request), drop).body)


@given(response_answers().flatmap(spoiled))
def test_odd_responses(answer: Any) -> None:
    for translate in (responses_answer_to_chat, responses_answer_to_messages):
        with suppress(UnreadableAnswer):
            json.loads(translate(encoded(answer)).body)


@given(chat_answers().flatmap(spoiled))
def test_odd_chat_answers(answer: Any) -> None:
    with suppress(UnreadableAnswer):
        json.loads(chat_answer_to_responses(encoded(answer), request=encoded(answer)).body)


@given(response_answers(), st.booleans(), st.data())
def test_odd_response_streams(answer: Any, through: bool, data: st.DataObject) -> None:
    translator = ResponsesStreamToMessages() if through else ResponsesStreamToChat(include_usage=True)
    feed_one_spoiled(translator, response_stream(answer, CUT), data)


@given(chat_answers(), st.data())
def test_odd_chat_streams(answer: Any, data: st.DataObject) -> None:
    feed_one_spoiled(ChatStreamToResponses(), chat_stream(answer, CUT).removesuffix(b"data: [DONE]\n\n"), data)


def feed_one_spoiled(translator: Any, stream: bytes, data: st.DataObject) -> None:
    said = events(stream)
    at = data.draw(st.integers(0, len(said) - 1))
    odd = encoded(data.draw(spoiled(json.loads(said[at].data or b""))))
    with suppress(UnreadableAnswer):
        for event in (*said[:at], SseEvent(b"", odd), *said[at + 1 :]):
            events(translator.feed(event))
        events(translator.close())
