"""Recorded calls said as Responses, and recorded Responses said as chats and messages: every request and answer is
translated, or refused with the name of a field.

Over the chats that are shipped and over what they are in the Responses dialect; where RECORDINGS_DIR is set, over real
traffic of all three dialects as well. The tables below count what is refused of one set of it.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.sse import SseParser
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.errors import (
    chat_error_to_responses,
    messages_error_to_responses,
    responses_error_to_messages,
)
from gateway.core.translation.responses.requests_from_chat import ResponsesTarget, chat_request_to_responses
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from gateway.core.translation.responses.through_chat import (
    MessagesStreamToResponses,
    ResponsesStreamToMessages,
    messages_answer_to_responses,
    responses_answer_to_messages,
)
from gateway.core.usage import Usage
from tests.conformance.recorded import (
    Recorded,
    expected_usage,
    is_not_ready,
    messages_usage,
    own_usage,
    recorded,
    responses_usage,
    states_an_error,
)
from tests.conformance.test_translation import (
    CHATS,
    CREATED,
    MESSAGES,
    RECORDED_MESSAGES,
    WHOLE_CHATS,
    WHOLE_MESSAGES,
    data_of,
    refusals,
    said_in_chunks,
    said_in_events,
    text_of,
    uses_of,
)
from tests.core.translation.responses.said import (
    EXTENDED,
    RESPONSES,
    Translate,
    fed,
    from_chat,
    from_messages,
    response_of,
    to_chat,
    to_messages,
)

Json = dict[str, Any]


def in_the_responses_dialect(row: Recorded) -> Recorded | None:
    """A chat that another provider might have been asked for; None where it cannot be said."""
    try:
        request = json.loads(chat_request_to_responses(json.dumps(row.request).encode(), RESPONSES).body)
    except InvalidRequest:
        return None
    if row.status >= 400:
        body = chat_error_to_responses(row.status, row.body).body
    elif row.streamed:
        body = fed(ChatStreamToResponses(), row.body)
    else:
        body = chat_answer_to_responses(row.body).body
    return row._replace(id=f"{row.id} translated", request=request, body=body)


RECORDED_RESPONSES = list(recorded("openai-responses"))
TRANSLATED = [row for chat in CHATS if (row := in_the_responses_dialect(chat))]
RESPONSES_ROWS = [*RECORDED_RESPONSES, *TRANSLATED]
ANSWERED = [row for row in RESPONSES_ROWS if row.status == 200 and not is_not_ready(row)]

ITEMS = {"input[].type": 24, "tools[].type": 12}  # tools that the provider runs, and what they found
STATEFUL = {
    "context_management": 5,
    "background": 4,
    "conversation": 3,
    "previous_response_id": 1,
    "input[].content[].file_id": 2,
}
OTHERS = {"reasoning.context": 10, "moderation": 3, "provider": 2}
REFUSED: dict[str, Json] = {
    "to a chat": {**ITEMS, **STATEFUL, **OTHERS},
    "to messages": {
        **ITEMS,
        **STATEFUL,
        **OTHERS,
        "input[].encrypted_content": 19,  # reasoning that Anthropic has not signed
        "include": 1,  # logprobs
        "reasoning.effort": 1,  # beside a tool that must be called
        "input": 1,  # nothing to answer
        "temperature": 1,
        "tool_choice.type": 1,
        "text.verbosity": 1,
    },
    "from chats": {
        "tools[].type": 5,
        "provider": 3,
        "messages[].reasoning": 2,
        "messages[].reasoning_content": 2,
        "moderation": 2,
        "preset": 1,
        "search_settings": 1,
        "web_search_options": 1,
        "frequency_penalty": 1,
        "thinking": 1,
        "reasoning_format": 1,
        "stop": 2,
        "max_completion_tokens": 1,  # less than 16
        "messages[].reasoning_details": 1,
    },
    "from messages": {
        "messages[].content[].type": 13,
        "tools[].type": 12,
        "messages[].content[].signature": 4,  # thinking that OpenAI has not encrypted
        "output_config.task_budget": 2,
        "messages[].content[].content[].source.type": 2,
        "top_k": 1,
        "stop_sequences": 1,
        "messages[].content[].source.type": 1,
        "mcp_servers": 1,
    },
}
"""Of 169 recorded responses, 224 chats and 158 messages, by the first field that cannot be said."""

DIRECTIONS: list[tuple[str, list[Recorded], Translate, int]] = [
    ("to a chat", RECORDED_RESPONSES, to_chat(), 169),
    ("to messages", RECORDED_RESPONSES, to_messages(), 169),
    ("from chats", CHATS, from_chat(), 224),
    ("from messages", RECORDED_MESSAGES, from_messages(), 158),
]


@pytest.mark.parametrize(("way", "rows", "translate", "known"), DIRECTIONS, ids=[way for way, *_ in DIRECTIONS])
def test_every_request_is_translated_or_refused_by_a_name(
    way: str, rows: list[Recorded], translate: Translate, known: int
) -> None:
    found: Counter[str] = Counter()
    real = [row for row in rows if row.host != "api.example"]
    for name, times in refusals(real, lambda body: translate(body, False)).items():
        found[name.split("=")[0]] += times
    print(way, dict(found))
    if len(real) == known:
        assert found == REFUSED[way]
    refusals([row for row in rows if row not in real], lambda body: translate(body, False))
    for row in rows:
        if row.status != 400:
            with suppress_emptiness():
                translate(json.dumps(row.request).encode(), True)


@contextmanager
def suppress_emptiness() -> Iterator[None]:
    """Nothing is left to answer."""
    try:
        yield
    except InvalidRequest as error:
        if error.param not in ("input", "messages"):
            raise


def test_translated_requests_can_be_translated_on() -> None:
    marking = ResponsesTarget(cache_breakpoints=True)
    for row in TRANSLATED:
        body = json.dumps(row.request).encode()
        with suppress_emptiness():
            there = to_messages()(body, True).body
            assert to_messages()(from_messages(marking)(there, True).body, False).body == there, row.id
        back = to_chat(EXTENDED)(body, False).body
        assert json.loads(from_chat()(back, False).body) == row.request, row.id


# --- answers --------------------------------------------------------------------------------------------------------


def said_by(response: Json) -> tuple[str, list[tuple[str, str, str]]]:
    """Its texts and refusals, as a chat tells them, and its calls."""
    texts, refusals, calls = [], [], []
    for item in response["output"]:
        if item["type"] == "message":
            texts.append("".join([part.get("text") or "" for part in item["content"]]))
            refusals += [part["refusal"] for part in item["content"] if "refusal" in part]
        elif item["type"] == "function_call":
            calls.append((item["call_id"], item["name"], item["arguments"]))
    return "\n\n".join(texts) + "".join(refusals), calls


def as_usage(counts: Json, names: tuple[str, str]) -> Usage:
    inputs, outputs = counts[f"{names[0]}_tokens_details"], counts[f"{names[1]}_tokens_details"]
    return Usage(
        prompt_tokens=counts[f"{names[0]}_tokens"],
        cached_tokens=inputs.get("cached_tokens") or 0,
        cache_write_tokens=inputs.get("cache_write_tokens") or 0,
        output_tokens=counts[f"{names[1]}_tokens"],
        reasoning_tokens=outputs.get("reasoning_tokens") or 0,
    )


def anthropic_usage(counts: Json) -> Usage:
    cached, written = counts["cache_read_input_tokens"], counts["cache_creation_input_tokens"]
    return Usage(
        prompt_tokens=counts["input_tokens"] + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=counts["output_tokens"],
        reasoning_tokens=counts["output_tokens_details"]["thinking_tokens"],
    )


def final(row: Recorded) -> Json:
    """The response that an answer ends with."""
    return data_of(row.body)[-1]["response"] if row.streamed else json.loads(row.body)  # type: ignore[no-any-return]


def test_every_response_says_the_same_in_a_chat() -> None:
    for row in ANSWERED:
        if row.streamed and states_an_error(row):
            continue
        text, calls = said_by(final(row))
        if row.streamed:
            translator = ResponsesStreamToChat(include_usage=True)
            chunks = fed(translator, row.body)
            assert translator.finished, row.id
            told, _, told_calls = said_in_chunks(chunks)
            assert [name for name, _ in told_calls.values()] == [name for _, name, _ in calls], row.id
            assert [spelled for _, spelled in told_calls.values()] == [spelled for *_, spelled in calls], row.id
            usage = next((chunk["usage"] for chunk in data_of(chunks) if chunk.get("usage")), None)
        else:
            made = json.loads(responses_answer_to_chat(row.body).body)
            message = made["choices"][0]["message"]
            told = (message["content"] or "") + (message["refusal"] or "")
            functions = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
            assert [(id, said["name"], said["arguments"]) for id, said in functions] == calls, row.id
            usage = made.get("usage")
        assert told == text, row.id
        stated = responses_usage(row)
        assert (as_usage(usage, ("prompt", "completion")) if usage is not None else None) == stated, row.id


def test_every_response_says_the_same_in_the_messages_dialect() -> None:
    for row in ANSWERED:
        if row.streamed and states_an_error(row):
            continue
        text, calls = said_by(final(row))
        if row.streamed:
            translator = ResponsesStreamToMessages()
            events = fed(translator, row.body)
            assert translator.finished, row.id
            told, _, told_calls = said_in_events(events)
            assert [(name, json.loads(spelled or "{}")) for name, spelled in told_calls.values()] == [
                (name, json.loads(spelled)) for _, name, spelled in calls
            ], row.id
            usage = data_of(events)[-2]["usage"]
        else:
            made = json.loads(responses_answer_to_messages(row.body).body)
            told, usage = text_of(made), made["usage"]
            assert [(use["name"], use["input"]) for use in uses_of(made)] == [
                (name, json.loads(spelled)) for _, name, spelled in calls
            ], row.id
        assert told.replace("\n\n", "") == text.replace("\n\n", ""), row.id
        if (stated := responses_usage(row)) is not None:
            assert anthropic_usage(usage) == stated, row.id


def test_every_chat_answer_says_the_same_in_a_response() -> None:
    for row in WHOLE_CHATS:
        made = json.loads(chat_answer_to_responses(row.body).body)
        message = json.loads(row.body)["choices"][0]["message"]
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        text, told_calls = said_by(made)
        assert text == (message.get("content") or "") + (message.get("refusal") or ""), row.id
        assert [(name, spelled) for _, name, spelled in told_calls] == [
            (call["name"], call.get("arguments") or "{}") for call in calls
        ], row.id
        if usage := own_usage(row):
            assert as_usage(made["usage"], ("input", "output")) == expected_usage(usage), row.id


def test_every_chat_stream_says_the_same_in_the_events_of_a_response() -> None:
    for row in CHATS:
        if not row.streamed or row.status != 200:
            continue
        translator = ChatStreamToResponses()
        stream = fed(translator, row.body)
        assert translator.failed == states_an_error(row), row.id
        assert translator.finished != translator.failed, row.id
        if translator.failed:
            continue
        response = response_of(stream)
        text, _, calls = said_in_chunks(row.body)
        told, told_calls = said_by(response)
        assert told == text, row.id
        assert [[name, spelled] for _, name, spelled in told_calls] == [
            [name, spelled or "{}"] for name, spelled in calls.values()
        ], row.id
        if usage := own_usage(row):
            assert as_usage(response["usage"], ("input", "output")) == expected_usage(usage), row.id


def test_every_messages_answer_says_the_same_in_a_response() -> None:
    for row in WHOLE_MESSAGES:
        answer = json.loads(row.body)
        made = json.loads(messages_answer_to_responses(row.body, created=CREATED).body)
        text, calls = said_by(made)
        assert text.replace("\n\n", "") == text_of(answer).replace("\n\n", ""), row.id
        assert [(id, name, json.loads(spelled)) for id, name, spelled in calls] == [
            (use["id"], use["name"], use["input"]) for use in uses_of(answer)
        ], row.id
        assert as_usage(made["usage"], ("input", "output")) == without_hours(messages_usage(row)), row.id
        if row not in RECORDED_MESSAGES:
            continue
        thoughts = [block for block in answer["content"] if block["type"].endswith("thinking")]
        reasoning = [item for item in made["output"] if item["type"] == "reasoning"]
        assert len(reasoning) == len(thoughts), row.id


def test_every_messages_stream_says_the_same_in_the_events_of_a_response() -> None:
    for row in MESSAGES:
        if not row.streamed or row.status != 200:
            continue
        translator = MessagesStreamToResponses(created=CREATED)
        stream = fed(translator, row.body)
        assert translator.finished != translator.failed, row.id
        if translator.failed:
            continue
        response = response_of(stream)
        text, _, calls = said_in_events(row.body)
        told, told_calls = said_by(response)
        assert told.replace("\n\n", "") == text.replace("\n\n", ""), row.id
        assert [[name, spelled] for _, name, spelled in told_calls] == [
            [name, spelled or "{}"] for name, spelled in calls.values()
        ], row.id
        assert as_usage(response["usage"], ("input", "output")) == without_hours(messages_usage(row)), row.id


def without_hours(usage: Usage | None) -> Usage:
    """Responses do not tell how long a cache keeps what is written."""
    assert usage is not None
    reasoning = min(usage.reasoning_tokens, usage.output_tokens)
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=reasoning,
    )


def test_what_is_not_ready_is_no_answer() -> None:
    for row in RECORDED_RESPONSES:
        if row.status == 200 and is_not_ready(row):
            with pytest.raises(ValueError, match="status"):
                responses_answer_to_chat(row.body)


def test_every_refusal_of_a_provider_is_an_error_on_the_other_side() -> None:
    for row in RESPONSES_ROWS:
        if row.status >= 400:
            error = json.loads(responses_error_to_messages(row.status, row.body).body)["error"]
            assert error["message"].endswith(json.loads(row.body)["error"]["message"])
    for row in MESSAGES:
        if row.status >= 400:
            said = json.loads(messages_error_to_responses(row.status, row.body).body)["error"]
            assert said["message"] == json.loads(row.body)["error"]["message"]


def test_events_are_read_wherever_the_bytes_were_cut() -> None:
    row = next(row for row in TRANSLATED if row.streamed and row.status == 200 and not states_an_error(row))
    whole = fed(ResponsesStreamToChat(include_usage=True), row.body)
    parser, translator = SseParser(), ResponsesStreamToChat(include_usage=True)
    pieces = [row.body[at : at + 7] for at in range(0, len(row.body), 7)]
    assert b"".join([translator.feed(event) for piece in pieces for event in parser.feed(piece)]) == whole
