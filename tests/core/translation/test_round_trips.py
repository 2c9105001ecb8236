"""What both dialects can say is the same after a way there and back; how it is spelled does not matter."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from tests.core.translation.conversations import chat_answers, chat_requests, message_answers, messages_requests

CHAT = ChatTarget()
ADAPTIVE = MessagesTarget(max_tokens_default=1, adaptive_thinking=True, system_in_place=True)
BUDGET = MessagesTarget(max_tokens_default=1)

Json = dict[str, Any]


def encoded(value: Json) -> bytes:
    return json.dumps(value).encode()


def effort_that_adapts(request: Json) -> Json:
    """Models that think adaptively know no less effort than low."""
    return request | ({"reasoning_effort": "low"} if request.get("reasoning_effort") == "minimal" else {})


def unthought_calls_are_answered_last(request: Json) -> bool:
    """Models with a budget do not think on after calls that they made unthought: one side cannot say that."""
    spoken = [message for message in request["messages"] if message["role"] == "assistant"]
    return request["messages"][-1]["role"] == "tool" and "reasoning_details" not in spoken[-1]


@settings(max_examples=60)  # each is large
@given(chat_requests())
def test_a_chat_request_comes_back_from_the_messages_dialect(request: Json) -> None:
    """Arguments byte for byte: they are strings here."""
    there = request_to_messages(encoded(request), ADAPTIVE).body
    assert json.loads(request_to_chat(there, CHAT).body) == effort_that_adapts(request)


@settings(max_examples=60)  # each is large
@given(chat_requests())
def test_an_effort_comes_back_from_a_budget(request: Json) -> None:
    if unthought_calls_are_answered_last(request):
        request.pop("reasoning_effort", None)
    there = request_to_messages(encoded(request), BUDGET).body
    assert json.loads(request_to_chat(there, CHAT).body) == request


@settings(max_examples=60)
@given(messages_requests())
def test_a_messages_request_comes_back_from_the_chat_dialect(request: Json) -> None:
    there = request_to_chat(encoded(request), CHAT).body
    assert json.loads(request_to_messages(there, ADAPTIVE).body) == request


@settings(max_examples=60)
@given(chat_requests(), st.randoms(use_true_random=False))
def test_the_spelling_of_a_chat_does_not_matter(request: Json, random: Any) -> None:
    """Strings or parts, one message or several, system or developer, one name of a field or another."""
    plainly = request_to_messages(encoded(request), ADAPTIVE).body
    varied: list[Json] = []
    for message in request["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) and content else content
        if message["role"] in ("user", "system") and random.random() < 0.5:
            message["role"] = random.choice([message["role"], {"system": "developer"}.get(message["role"], "user")])
            varied += [{**message, "content": [part]} for part in parts]
        else:
            varied.append({**message, "content": random.choice([content, parts or content])})
    request["messages"] = varied
    if random.random() < 0.5:
        request["max_tokens"] = request.pop("max_completion_tokens")
    if "user" in request and random.random() < 0.5:
        request["safety_identifier"] = request.pop("user")
    assert request_to_messages(encoded(request), ADAPTIVE).body == plainly


@given(message_answers(), st.integers(0, 2**31))
def test_a_messages_answer_comes_back_from_the_chat_dialect(answer: Json, created: int) -> None:
    there = answer_to_chat(encoded(answer), created=created)
    back = answer_to_messages(there.body)
    assert (there.dropped, back.dropped) == ((), ())
    assert json.loads(back.body) == answer


@given(chat_answers())
def test_a_chat_answer_comes_back_from_the_messages_dialect(answer: Json) -> None:
    there = answer_to_messages(encoded(answer))
    back = json.loads(answer_to_chat(there.body, created=answer["created"]).body)
    assert there.dropped == ()
    del back["choices"][0]["native_finish_reason"]
    assert back == answer


@given(message_answers())
def test_no_token_is_won_or_lost_on_the_way_to_a_chat(answer: Json) -> None:
    usage, made = answer["usage"], json.loads(answer_to_chat(encoded(answer), created=1).body)["usage"]
    inputs = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert made["prompt_tokens"] == inputs
    assert made["completion_tokens"] == usage["output_tokens"]
    assert made["total_tokens"] == inputs + usage["output_tokens"]


@given(chat_answers())
def test_no_token_is_won_or_lost_on_the_way_to_a_message(answer: Json) -> None:
    usage, made = answer["usage"], json.loads(answer_to_messages(encoded(answer)).body)["usage"]
    inputs = made["input_tokens"] + made["cache_read_input_tokens"] + made["cache_creation_input_tokens"]
    assert (inputs, made["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
