"""A call that goes well: what is sent, what comes back, what is held and charged."""

import msgspec
import pytest

from gateway.core.estimate import IMAGE_TOKENS_MAX
from gateway.core.units import credits_text, ucr_from_text
from gateway.relay.catalogue import Alias
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import (
    CACHED_UCR,
    INPUT_UCR,
    OUTPUT_MAX,
    OUTPUT_UCR,
    WINDOW,
    Roads,
    chat,
    price_ucr,
    prompt_bound,
    upstream_at,
    worst_ucr,
)


async def test_a_whole_answer_is_charged_by_its_usage(roads: Roads, provider: Provider) -> None:
    request = chat(max_tokens=20)
    road = await roads.open(upstream_at(provider.base_url), credits="1")
    answer = await road.ask(request, x_replay_output_tokens=7, x_replay_prompt_tokens=11, x_replay_cached_tokens=4)
    assert answer.status == 200
    assert answer.json["usage"]["completion_tokens"] == 7
    cost_ucr = 7 * INPUT_UCR + 4 * CACHED_UCR + 7 * OUTPUT_UCR
    assert await road.spent_ucr() == cost_ucr
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst_ucr(request, 20))
    assert answer.headers["x-tollgate-credits-charged"] == credits_text(cost_ucr)
    assert answer.headers["x-tollgate-credits-available"] == credits_text(1_000_000 - cost_ucr)
    assert (answer.headers["x-tollgate-model"], answer.headers["x-tollgate-upstream"]) == ("plain", "main")
    end = await road.ended()
    assert (end.kind, end.ended, end.prompt_tokens, end.output_tokens) == ("CHARGE", "ok", 11, 7)


async def test_a_stream_is_charged_by_the_usage_that_we_asked_for_and_the_caller_did_not(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(chat(stream=True), x_replay_output_tokens=9, x_replay_prompt_tokens=5)
    assert len(answer.text) == 4 * 9
    assert answer.events[-1] == b"[DONE]"
    assert all(chunk["choices"] for chunk in answer.chunks)
    assert await road.spent_ucr() == price_ucr(5, 9)
    assert (await road.ended()).ended == "ok"
    assert (await provider.call())["usage_sent"]


async def test_a_caller_who_asks_for_the_usage_chunk_gets_it(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    request = chat(stream=True, stream_options={"include_usage": True})
    answer = await road.ask(request, x_replay_output_tokens=9, x_replay_prompt_tokens=5)
    (usage,) = [chunk["usage"] for chunk in answer.chunks if not chunk["choices"]]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (5, 9)
    assert await road.spent_ucr() == price_ucr(5, 9)


async def test_a_stream_has_the_same_bytes_however_the_provider_cuts_them(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    request = chat(stream=True, stream_options={"include_usage": True})
    bodies = set()
    for cuts in (0, 1, 2, 3):
        answer = await road.ask(request, x_replay_output_tokens=30, x_replay_prompt_tokens=5, x_replay_cuts=cuts)
        bodies.add(answer.body.replace(answer.chunks[0]["id"].encode(), b"id"))
    assert len(bodies) == 1
    assert await road.spent_ucr() == 4 * price_ucr(5, 30)


async def test_only_what_must_change_is_changed_in_the_body(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved_stream")))
    body = b'{ "model" : "plain",\n "stream": true, "messages": [ {"role":"user", "content":"\\u0041 \xc3\xa9"} ] }'
    answer = await road.ask(body)
    assert answer.events[-1] == b"[DONE]"
    (sent,) = hostile.requests
    assert sent.body == body.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)


async def test_a_whole_request_is_sent_byte_for_byte(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    body = b'{"messages" :[{"content":"hi","role":"user"}] , "model":"plain","max_tokens":5}'
    answer = await road.ask(body)
    assert answer.status == 200
    assert hostile.requests[0].body == body
    assert await road.spent_ucr() == price_ucr(10, 2)


async def test_an_upstream_that_is_never_asked_for_usage_gets_the_callers_bytes(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved_stream"), include_usage=False))
    body = msgspec.json.encode(chat(stream=True))
    await road.ask(body)
    assert hostile.requests[0].body == body
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("estimated", 3)


async def test_an_alias_sends_the_targets_own_name_and_charges_its_price(
    roads: Roads, hostile: HostileUpstream
) -> None:
    served = upstream_at(hostile.url("well_behaved"))
    road = await roads.open(served, aliases=[Alias("ours", (("main", "dear"),))])
    answer = await road.ask(chat("ours"))
    assert answer.headers["x-tollgate-model"] == "ours"
    assert msgspec.json.decode(hostile.requests[0].body) == chat("dear")
    assert await road.spent_ucr() == 3 * price_ucr(10, 2)
    assert (await road.ended()).upstream_model == "dear"


async def test_every_choice_is_held_and_charged(roads: Roads, provider: Provider) -> None:
    request = chat(n=3, max_tokens=10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst_ucr(request, 10, choices=3)))
    answer = await road.ask(request, x_replay_output_tokens=10, x_replay_prompt_tokens=5)
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst_ucr(request, 10, choices=3))
    assert len(answer.json["choices"]) == 3
    assert await road.spent_ucr() == price_ucr(5, 30)


async def test_without_credits_for_every_choice_the_call_is_refused(roads: Roads, provider: Provider) -> None:
    request = chat(n=3, max_tokens=10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst_ucr(request, 10, choices=3) - 1))
    answer = await road.ask(request)
    assert answer.status == 402
    assert answer.error["metadata"]["affordable_max_tokens"] == 9
    assert await road.spent_ucr() == 0


async def test_a_free_model_holds_nothing_and_needs_no_credits(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="0")
    answer = await road.ask(chat("free"), x_replay_output_tokens=7)
    assert answer.status == 200
    assert answer.headers["x-tollgate-credits-reserved"] == "0.000000"
    end = await road.ended()
    assert (end.kind, end.cost_ucr, end.output_tokens) == ("CHARGE", 0, 7)


async def test_content_by_reference_holds_the_models_window(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="100")
    parts = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    request = {"model": "plain", "max_tokens": 10, "messages": [{"role": "user", "content": parts}]}
    answer = await road.ask(request, x_replay_prompt_tokens=WINDOW, x_replay_output_tokens=10)
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(WINDOW * INPUT_UCR + 10 * OUTPUT_UCR)
    assert await road.spent_ucr() == price_ucr(WINDOW, 10)


@pytest.mark.parametrize(("model", "policy"), [("plain", "refuse"), ("unmapped", "window")])
async def test_content_by_reference_that_cannot_be_bounded_is_refused(
    roads: Roads, provider: Provider, model: str, policy: str
) -> None:
    road = await roads.open(upstream_at(provider.base_url), reserve={"by_reference": policy})
    parts = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    answer = await road.ask({"model": model, "messages": [{"role": "user", "content": parts}]})
    assert (answer.status, answer.error["code"]) == (400, "content_by_reference")
    assert (await road.ask(chat(model, max_tokens=5))).status == 200


async def test_a_model_with_hidden_context_holds_its_window(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, hidden_context=True), credits="100")
    answer = await road.ask(chat(max_tokens=10))
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(WINDOW * INPUT_UCR + 10 * OUTPUT_UCR)


async def test_several_answers_are_refused_where_the_usage_of_one_is_reported(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, counts_every_answer=False))
    answer = await road.ask(chat(n=2))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "answers_not_counted", "n")
    assert await road.spent_ucr() == 0
    assert (await road.ask(chat(n=1))).status == 200


async def test_with_plenty_the_learned_estimate_is_held_and_near_zero_the_hard_bound(
    roads: Roads, provider: Provider
) -> None:
    request = chat(max_tokens=10)
    worst = worst_ucr(request, 10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(20 * worst))
    plenty = await road.ask(request, x_replay_output_tokens=1, x_replay_prompt_tokens=1)
    learned_tokens = len(msgspec.json.encode(request))  # a byte is a token, until more is known
    assert learned_tokens < prompt_bound(request)
    assert plenty.headers["x-tollgate-credits-reserved"] == credits_text(price_ucr(learned_tokens, 10))
    less = await road.ask(request, x_replay_output_tokens=1, x_replay_prompt_tokens=1)
    assert less.headers["x-tollgate-credits-reserved"] == credits_text(worst)


async def test_the_estimate_is_learned_from_what_providers_report(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    request = chat(max_tokens=10)
    for _ in range(32):
        await road.ask(request, x_replay_output_tokens=1, x_replay_prompt_tokens=20)
    await road.tell()
    answer = await road.ask(request, x_replay_output_tokens=1, x_replay_prompt_tokens=20)
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(price_ucr(20, 10))


async def test_images_teach_nothing_of_texts_and_are_held_beside_the_estimate(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="100000")
    text = chat("unmapped", max_tokens=10)
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    image = text | {"messages": [{"role": "user", "content": parts}]}
    for _ in range(32):
        seen = await road.ask(image, x_replay_output_tokens=1, x_replay_prompt_tokens=40_000)
    assert ucr_from_text(seen.headers["x-tollgate-credits-reserved"]) > price_ucr(IMAGE_TOKENS_MAX, 10)
    await road.tell()
    after = await road.ask(text, x_replay_output_tokens=1, x_replay_prompt_tokens=20)  # its size is of the same class
    assert after.headers["x-tollgate-credits-reserved"] == credits_text(price_ucr(len(msgspec.json.encode(text)), 10))


async def test_the_dearest_target_is_held_and_the_one_that_serves_is_charged(roads: Roads, provider: Provider) -> None:
    alias = Alias("ours", (("main", "plain"), ("main", "dear")))
    request = chat("ours", max_tokens=10)
    worst = 3 * worst_ucr(request, 10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst), aliases=[alias])
    answer = await road.ask(request, x_replay_output_tokens=10, x_replay_prompt_tokens=5)
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst)
    assert await road.spent_ucr() == price_ucr(5, 10)


async def test_a_model_of_unknown_maximum_is_sent_the_limit_that_is_held(
    roads: Roads, hostile: HostileUpstream
) -> None:
    served = upstream_at(hostile.url("well_behaved"))
    road = await roads.open(served, reserve={"default_output_limit_tokens": 300}, credits="10")
    answer = await road.ask(chat("boundless"))
    assert answer.headers["x-tollgate-output-limit"] == "300"
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst_ucr(chat("boundless"), 300))
    assert msgspec.json.decode(hostile.requests[0].body)["max_completion_tokens"] == 300


async def test_the_models_own_maximum_is_held_and_nothing_is_sent(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")), credits="100")
    answer = await road.ask(chat())
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst_ucr(chat(), OUTPUT_MAX))
    assert "x-tollgate-output-limit" not in answer.headers
    assert msgspec.json.decode(hostile.requests[0].body) == chat()
