"""What both dialects can say is the same after a way there and back, and a stream says what the whole answer says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.requests_from_chat import chat_request_to_responses
from gateway.core.translation.responses.requests_to_chat import responses_request_to_chat
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from gateway.core.translation.responses.through_chat import (
    MessagesStreamToResponses,
    ResponsesStreamToMessages,
    messages_answer_to_responses,
    messages_request_to_responses,
    responses_answer_to_messages,
    responses_request_to_messages,
)
from tests.core.translation.accumulation import message
from tests.core.translation.conversations import chat_answers, chat_requests, message_answers, messages_requests
from tests.core.translation.responses.drawn import response_answers, response_requests, response_stream
from tests.core.translation.responses.said import (
    EXTENDED,
    MESSAGES,
    RESPONSES,
    encoded,
    fed,
    response_of,
    to_chat,
    to_messages,
)
from tests.core.translation.streaming import chat_stream, cutter, messages_stream
from tests.core.translation.test_streams_and_answers import added_up

CREATED = 1_700_000_000
CUTS = st.lists(st.integers(0, 10_000), max_size=6)

Json = dict[str, Any]


def spelled(answer: Json) -> Json:
    """Arguments as what they spell: a stream spells them as the model did, an answer as its JSON does."""
    for item in answer["output"]:
        if item["type"] == "function_call":
            item["arguments"] = json.loads(item["arguments"])
    return answer


# --- requests -------------------------------------------------------------------------------------------------------


@given(response_requests())
def test_a_request_comes_back_from_a_chat(request: Json) -> None:
    there = responses_request_to_chat(encoded(request), EXTENDED)
    back = chat_request_to_responses(there.body, RESPONSES)
    assert json.loads(back.body) == request


@given(response_requests())
def test_a_request_is_the_same_to_anthropic_whichever_way_it_comes(request: Json) -> None:
    """Reasoning that Anthropic has not signed aside."""
    body = encoded(request)
    there = responses_request_to_messages(body, MESSAGES, drop_unsupported=True).body
    back = messages_request_to_responses(there, RESPONSES, drop_unsupported=True).body
    assert responses_request_to_messages(back, MESSAGES).body == there


@given(messages_requests())
def test_what_responses_can_say_of_a_messages_request_comes_back(request: Json) -> None:
    """Turns of which something was lost may be neighbours of one role, and then one."""
    there = messages_request_to_responses(encoded(request), RESPONSES, drop_unsupported=True).body
    back = responses_request_to_messages(there, MESSAGES, drop_unsupported=True).body
    again = messages_request_to_responses(back, RESPONSES, drop_unsupported=True).body
    assert responses_request_to_messages(again, MESSAGES).body == back


@given(chat_requests())
def test_what_responses_can_say_of_a_chat_comes_back(request: Json) -> None:
    there = chat_request_to_responses(encoded(request), RESPONSES, drop_unsupported=True).body
    back = responses_request_to_chat(there, EXTENDED).body
    assert chat_request_to_responses(back, RESPONSES).body == there


@given(response_requests(), st.sampled_from(["previous_response_id", "conversation", "seed"]))
def test_nothing_is_lost_in_silence(request: Json, key: str) -> None:
    body = encoded(request | {key: "x"})
    for translate in (to_chat(), to_messages()):
        assert key in translate(body, True).dropped
        with pytest.raises(InvalidRequest) as caught:
            translate(body, False)
        assert caught.value.param


# --- answers --------------------------------------------------------------------------------------------------------


@given(response_answers(in_chat_order=True))
def test_an_answer_comes_back_from_a_chat(answer: Json) -> None:
    there = responses_answer_to_chat(encoded(answer))
    back = json.loads(chat_answer_to_responses(there.body).body)
    assert there.dropped == ()
    assert without_ids({key: back[key] for key in answer}) == without_ids(answer)


@given(response_answers())
def test_an_answer_comes_back_from_the_messages_dialect_in_its_order(answer: Json) -> None:
    there = responses_answer_to_messages(encoded(answer))
    back = json.loads(messages_answer_to_responses(there.body, created=answer["created_at"]).body)
    assert [(item["type"], item.get("arguments") and json.loads(item["arguments"])) for item in back["output"]] == [
        (item["type"], item.get("arguments") and json.loads(item["arguments"])) for item in joined(answer["output"])
    ]
    assert back["usage"] == answer["usage"]
    assert texts(back) == texts(answer)


def without_ids(answer: Json) -> Json:
    """Items other than reasoning get new ones."""
    for item in answer["output"]:
        if item["type"] != "reasoning":
            del item["id"]
    return answer


def joined(output: list[Json]) -> list[Json]:
    """Neighbouring messages are one text."""
    return [
        item
        for at, item in enumerate(output)
        if item["type"] != "message" or at == 0 or output[at - 1]["type"] != "message"
    ]


def texts(answer: Json) -> str:
    said = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(sorted("".join([part.get("text") or part.get("refusal") for part in said]).replace("\n", "")))


@given(chat_answers())
def test_a_chats_answer_comes_back_from_a_response(answer: Json) -> None:
    """The details of other providers ride along, unread."""
    there = chat_answer_to_responses(encoded(answer))
    back = json.loads(responses_answer_to_chat(there.body).body)
    said = answer["choices"][0]["message"]
    thought = back["choices"][0]["message"].pop("reasoning_details", [])
    assert there.dropped == ()
    assert bool(thought) == bool(said.pop("reasoning_details", []))
    assert back | {"choices": 0} == answer | {"choices": 0}
    assert back["choices"][0]["message"] == said


@given(chat_answers() | response_answers(), st.booleans())
def test_no_token_is_won_or_lost(answer: Json, through_messages: bool) -> None:
    if "choices" in answer:
        usage = answer["usage"]
        made = json.loads(chat_answer_to_responses(encoded(answer)).body)["usage"]
        assert (made["input_tokens"], made["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert made["input_tokens_details"] == usage["prompt_tokens_details"]
        return
    usage = answer["usage"]
    if through_messages:
        made = json.loads(responses_answer_to_messages(encoded(answer)).body)["usage"]
        inputs = made["input_tokens"] + made["cache_read_input_tokens"] + made["cache_creation_input_tokens"]
        assert (inputs, made["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    else:
        made = json.loads(responses_answer_to_chat(encoded(answer)).body)["usage"]
        assert (made["prompt_tokens"], made["completion_tokens"]) == (usage["input_tokens"], usage["output_tokens"])


# --- streams --------------------------------------------------------------------------------------------------------


@given(chat_answers(), CUTS)
def test_a_chat_stream_says_what_the_whole_answer_says(answer: Json, pieces: list[int]) -> None:
    translator = ChatStreamToResponses()
    made = response_of(fed(translator, chat_stream(answer, cutter(pieces))))
    assert translator.finished
    assert made == json.loads(chat_answer_to_responses(encoded(answer)).body)


@given(message_answers(), CUTS)
def test_a_messages_stream_says_what_the_whole_answer_says(answer: Json, pieces: list[int]) -> None:
    translator = MessagesStreamToResponses(created=CREATED)
    made = response_of(fed(translator, messages_stream(answer, cutter(pieces))))
    assert translator.finished
    assert spelled(made) == spelled(json.loads(messages_answer_to_responses(encoded(answer), created=CREATED).body))


@given(response_answers(in_chat_order=True), CUTS)
def test_a_response_stream_says_what_the_whole_answer_says_to_a_chat(answer: Json, pieces: list[int]) -> None:
    translator = ResponsesStreamToChat(include_usage=True)
    made = added_up(fed(translator, response_stream(answer, cutter(pieces))))
    assert translator.finished
    assert made == json.loads(responses_answer_to_chat(encoded(answer)).body)


@given(response_answers(), CUTS)
def test_a_response_stream_says_what_the_whole_answer_says_to_anthropic(answer: Json, pieces: list[int]) -> None:
    translator = ResponsesStreamToMessages()
    made = message(fed(translator, response_stream(answer, cutter(pieces))))
    assert translator.finished
    assert made.pop("done")
    assert made == json.loads(responses_answer_to_messages(encoded(answer)).body)


@given(response_answers(), CUTS, st.integers(0, 100_000))
def test_a_stream_that_breaks_off_is_never_taken_for_a_whole_one(answer: Json, pieces: list[int], end: int) -> None:
    source = response_stream(answer, cutter(pieces))
    last = source.index(f"event: response.{answer['status']}\n".encode())
    for translator in (ResponsesStreamToChat(include_usage=True), ResponsesStreamToMessages()):
        told = fed(translator, source[: end % last])
        assert not translator.finished
        assert b"[DONE]" not in told
        assert b"message_stop" not in told


@given(chat_answers(), CUTS, st.integers(0, 10_000))
def test_a_chat_stream_that_breaks_off_is_never_taken_for_a_whole_one(
    answer: Json, pieces: list[int], end: int
) -> None:
    source = chat_stream(answer, cutter(pieces))
    translator = ChatStreamToResponses()
    told = fed(translator, source[: end % source.index(b'"finish_reason"')])
    assert not translator.finished
    assert b"response.completed" not in told
