"""Recorded calls in the other dialect: every request and answer is translated, or refused with the name of a field.

Over the chats that are shipped, and over what they are in the messages dialect; where RECORDINGS_DIR is set, over real
traffic of both dialects as well. The tables below count what is refused of one set of it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from gateway.core.errors import InvalidRequest
from gateway.core.sse import SseEvent, SseParser
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import error_to_chat, error_to_messages
from gateway.core.translation.fields import Translated
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages
from tests.conformance.recorded import Recorded, expected_usage, own_usage, recorded, states_an_error

CREATED = 1_700_000_000
BUDGET = MessagesTarget(max_tokens_default=4096)
PLACED = MessagesTarget(max_tokens_default=4096, adaptive_thinking=True, system_in_place=True)
CHAT = ChatTarget()

Json = dict[str, Any]


def in_the_messages_dialect(row: Recorded) -> Recorded | None:
    """A chat that another provider might have been asked for; None where it cannot be said."""
    try:
        request = json.loads(request_to_messages(json.dumps(row.request).encode(), BUDGET).body)
    except InvalidRequest:
        return None
    if row.status >= 400:
        body = error_to_messages(row.status, row.body).body
    elif row.streamed:
        body = told(StreamToMessages(), row.body)
    else:
        body = answer_to_messages(row.body).body
    return row._replace(id=f"{row.id} translated", request=request, body=body)


def told(translator: StreamToChat | StreamToMessages, body: bytes) -> bytes:
    said = [translator.feed(event) for event in SseParser().feed(body)]
    if isinstance(translator, StreamToMessages):
        said.append(translator.close())
    return b"".join(said)


CHATS = list(recorded())
RECORDED_MESSAGES = list(recorded("anthropic-messages"))
MESSAGES = [*RECORDED_MESSAGES, *[row for chat in CHATS if (row := in_the_messages_dialect(chat))]]

REFUSED_CHATS = {
    "response_format.type=json_object": 4,  # Anthropic wants a schema
    "tools[].type=openrouter:web_search": 3,  # tools that a provider runs itself, and what steers them
    "tools[].type=openrouter:advisor": 2,
    "search_settings": 1,
    "web_search_options": 1,
    "provider": 3,  # whom OpenRouter may ask, and with which preset
    "preset": 1,
    "messages[].reasoning": 2,  # thinking that Anthropic has not signed
    "messages[].reasoning_content": 2,
    "moderation": 2,
    "service_tier=on_demand": 2,  # Groq's
    "thinking": 1,  # Z.ai's
    "frequency_penalty": 1,
    "reasoning_format": 1,  # "raw": thinking among the text
    "messages": 1,  # nothing but a system prompt
}
"""Of 224 recorded chats, by the first field that cannot be said."""

REFUSED_MESSAGES = {
    "messages[].content[].type=container_upload": 6,  # files and containers at the provider
    "messages[].content[].source.type=file": 1,
    "messages[].content[].content[].source.type=file": 2,
    "messages[].content[].type=server_tool_use": 5,  # tools that Anthropic ran, and is to run
    "messages[].content[].type=mcp_tool_use": 2,
    "mcp_servers": 1,
    "tools[].type=advisor_20260301": 4,
    "tools[].type=web_search_20250305": 4,
    "tools[].type=web_search_20260209": 1,
    "tools[].type=web_fetch_20250910": 1,
    "tools[].type=code_execution_20260120": 1,
    "tools[].type=memory_20250818": 1,
    "output_config.task_budget": 2,
}
"""The same of 158 recorded messages."""


def refusals(rows: list[Recorded], translate: Callable[[bytes], Translated]) -> Counter[str]:
    """By field and value. Raises whatever is no refusal."""
    found: Counter[str] = Counter()
    for row in rows:
        refused: InvalidRequest | None = None
        try:
            translate(json.dumps(row.request).encode())
        except InvalidRequest as error:
            refused = error
        if refused is not None:
            empty = refused.param in ("messages", "input")
            malformed = row.status == 400  # its own provider has refused it, too
            assert refused.reason == "unsupported_parameter" or empty or malformed, row.id
            found[_spelled(refused)] += 1
    return found


def _spelled(error: InvalidRequest) -> str:
    assert error.param
    value = re.search(r"` of `([^`]*)`", str(error))
    return re.sub(r"\[\d+\]", "[]", error.param) + (f"={value[1]}" if value is not None else "")


def test_every_chat_request_is_translated_or_refused_by_a_name() -> None:
    real = [row for row in CHATS if row.host != "api.example"]
    for rows in (CHATS, real):
        found = refusals(rows, lambda body: request_to_messages(body, PLACED))
        print(dict(found))
        assert found.total() <= len(rows) / 8
    if len(real) == 224:
        assert found == REFUSED_CHATS


def test_every_messages_request_is_translated_or_refused_by_a_name() -> None:
    for rows in (MESSAGES, RECORDED_MESSAGES):
        found = refusals(rows, lambda body: request_to_chat(body, CHAT))
        print(dict(found))
        assert found.total() <= len(rows) / 5
    if len(RECORDED_MESSAGES) == 158:
        assert found == REFUSED_MESSAGES


def test_all_requests_but_empty_ones_are_translated_where_losses_are_allowed() -> None:
    for row in CHATS:
        body = json.dumps(row.request).encode()
        if any(message["role"] != "system" for message in row.request["messages"]):
            for target in (BUDGET, PLACED):
                request_to_messages(body, target, drop_unsupported=True)
    for row in MESSAGES:
        for chat in (CHAT, ChatTarget(extended=False)):
            request_to_chat(json.dumps(row.request).encode(), chat, drop_unsupported=True)


def test_translated_requests_can_be_translated_back() -> None:
    for row in CHATS:
        body = json.dumps(row.request).encode()
        if all(message["role"] == "system" for message in row.request["messages"]):
            continue
        there = request_to_messages(body, PLACED, drop_unsupported=True).body
        back = request_to_chat(there, CHAT).body
        assert request_to_messages(back, PLACED).body == there, row.id
    for row in MESSAGES:
        there = request_to_chat(json.dumps(row.request).encode(), CHAT, drop_unsupported=True).body
        back = request_to_messages(there, PLACED).body  # what is left of turns of which something was lost may merge
        assert request_to_messages(request_to_chat(back, CHAT).body, PLACED).body == back, row.id


# --- whole answers --------------------------------------------------------------------------------------------------

WHOLE_CHATS = [row for row in CHATS if row.status == 200 and not row.streamed]
WHOLE_MESSAGES = [row for row in MESSAGES if row.status == 200 and not row.streamed]


def test_every_chat_answer_says_the_same_in_the_messages_dialect() -> None:
    for row in WHOLE_CHATS:
        made = json.loads(answer_to_messages(row.body).body)
        answer = json.loads(row.body)
        message = answer["choices"][0]["message"]
        assert text_of(made) == (message.get("content") or "") + (message.get("refusal") or ""), row.id
        calls = message.get("tool_calls") or []
        assert [(use["name"], use["input"]) for use in uses_of(made)] == [
            (call["function"]["name"], json.loads(call["function"].get("arguments") or "{}")) for call in calls
        ], row.id
        stated = expected_usage(own_usage(row) or {})
        usage = made["usage"]
        assert usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"] == (
            stated.prompt_tokens
        ), row.id
        assert usage["cache_read_input_tokens"] == stated.cached_tokens, row.id


def test_every_messages_answer_says_the_same_in_a_chat() -> None:
    for row in WHOLE_MESSAGES:
        answer = json.loads(row.body)
        made = json.loads(answer_to_chat(row.body, created=CREATED).body)
        message = made["choices"][0]["message"]
        assert (message["content"] or "") == text_of(answer), row.id
        assert [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls", ())
        ] == [(use["id"], use["name"], use["input"]) for use in uses_of(answer)], row.id
        usage = answer["usage"]
        cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        assert made["usage"]["prompt_tokens"] == usage["input_tokens"] + cached + written, row.id
        assert made["usage"]["completion_tokens"] == usage["output_tokens"], row.id
        again = json.loads(answer_to_messages(json.dumps(made).encode()).body)
        assert again["stop_reason"] == answer["stop_reason"], row.id


def test_every_refusal_of_a_provider_is_an_error_on_the_other_side() -> None:
    for row in CHATS:
        if row.status >= 400:
            error = json.loads(error_to_messages(row.status, row.body).body)["error"]
            assert error["message"].endswith(json.loads(row.body)["error"]["message"])
    for row in MESSAGES:
        if row.status >= 400:
            said = json.loads(error_to_chat(row.status, row.body).body)["error"]
            assert said["message"] == json.loads(row.body)["error"]["message"]


def text_of(answer: Json) -> str:
    return "".join([block["text"] for block in answer["content"] if block["type"] == "text"])


def uses_of(answer: Json) -> list[Json]:
    return [block for block in answer["content"] if block["type"] == "tool_use"]


# --- streams --------------------------------------------------------------------------------------------------------


def data_of(body: bytes) -> list[Json]:
    events: list[SseEvent] = SseParser().feed(body)
    return [json.loads(event.data) for event in events if event.data and event.data != b"[DONE]"]


def said_in_chunks(body: bytes) -> tuple[str, str, dict[int, list[str]]]:
    """Text, thinking, and each call's name and arguments: added up with no regard for the rest."""
    text, thought = "", ""
    calls: dict[int, list[str]] = {}
    for chunk in data_of(body):
        for choice in chunk.get("choices") or ():
            delta = choice["delta"]
            text += (delta.get("content") or "") + (delta.get("refusal") or "")
            details = "".join([detail.get("text") or "" for detail in delta.get("reasoning_details") or ()])
            thought += details or delta.get("reasoning_content") or delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or ():
                known = calls.setdefault(call["index"], ["", ""])
                known[0] += call["function"].get("name") or ""
                known[1] += call["function"].get("arguments") or ""
    return text, thought, calls


def said_in_events(body: bytes) -> tuple[str, str, dict[int, list[str]]]:
    text, thought = "", ""
    calls: dict[int, list[str]] = {}
    places: dict[int, int] = {}
    for event in data_of(body):
        begun, delta = event.get("content_block", {}), event.get("delta", {})
        if begun.get("type") == "tool_use":
            places[event["index"]] = len(calls)
            calls[len(calls)] = [begun["name"], ""]
        text += delta.get("text", "")
        thought += delta.get("thinking", "")
        if "partial_json" in delta and event["index"] in places:
            calls[places[event["index"]]][1] += delta["partial_json"]
    return text, thought, calls


def test_every_chat_stream_says_the_same_in_events() -> None:
    rows = [row for row in CHATS if row.streamed and row.status == 200]
    assert rows
    for row in rows:
        translator = StreamToMessages()
        events = told(translator, row.body)
        assert said_in_events(events) == said_in_chunks(row.body), row.id
        assert translator.failed == states_an_error(row), row.id
        assert translator.finished != translator.failed, row.id
        if translator.finished and (usage := own_usage(row)):
            stated = data_of(events)[-2]["usage"]
            assert stated["output_tokens"] == usage["completion_tokens"], row.id


def test_every_messages_stream_says_the_same_in_chunks() -> None:
    for row in MESSAGES:
        if not row.streamed or row.status != 200:
            continue
        translator = StreamToChat(created=CREATED, include_usage=True)
        chunks = told(translator, row.body)
        text, thought, calls = said_in_events(row.body)
        assert said_in_chunks(chunks) == (
            text,
            thought,
            {place: [name, spelled or "{}"] for place, (name, spelled) in calls.items()},
        ), row.id
        assert translator.finished != translator.failed, row.id
        if translator.finished:
            last = [event["usage"] for event in data_of(row.body) if event["type"] == "message_delta"][-1]
            usage = data_of(chunks)[-1]["usage"]
            assert usage["completion_tokens"] == last["output_tokens"], row.id
            assert usage["prompt_tokens"] >= last.get("input_tokens", 0), row.id
