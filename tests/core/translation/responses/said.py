"""Responses in a few words, what becomes of them, and their streams put together."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.sse import SseParser
from gateway.core.translation.fields import Translated
from gateway.core.translation.requests_to_chat import ChatTarget
from gateway.core.translation.requests_to_messages import MessagesTarget
from gateway.core.translation.responses.requests_from_chat import ResponsesTarget, chat_request_to_responses
from gateway.core.translation.responses.requests_to_chat import responses_request_to_chat
from gateway.core.translation.responses.through_chat import (
    messages_request_to_responses,
    responses_request_to_messages,
)
from tests.core.translation.accumulation import events

Json = dict[str, Any]

EXTENDED = ChatTarget()
PLAIN = ChatTarget(extended=False)
RESPONSES = ResponsesTarget()
MESSAGES = MessagesTarget(max_tokens_default=4096, adaptive_thinking=True, system_in_place=True)
HI = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city": "Rome"}'}
CHAT_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
REASONING = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
    "encrypted_content": "gAAA",
}
DETAILS = [
    {"type": "reasoning.summary", "summary": "First.", "id": "rs_1", "format": "openai-responses-v1", "index": 0},
    {"type": "reasoning.summary", "summary": "Then.", "id": "rs_1", "format": "openai-responses-v1", "index": 1},
    {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 2},
]


def encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


Translate = Callable[[bytes, bool], Translated]


def to_chat(target: ChatTarget = EXTENDED) -> Translate:
    return lambda body, drop: responses_request_to_chat(body, target, drop_unsupported=drop)


def from_chat(target: ResponsesTarget = RESPONSES) -> Translate:
    return lambda body, drop: chat_request_to_responses(body, target, drop_unsupported=drop)


def to_messages(target: MessagesTarget = MESSAGES) -> Translate:
    return lambda body, drop: responses_request_to_messages(body, target, drop_unsupported=drop)


def from_messages(target: ResponsesTarget = RESPONSES) -> Translate:
    return lambda body, drop: messages_request_to_responses(body, target, drop_unsupported=drop)


def made(translate: Translate, request: Json) -> Json:
    return json.loads(translate(encoded(request), False).body)  # type: ignore[no-any-return]


def dropped(translate: Translate, request: Json) -> tuple[Json, tuple[str, ...]]:
    told = translate(encoded(request), True)
    return json.loads(told.body), told.dropped


def refused(translate: Translate, request: Json) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        translate(encoded(request), False)
    assert caught.value.param is None or f"`{caught.value.param}`" in str(caught.value)
    return caught.value.param


def asked(*items: Json, **more: Any) -> Json:
    return {"model": "gpt", "input": list(items) or [HI], **more}


def chat(*messages: Json, **more: Any) -> Json:
    return {"model": "gpt", "messages": list(messages) or [HI], **more}


# --- streams --------------------------------------------------------------------------------------------------------


def fed(translator: Any, stream: bytes) -> bytes:
    told = [translator.feed(event) for event in SseParser().feed(stream)]
    return b"".join([*told, translator.close()])


def data_of(stream: bytes) -> list[Json]:
    """Of events that are named as their data is, and numbered one by one."""
    found: list[Json] = []
    for event in events(stream):
        if event.data is None:
            continue
        data = json.loads(event.data)
        assert event.event == data["type"], "the event is named as its data is"
        assert data["sequence_number"] == len(found), "numbers have no gaps"
        found.append(data)
    return found


_PARTS = {"output_text": "text", "refusal": "refusal", "reasoning_text": "text", "summary_text": "text"}


def response_of(stream: bytes) -> Json:
    """The response that its last event holds, which must be what the events before it add up to."""
    said = data_of(stream)
    assert [data["type"] for data in said[:2]] == ["response.created", "response.in_progress"]
    items: dict[int, Json] = {}
    done: dict[int, Json] = {}
    parts: dict[tuple[int, str, int], str] = {}
    open_parts: set[tuple[int, str, int]] = set()
    arguments: dict[int, str] = {}
    for data in said[2:-1]:
        type, index = data["type"].removeprefix("response."), data["output_index"]
        if type == "output_item.added":
            assert index == len(items), "items begin one after another"
            items[index] = data["item"]
            arguments[index] = ""
            continue
        assert index not in done, "nothing follows an item's end"
        if type == "output_item.done":
            done[index] = data["item"]
            assert data["item"]["id"] == items[index]["id"]
            assert not any(part[0] == index for part in open_parts)
            continue
        assert data["item_id"] == items[index]["id"]
        if type == "function_call_arguments.delta":
            arguments[index] += data["delta"]
        elif type == "function_call_arguments.done":
            assert data["arguments"] == arguments[index]
        elif type != "output_text.annotation.added":
            summary = "summary_index" in data
            at = (index, "summary" if summary else "content", data["summary_index" if summary else "content_index"])
            if type.endswith("part.added"):
                assert at not in parts
                parts[at] = ""
                open_parts.add(at)
            elif type.endswith(".delta"):
                assert at in open_parts
                parts[at] += data["delta"]
            elif type.endswith("part.done"):
                open_parts.remove(at)
                assert data["part"][_PARTS[data["part"]["type"]]] == parts[at]
            else:
                assert parts[at] == data["text" if "text" in data else "refusal"]
    last = said[-1]
    whole: Json = last["response"]
    assert last["type"] == f"response.{whole['status']}"
    assert whole["output"] == [done[index] for index in range(len(items))], "the last event repeats every item"
    for index, item in done.items():
        for kind in ("content", "summary"):
            texts = [part[_PARTS[part["type"]]] for part in item.get(kind) or ()]
            told = [parts[at] for at in sorted(parts) if at[:2] == (index, kind)]
            assert [text for text in texts if text] == told
    return whole
