"""Whatever comes in: an answer, a refusal that names a field, or an answer that cannot be read. Never anything else."""

import copy
import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.sse import SseEvent
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import error_to_chat, error_to_messages
from gateway.core.translation.fields import UnreadableAnswer
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages
from tests.core.translation.accumulation import events
from tests.core.translation.conversations import (
    VALUES,
    chat_answers,
    chat_requests,
    message_answers,
    messages_requests,
)
from tests.core.translation.streaming import chat_stream, cutter, messages_stream

ODD = VALUES | st.sampled_from([{}, [], [[]], [{}], {"type": "text"}, [{"type": "tool_use"}], -1, 1e308, "\x00", ""])


@st.composite
def spoiled(draw: st.DrawFn, whole: Any) -> Any:
    """The same with one value in it replaced, or one key taken out or renamed."""
    made = copy.deepcopy(whole)
    places: list[tuple[Any, Any]] = []
    waiting = [made]
    while waiting:
        value = waiting.pop()
        keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        places += [(value, key) for key in keys]
        waiting += [value[key] for key in keys]
    holder, key = draw(st.sampled_from(places))
    if isinstance(holder, dict) and draw(st.booleans()):
        value = holder.pop(key)
        if draw(st.booleans()):
            holder[draw(st.sampled_from([*"ab", "type", "content", "index", "text"]))] = value
    else:
        holder[key] = draw(ODD)
    return made


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(chat_requests().flatmap(spoiled), st.booleans(), st.booleans())
def test_odd_chat_requests(request: Any, drop: bool, adaptive: bool) -> None:
    target = MessagesTarget(max_tokens_default=4096, adaptive_thinking=adaptive, system_in_place=adaptive)
    with suppress(InvalidRequest):
        json.loads(request_to_messages(encoded(request), target, drop_unsupported=drop).body)


@given(messages_requests().flatmap(spoiled), st.booleans(), st.booleans())
def test_odd_messages_requests(request: Any, drop: bool, extended: bool) -> None:
    with suppress(InvalidRequest):
        json.loads(request_to_chat(encoded(request), ChatTarget(extended=extended), drop_unsupported=drop).body)


@given(chat_answers().flatmap(spoiled))
def test_odd_chat_answers(answer: Any) -> None:
    with suppress(UnreadableAnswer):
        json.loads(answer_to_messages(encoded(answer)).body)
    json.loads(error_to_messages(500, encoded(answer)).body)


@given(message_answers().flatmap(spoiled))
def test_odd_messages_answers(answer: Any) -> None:
    with suppress(UnreadableAnswer):
        json.loads(answer_to_chat(encoded(answer), created=1).body)
    json.loads(error_to_chat(500, encoded(answer)).body)


CUT = cutter([1, 3])


@given(chat_answers(), st.data())
def test_odd_chat_streams(answer: Any, data: st.DataObject) -> None:
    said = events(chat_stream(answer, CUT))
    at = data.draw(st.integers(0, len(said) - 2))
    odd = encoded(data.draw(spoiled(json.loads(said[at].data or b""))))
    translator = StreamToMessages()
    with suppress(UnreadableAnswer):
        for event in (*said[:at], SseEvent(b"", odd), *said[at + 1 :]):
            events(translator.feed(event))
        events(translator.close())


@given(message_answers(), st.data())
def test_odd_messages_streams(answer: Any, data: st.DataObject) -> None:
    said = events(messages_stream(answer, CUT))
    at = data.draw(st.integers(0, len(said) - 1))
    odd = encoded(data.draw(spoiled(json.loads(said[at].data or b""))))
    translator = StreamToChat(created=1, include_usage=True)
    with suppress(UnreadableAnswer):
        for event in (*said[:at], SseEvent(b"", odd), *said[at + 1 :]):
            events(translator.feed(event))
