"""A call goes where its dialect is spoken, or is translated into one that is."""

import json
from collections.abc import Mapping
from itertools import permutations, product
from typing import Any

import msgspec
import pytest

from gateway.core.caller import UnsupportedFields
from gateway.core.dialect import DialectName
from gateway.core.origin import ITSELF
from gateway.core.translation.reasoning import CARRIED
from gateway.relay.catalogue import Alias
from gateway.upstream.registry import Surface, Timeouts
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.relay.messages import (
    COUNT_TOKENS,
    ERROR,
    MESSAGES,
    OPENED,
    PING,
    STOP,
    delta,
    event,
    message,
    says,
    speaking_messages,
    start,
    text,
)
from tests.road import CHAT, PATIENT, Roads, chat, price_ucr, until, upstream_at

OURS = Alias("ours", (("main", "dear"), ("spare", "plain")))
HELD = "x-tollgate-credits-reserved"
MESSAGES_ALONE = frozenset({"anthropic-messages"})
HASTY = Timeouts(connect_s=5, first_event_s=5, idle_s=0.1, total_s=20)


def chunks(body: bytes) -> list[Any]:
    """The data of a chat stream's events."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line.startswith(b"data: ")]
    return [line if line == b"[DONE]" else msgspec.json.decode(line) for line in lines]


def events(body: bytes) -> list[Any]:
    return [
        msgspec.json.decode(line.removeprefix(b"data: ")) for line in body.splitlines() if line.startswith(b"data: ")
    ]


async def test_a_chat_is_answered_by_a_provider_of_messages(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    answer = await road.ask(chat(max_tokens=50), x_replay_prompt_tokens=20, x_replay_output_tokens=7)
    assert (answer.status, answer.json["object"], answer.json["model"]) == (200, "chat.completion", "plain")
    assert answer.json["choices"][0]["message"]["role"] == "assistant"
    assert (answer.json["usage"]["prompt_tokens"], answer.json["usage"]["completion_tokens"]) == (20, 7)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-tollgate-translated"] == "anthropic-messages"
    assert "x-tollgate-dropped" not in answer.headers
    assert await road.spent_ucr() == price_ucr(20, 7)
    assert (await provider.call())["id"].startswith("msg_")


async def test_a_message_is_answered_by_a_provider_of_chats(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(message(), path=MESSAGES, x_replay_prompt_tokens=20, x_replay_output_tokens=7)
    assert (answer.status, answer.json["type"], answer.json["stop_reason"]) == (200, "message", "end_turn")
    assert (answer.json["usage"]["input_tokens"], answer.json["usage"]["output_tokens"]) == (20, 7)
    assert answer.headers["x-tollgate-translated"] == "openai-chat"
    assert await road.spent_ucr() == price_ucr(20, 7)
    assert (await provider.call())["id"].startswith("chatcmpl-")


@pytest.mark.parametrize("wants_usage", [True, False])
async def test_a_streamed_chat_is_told_as_chunks(roads: Roads, provider: Provider, wants_usage: bool) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    options = {"include_usage": True} if wants_usage else None
    answer = await road.ask(
        chat(stream=True, stream_options=options), x_replay_prompt_tokens=20, x_replay_output_tokens=7
    )
    told = chunks(answer.body)
    assert told.pop() == b"[DONE]"
    assert [chunk["usage"]["completion_tokens"] for chunk in told if chunk.get("usage")] == [7] * wants_usage
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert await road.spent_ucr() == price_ucr(20, 7)


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_streamed_message_is_told_as_events_and_usage_is_asked_for_where_it_may_be(
    roads: Roads, provider: Provider, include_usage: bool
) -> None:
    road = await roads.open(upstream_at(provider.base_url, include_usage=include_usage))
    answer = await road.ask(message(stream=True), path=MESSAGES, x_replay_prompt_tokens=20, x_replay_output_tokens=7)
    told = events(answer.body)
    assert (told[0]["type"], told[-1]["type"]) == ("message_start", "message_stop")
    assert (await provider.call())["usage_sent"] is include_usage
    (call,) = await road.books()
    assert (call.ended, call.output_tokens) == (("ok", 7) if include_usage else ("estimated", 7))


async def test_headers_of_the_callers_dialect_stay_behind_and_the_providers_own_are_sent(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(speaking_messages(hostile.url("well_behaved")))
    await road.ask(chat(), headers={"openai-beta": "assistants=v2", "user-agent": "ours"})
    (request,) = hostile.requests
    head = request.head.decode().lower()
    assert "openai-beta" not in head
    assert "anthropic-version: 2023-06-01\r\n" in head
    assert "user-agent: ours\r\n" in head
    assert "x-api-key: sk-of-the-operator\r\n" in head


async def test_what_cannot_be_said_is_refused_by_name_before_anything_is_reserved(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    answer = await road.ask(chat(seed=7))
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, "seed", "unsupported_parameter")
    assert await road.books() == []
    assert (await provider.sent())["calls"] == []


async def test_what_cannot_be_said_may_be_dropped_and_is_listed(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url), reserve={"drop_unsupported": True})
    answer = await road.ask({**chat(seed=7), "häßlich\r\nx-evil: 1": True})
    assert answer.status == 200
    assert answer.headers["x-tollgate-dropped"] == "seed, h??lich??x-evil:?1"
    assert "x-evil" not in answer.headers


@pytest.mark.parametrize("by_default", [True, False])
async def test_an_organisation_may_choose_otherwise(roads: Roads, provider: Provider, by_default: bool) -> None:
    road = await roads.open(speaking_messages(provider.base_url), reserve={"drop_unsupported": by_default})
    chosen: UnsupportedFields = "refuse" if by_default else "drop"
    await road.gateway.ledger.policies.set(road.org.org_id, unsupported_fields=chosen, by=ITSELF)

    async def has_it() -> bool:
        return (await road.ask(chat(seed=7))).status == (400 if by_default else 200)

    await until(has_it)


async def test_a_model_that_nobody_can_be_asked_for_in_this_dialect_is_refused(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=frozenset({"rerank"})))
    answer = await road.ask(chat())
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "dialect_not_spoken", "model")
    assert "`openai-chat`" in answer.error["message"]
    assert "`rerank`" in answer.error["message"]
    assert await road.books() == []


async def test_a_target_that_speaks_the_dialect_takes_what_cannot_be_translated(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(
        upstream_at("http://127.0.0.1:9/v1", dialects=MESSAGES_ALONE),
        upstream_at(provider.base_url, "spare"),
        aliases=(OURS,),
    )
    answer = await road.ask(chat("ours", seed=7))
    assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "spare")
    assert "x-tollgate-translated" not in answer.headers
    (call,) = await road.books()
    assert call.upstream_model == "plain"


async def test_a_call_fails_over_from_one_dialect_to_another(roads: Roads, provider: Provider) -> None:
    async with says([start(input_tokens=9, output_tokens=1), PING, ERROR]) as url:
        road = await roads.open(speaking_messages(url), upstream_at(provider.base_url, "spare"), aliases=(OURS,))
        answer = await road.ask(chat("ours", stream=True))
    assert answer.headers["x-tollgate-upstream"] == "spare"
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert b"overloaded" not in answer.body


async def test_a_dialect_is_spoken_where_its_provider_speaks_it(roads: Roads, provider: Provider) -> None:
    elsewhere = {
        "openai-chat": Surface(base_url=provider.base_url.replace("/v1", "/compatible"), auth_header="api-key")
    }
    road = await roads.open(upstream_at("http://127.0.0.1:9/v1", elsewhere=elsewhere))
    assert (await road.ask(chat())).status == 200


@pytest.mark.parametrize(("status", "told"), [(400, 400), (429, 429), (529, 503), (500, 500)])
async def test_a_providers_error_is_told_in_the_callers_dialect_and_costs_nothing(
    roads: Roads, provider: Provider, status: int, told: int
) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    answer = await road.ask(chat(), x_replay_status=status)
    assert answer.status == told
    assert set(answer.json) == {"error"}
    assert {"message", "type", "param", "code"} <= set(answer.error)
    assert await road.spent_ucr() == 0


SPOKEN = ("openai-chat", "openai-responses", "anthropic-messages")
PATHS: Mapping[str, str] = {"openai-chat": CHAT, "openai-responses": "/v1/responses", "anthropic-messages": MESSAGES}


def asking(dialect: str, **fields: Any) -> dict[str, Any]:
    match dialect:
        case "openai-chat":
            return chat(**fields)
        case "openai-responses":
            return {"model": "plain", "input": "hi", **fields}
        case _:
            return message(**fields)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), [*permutations(SPOKEN, 2)])
async def test_every_pair_is_charged_what_the_provider_reports(
    roads: Roads, provider: Provider, ours: DialectName, theirs: DialectName, stream: bool
) -> None:
    road = await roads.open(upstream_at(provider.base_url, dialects=frozenset({theirs})))
    answer = await road.ask(
        asking(ours, stream=stream), path=PATHS[ours], x_replay_prompt_tokens=20, x_replay_output_tokens=7
    )
    assert (answer.status, answer.headers["x-tollgate-translated"]) == (200, theirs)
    native = await road.ask(asking(ours), path=PATHS[ours], x_replay_status=400)
    assert native.status == 400
    assert await road.spent_ucr() == price_ucr(20, 7)
    end = (await road.books())[0]
    assert (end.ended, end.streamed) == ("ok", stream)


@pytest.mark.parametrize("theirs", ["anthropic-messages", "openai-responses"])
async def test_a_dropped_number_of_answers_is_one(roads: Roads, provider: Provider, theirs: DialectName) -> None:
    served = upstream_at(provider.base_url, dialects=frozenset({theirs}))
    road = await roads.open(served, reserve={"drop_unsupported": True})
    one = await road.ask(chat(stream=True, max_tokens=50), x_replay_output_tokens=7)
    many = await road.ask(chat(stream=True, max_tokens=50, n=100), x_replay_output_tokens=7)
    assert (many.status, many.headers["x-tollgate-dropped"]) == (200, "n")
    assert float(many.headers[HELD]) < 1.2 * float(one.headers[HELD])
    assert many.body.endswith(b"data: [DONE]\n\n")


async def test_a_dropped_service_tier_is_not_charged(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url), reserve={"drop_unsupported": True})
    entry = road.gateway.offers.catalogue.route("plain")
    cheap = {"flex": road.gateway.offers.catalogue.route("free").prices}
    target = msgspec.structs.replace(entry.targets[0], service_tiers=cheap)
    road.gateway.offers.catalogue._entries["plain"] = msgspec.structs.replace(entry, targets=(target,))
    answer = await road.ask(chat(service_tier="flex"), x_replay_prompt_tokens=20, x_replay_output_tokens=7)
    assert answer.headers["x-tollgate-dropped"] == "service_tier=flex"
    assert await road.spent_ucr() == price_ucr(20, 7)


def message_answer(**fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "plain",
        "stop_reason": "end_turn",
        **fields,
    }


async def test_an_answer_that_cannot_be_told_is_charged_what_it_reports(roads: Roads) -> None:
    odd = message_answer(content=[{"type": "text", "text": 5}], usage={"input_tokens": 9, "output_tokens": 3})
    async with says([msgspec.json.encode(odd)], kind="application/json") as url:
        road = await roads.open(speaking_messages(url))
        answer = await road.ask(chat())
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert "is charged" in answer.error["message"]
    assert await road.spent_ucr() == price_ucr(9, 3)


# --- hostile ----------------------------------------------------------------------------------------------------------

BEGUN = [start(input_tokens=9, output_tokens=1), OPENED, text("four")]


async def asked(roads: Roads, body: list[bytes], *, then_hang: bool = False) -> tuple[Any, int]:
    async with says(body, then_hang=then_hang) as url:
        road = await roads.open(speaking_messages(url, timeouts=HASTY if then_hang else PATIENT))
        answer = await road.ask(chat(stream=True))
        return answer, await road.spent_ucr()


async def test_a_stream_that_is_cut_ends_with_an_error_in_the_callers_dialect(roads: Roads) -> None:
    answer, spent = await asked(roads, BEGUN)
    last = chunks(answer.body)[-1]
    assert last["error"]["code"] == "upstream_error"
    assert spent == price_ucr(9, 1)


async def test_a_stream_that_falls_silent_ends_with_a_timeout(roads: Roads) -> None:
    answer, spent = await asked(roads, BEGUN, then_hang=True)
    assert chunks(answer.body)[-1]["error"]["type"] == "timeout_error"
    assert spent == price_ucr(9, 1)


async def test_an_error_event_is_told_as_an_error_chunk(roads: Roads) -> None:
    answer, spent = await asked(roads, [*BEGUN, ERROR])
    last = chunks(answer.body)[-1]
    assert ("choices" in last, last["error"]["code"]) == (False, "overloaded")
    assert spent == price_ucr(9, 1)


async def test_a_stream_in_a_wrong_order_is_told_as_far_as_it_makes_sense(roads: Roads) -> None:
    answer, _ = await asked(roads, [text("four"), start(input_tokens=9, output_tokens=1), delta(output_tokens=1), STOP])
    assert chunks(answer.body)[-1] == b"[DONE]"


@pytest.mark.parametrize("broken", [b"event: content_block_delta\ndata: {]\n\n", event("message_delta", delta=5)])
async def test_a_stream_that_turns_into_nonsense_never_ends_cleanly(roads: Roads, broken: bytes) -> None:
    answer, spent = await asked(roads, [*BEGUN, broken])
    last = chunks(answer.body)[-1]
    assert last["error"]["code"] == "upstream_error"
    assert price_ucr(9, 1) <= spent <= price_ucr(9, 2), "at least what was understood"


async def test_an_answer_that_is_not_of_its_dialect_is_502_and_costs_nothing(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    for garbage, stream in product(("json", "html"), (False, True)):
        answer = await road.ask(chat(stream=stream), x_replay_garbage=garbage)
        assert (answer.status, answer.error["type"]) == (502, "upstream_error")
    assert await road.spent_ucr() == 0


async def test_a_stream_that_cannot_be_told_from_its_first_word_on_is_502_and_costs_nothing(roads: Roads) -> None:
    odd = b'data: {"choices":[{"delta":{"tool_calls":[{"index":"x"}]}}]}\n\n'
    async with says([odd, b"data: [DONE]\n\n"], path=CHAT) as url:
        road = await roads.open(upstream_at(url))
        answer = await road.ask(message(stream=True), path=MESSAGES)
    assert (answer.status, answer.json["error"]["type"]) == (502, "api_error")
    assert "nothing was charged" in answer.json["error"]["message"]
    assert await road.spent_ucr() == 0


async def test_reasoning_that_only_we_can_read_goes_to_no_provider(roads: Roads) -> None:
    ours = {"type": "thinking", "thinking": "hm", "signature": CARRIED + '{"id":"rs_1"}'}
    theirs = {"type": "thinking", "thinking": "well", "signature": "EqQBCg=="}
    said = {"type": "text", "text": "four"}
    user = {"role": "user", "content": "2+2?"}

    turns = [user, {"role": "assistant", "content": [ours, theirs, said]}, user]
    turns += [{"role": "assistant", "content": [ours]}, user]
    heard: list[Any] = []
    async with says([*BEGUN, delta(output_tokens=1), STOP], heard=heard) as url:
        road = await roads.open(speaking_messages(url))
        answer = await road.ask(message(messages=turns, stream=True), path=MESSAGES)
    assert answer.status == 200
    assert heard[0]["messages"] == [user, {"role": "assistant", "content": [theirs, said]}, user, user]


async def test_our_reasoning_items_go_to_no_provider(roads: Roads) -> None:
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": CARRIED + "{}"}
    theirs = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAAA"}
    user = {"role": "user", "content": "2+2?"}
    heard: list[Any] = []
    async with says([b"{}"], kind="application/json", path="/v1/responses", heard=heard) as url:
        road = await roads.open(upstream_at(url, dialects=frozenset({"openai-responses"})))
        request = {"model": "plain", "max_output_tokens": 50, "store": False, "input": [user, ours, theirs, user]}
        await road.ask(request, path="/v1/responses")
    assert heard[0]["input"] == [user, theirs, user]


@pytest.mark.parametrize("done", [b"data: [DONE]\n\n", b""])
async def test_our_count_is_told_where_a_translated_stream_has_no_usage(roads: Roads, done: bytes) -> None:
    body = [b'data: {"choices":[{"index":0,"delta":{"content":"12345678"}}]}\n\n']
    body += [b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', done]
    async with says(body, path=CHAT) as url:
        road = await roads.open(upstream_at(url, include_usage=False))
        answer = await road.ask(message(stream=True), path=MESSAGES)
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("estimated", 2)
    told = [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: ")]
    usage = next(each["usage"] for each in told if each["type"] == "message_delta")
    assert (usage["input_tokens"], usage["output_tokens"]) == (end.prompt_tokens, 2)


async def test_our_count_is_told_where_a_translated_answer_has_no_usage(roads: Roads) -> None:
    body = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"12345678"},"finish_reason":"stop"}]}'
    async with says([body], kind="application/json", path=CHAT) as url:
        road = await roads.open(upstream_at(url))
        answer = await road.ask(message(), path=MESSAGES)
    end = await road.ended()
    usage = answer.json["usage"]
    assert (end.output_tokens, usage["input_tokens"], usage["output_tokens"]) == (2, end.prompt_tokens, 2)


async def test_the_tokens_of_a_prompt_that_is_translated_are_estimated(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(message(messages=[{"role": "user", "content": "x" * 4000}]), path=COUNT_TOKENS)
    assert (answer.status, answer.headers["x-tollgate-estimated"]) == (200, "true")
    assert 1000 <= answer.json["input_tokens"] <= 1050
    elsewhere = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}
    refused = await road.ask(message(messages=[{"role": "user", "content": [elsewhere]}]), path=COUNT_TOKENS)
    assert (refused.status, refused.json["error"]["code"]) == (400, "content_by_reference")
    assert await road.books() == []


async def test_a_caller_who_leaves_a_translated_stream_pays_for_what_came(roads: Roads, provider: Provider) -> None:
    road = await roads.open(speaking_messages(provider.base_url))
    async with road.begin(chat(stream=True), x_replay_output_tokens=50, x_replay_hang=20) as caller:
        await caller.until_read(b'"content":"')
    end = await road.ended()
    assert (end.ended, end.output_tokens > 0) == ("cancelled", True)
