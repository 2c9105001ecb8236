"""Answers that are not streamed: read whole or piecewise, metered by what they say of themselves."""

import pytest

from gateway.upstream.registry import Timeouts
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import Roads, chat, price_ucr, upstream_at

BIG_TOKENS = 300_000
"""Of four characters each: an answer of more than a mebibyte."""


async def test_a_large_answer_is_relayed_piecewise_and_charged_by_its_usage(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="10000")
    request = chat(max_tokens=BIG_TOKENS)
    async with road.begin(request, x_replay_output_tokens=BIG_TOKENS, x_replay_prompt_tokens=3) as caller:
        assert "x-tollgate-credits-charged" not in caller.headers
        assert int(caller.headers["content-length"]) > 2**20
        answer = await caller.rest()
    assert len(answer.json["choices"][0]["message"]["content"]) > 4 * BIG_TOKENS - 4
    assert await road.spent_ucr() == price_ucr(3, BIG_TOKENS)
    assert (await road.ended()).ended == "ok"


async def test_a_large_answer_that_breaks_off_does_not_look_whole(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="10000")
    request = chat(max_tokens=2 * BIG_TOKENS)
    async with road.begin(request, x_replay_output_tokens=2 * BIG_TOKENS, x_replay_break=1) as caller:
        length = int(caller.headers["content-length"])
        with pytest.raises(Exception, match="payload is not completed"):
            await caller.rest()
    end = await road.ended()
    assert (end.kind, end.ended) == ("CHARGE", "error")
    assert 0 < end.output_tokens <= length / 4


async def test_a_large_answer_without_sense_is_relayed_and_charged_by_its_bytes(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("big_body")))
    for _ in range(2):
        assert (await road.ask(chat())).body == b"x" * 2**23
    assert {(end.kind, end.ended) for end in await road.books()} == {("CHARGE", "estimated")}


async def test_an_answer_without_usage_is_estimated(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(chat(), x_replay_output_tokens=8, x_replay_usage="no")
    assert "usage" not in answer.json
    end = await road.ended()
    assert (end.kind, end.ended, end.output_tokens) == ("CHARGE", "estimated", 8)


async def test_absurd_usage_is_not_believed(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await road.ask(chat(), x_replay_output_tokens=8, x_replay_usage="absurd")
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("estimated", 8)


async def test_a_whole_answer_to_a_stream_request_is_relayed_and_charged_by_its_usage(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    answer = await road.ask(chat(stream=True))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["choices"][0]["message"]["content"] == "turn 1"
    assert await road.spent_ucr() == price_ucr(10, 2)


@pytest.mark.parametrize(("garbage", "stream"), [("json", False), ("json", True), ("html", False), ("html", True)])
async def test_what_is_no_answer_is_502_and_costs_nothing(
    roads: Roads, provider: Provider, garbage: str, stream: bool
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(chat(stream=stream), x_replay_garbage=garbage)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert (await road.ended()).kind == "RELEASE"


@pytest.mark.parametrize("by", [-10, 10])
async def test_a_content_length_that_lies_is_no_answer(roads: Roads, provider: Provider, by: int) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(chat(), x_replay_length=by)
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert (await road.ended()).kind == "RELEASE"


async def test_an_empty_answer_is_no_answer(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("empty")))
    answer = await road.ask(chat())
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert (await road.ended()).kind == "RELEASE"


async def test_an_answer_that_stops_in_its_middle_is_a_timeout(roads: Roads, provider: Provider) -> None:
    hasty = Timeouts(connect_s=5, first_event_s=5, idle_s=0.1, total_s=10)
    road = await roads.open(upstream_at(provider.base_url, timeouts=hasty))
    answer = await road.ask(chat(), x_replay_hang=1)
    assert (answer.status, answer.error["code"]) == (504, "timeout")
    assert (await road.ended()).kind == "RELEASE"
