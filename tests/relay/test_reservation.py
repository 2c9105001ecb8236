"""How much a call may hold, what is done when that is not there, and what a reservation is in the end charged."""

import asyncio
from typing import Any

import msgspec
import pytest

from gateway.core.units import credits_text
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import (
    INPUT_UCR,
    OUTPUT_MAX,
    OUTPUT_UCR,
    Roads,
    chat,
    price_ucr,
    prompt_bound,
    until,
    upstream_at,
    worst_ucr,
)

SLICE = 16


# --- 1: the worst case fits -------------------------------------------------------------------------------------------


async def test_credits_for_exactly_the_worst_case_are_enough(roads: Roads, provider: Provider) -> None:
    request = chat(max_tokens=10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst_ucr(request, 10)))
    assert (await road.ask(request, x_replay_output_tokens=10)).status == 200


async def test_without_credits_for_the_worst_case_nothing_is_sent_and_the_answer_says_what_would_fit(
    roads: Roads, provider: Provider
) -> None:
    request = chat(max_tokens=10)
    worst = worst_ucr(request, 10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst - 1))
    answer = await road.ask(request)
    assert answer.status == 402
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert (answer.error["type"], answer.error["code"]) == ("insufficient_quota", "insufficient_credits")
    assert answer.error["metadata"] == {
        "limit_source": "org_pool",
        "available": credits_text(worst - 1),
        "required": credits_text(worst),
        "affordable_max_tokens": 9,
    }
    assert (await road.ask(chat(max_tokens=9), x_replay_output_tokens=1)).status == 200
    assert (await provider.sent())["total"]["calls"] == 1


async def test_the_status_for_cannot_pay_is_a_setting(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="0.001", insufficient_status=429)
    answer = await road.ask(chat(max_tokens=10))
    assert (answer.status, answer.error["code"]) == (429, "insufficient_credits")
    assert answer.headers["x-should-retry"] == "false"


async def test_of_fifty_calls_at_once_on_credits_for_one_worst_case_one_passes(
    roads: Roads, provider: Provider
) -> None:
    request = chat(max_tokens=10)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst_ucr(request, 10)))
    answers = await asyncio.gather(*(road.ask(request, x_replay_output_tokens=10) for _ in range(50)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200] + 49 * [402]
    assert (await provider.sent())["total"]["calls"] == 1
    (passed,) = [answer for answer in answers if answer.status == 200]
    usage = passed.json["usage"]
    assert await road.spent_ucr() == price_ucr(usage["prompt_tokens"], usage["completion_tokens"])


async def test_credits_that_open_calls_hold_are_waited_for_and_then_retried(
    roads: Roads, hostile: HostileUpstream
) -> None:
    request = chat(max_tokens=10, stream=True)
    worst = worst_ucr(request, 10)
    road = await roads.open(
        upstream_at(hostile.url("goes_on_when_told")), credits=credits_text(worst), reserve={"first_slice_tokens": 10}
    )
    async with road.begin(request) as first:
        answer = await road.ask(request)
        assert (answer.status, answer.error["code"]) == (402, "credits_reserved")
        assert answer.error["type"] == "insufficient_quota"
        assert answer.headers["x-should-retry"] == "true"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.error["metadata"]["available"] == "0.000000"
        assert await road.held_ucr() == worst
        hostile.go_on.set()
        await first.rest()
    assert len(hostile.requests) == 1


async def test_a_call_in_the_queue_goes_on_as_soon_as_credits_come_free(roads: Roads, hostile: HostileUpstream) -> None:
    request = chat(max_tokens=10, stream=True)
    road = await roads.open(
        upstream_at(hostile.url("goes_on_when_told")),
        credits=credits_text(2 * worst_ucr(request, 10) - 1),
        ledger={"queue_wait_s": 10.0, "queue_poll_s": 10.0},
    )
    async with road.begin(request) as first:
        second = asyncio.ensure_future(road.ask(request))
        await until(lambda: road.gateway.relay.open_calls == 2)
        assert len(hostile.requests) == 1
        hostile.go_on.set()
        await first.rest()
    assert (await second).events[-1] == b"[DONE]"


# --- 2: a stream that is paid as it flows -----------------------------------------------------------------------------


async def test_a_stream_begins_with_a_slice_and_is_topped_up_as_it_flows(roads: Roads, provider: Provider) -> None:
    request = chat(stream=True)
    credits_ucr = worst_ucr(request, OUTPUT_MAX) - 1
    road = await roads.open(
        upstream_at(provider.base_url), credits=credits_text(credits_ucr), reserve={"first_slice_tokens": SLICE}
    )
    tokens = 10 * SLICE
    answer = await road.ask(request, x_replay_output_tokens=tokens, x_replay_prompt_tokens=5)
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst_ucr(request, SLICE))
    assert "x-tollgate-output-limit" not in answer.headers
    assert len(answer.text) == 4 * tokens
    assert await road.spent_ucr() == price_ucr(5, tokens)
    assert (await road.ended()).ended == "ok"


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_stream_is_cut_off_when_the_credits_run_out(
    roads: Roads, provider: Provider, include_usage: bool
) -> None:
    request = chat(stream=True, stream_options={"include_usage": include_usage})
    affordable = 3 * SLICE + 5
    credits_ucr = worst_ucr(request, affordable)
    road = await roads.open(
        upstream_at(provider.base_url), credits=credits_text(credits_ucr), reserve={"first_slice_tokens": SLICE}
    )
    answer = await road.ask(request, x_replay_output_tokens=300, x_replay_interval_ms=1)
    assert answer.status == 200
    assert (answer.last_error["code"], answer.last_error["type"]) == ("insufficient_credits", "insufficient_quota")
    assert len(answer.text) == 4 * affordable
    end = await road.ended()
    assert (end.kind, end.ended) == ("CHARGE", "cut_off")
    assert end.charged_ucr == min(end.cost_ucr, credits_ucr)
    assert end.waived_ucr == end.cost_ucr - end.charged_ucr
    assert end.overage_ucr == 0
    assert await road.spent_ucr() == end.charged_ucr >= affordable * OUTPUT_UCR
    usages = [chunk for chunk in answer.chunks if chunk.get("choices") == []]
    assert len(usages) == include_usage
    if include_usage:
        assert answer.chunks[-2] is not None
        assert usages[0]["usage"]["completion_tokens"] == end.output_tokens
        assert usages[0]["id"] == answer.chunks[0]["id"]
    assert (await provider.call())["end"] == "client_gone"


@pytest.mark.parametrize("pieces", [{}, {"x_replay_cuts": 7}], ids=["in one piece", "in several"])
async def test_what_is_paid_for_is_delivered_before_the_cut(
    roads: Roads, provider: Provider, pieces: dict[str, Any]
) -> None:
    request = chat(stream=True)
    road = await roads.open(
        upstream_at(provider.base_url),
        credits=credits_text(worst_ucr(request, 20)),
        reserve={"first_slice_tokens": 2},
    )
    answer = await road.ask(request, x_replay_output_tokens=60, **pieces)
    assert len(answer.text) == 4 * 20
    assert answer.last_error["code"] == "insufficient_credits"


async def test_what_came_in_one_piece_beyond_the_credits_is_waived_and_never_owed(
    roads: Roads, hostile: HostileUpstream
) -> None:
    credits_ucr = worst_ucr(chat(stream=True), 100)
    road = await roads.open(
        upstream_at(hostile.url("talks_without_end")),
        credits=credits_text(credits_ucr),
        reserve={"first_slice_tokens": SLICE},
    )
    answer = await road.ask(chat(stream=True))
    assert answer.last_error["code"] == "insufficient_credits"
    end = await road.ended()
    assert (end.ended, end.charged_ucr, end.overage_ucr) == ("cut_off", worst_ucr(chat(stream=True), SLICE), 0)
    assert end.waived_ucr == end.cost_ucr - end.charged_ucr > 0
    assert await road.spent_ucr() == end.charged_ucr


async def test_credits_granted_in_the_meantime_keep_a_stream_alive(roads: Roads, hostile: HostileUpstream) -> None:
    request = chat(stream=True)
    road = await roads.open(
        upstream_at(hostile.url("says_more_when_told")),
        credits=credits_text(worst_ucr(request, 2)),
        reserve={"first_slice_tokens": 2},
    )
    async with road.begin(request) as caller:
        await caller.until_read(b"Hello")
        await road.grant("1")
        hostile.go_on.set()
        assert (await caller.rest()).events[-1] == b"[DONE]"


async def test_hidden_reasoning_is_never_paid_as_it_flows(roads: Roads, provider: Provider) -> None:
    request = chat("thinker", stream=True, max_tokens=1000)
    road = await roads.open(
        upstream_at(provider.base_url),
        credits=credits_text(worst_ucr(request, 999)),
        reserve={"first_slice_tokens": SLICE},
    )
    assert (await road.ask(request)).status == 402


# --- 3: hold what fits and send it as the limit -----------------------------------------------------------------------


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_where_the_limit_was_left_open_what_fits_is_held_and_sent_as_the_limit(
    roads: Roads, hostile: HostileUpstream, field: str
) -> None:
    request = chat()
    road = await roads.open(
        upstream_at(hostile.url("well_behaved"), output_limit_field=field),
        credits=credits_text(worst_ucr(request, 300)),
    )
    answer = await road.ask(request)
    assert answer.status == 200
    assert answer.headers["x-tollgate-output-limit"] == "300"
    assert answer.headers["x-tollgate-credits-reserved"] == credits_text(worst_ucr(request, 300))
    assert msgspec.json.decode(hostile.requests[0].body) == {field: 300, **request}


async def test_a_limit_under_the_newer_name_also_goes_to_a_provider_that_knows_the_older(
    roads: Roads, hostile: HostileUpstream
) -> None:
    request = chat(max_completion_tokens=16)
    road = await roads.open(upstream_at(hostile.url("well_behaved"), output_limit_field="max_tokens"))
    answer = await road.ask(request)
    assert "x-tollgate-output-limit" not in answer.headers
    assert msgspec.json.decode(hostile.requests[0].body) == {"max_tokens": 16, **request}


async def test_too_little_for_an_answer_worth_having_is_refused(roads: Roads, provider: Provider) -> None:
    request = chat()
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst_ucr(request, 255)))
    answer = await road.ask(request)
    assert (answer.status, answer.error["metadata"]["affordable_max_tokens"]) == (402, 255)


async def test_a_limit_that_was_asked_for_is_lowered_only_by_policy(roads: Roads, hostile: HostileUpstream) -> None:
    request = chat(max_tokens=1000, max_completion_tokens=2000)
    credits = credits_text(worst_ucr(request, 300))
    strict = await roads.open(upstream_at(hostile.url("well_behaved")), credits=credits)
    assert (await strict.ask(request)).status == 402
    clamping = await roads.open(upstream_at(hostile.url("well_behaved")), credits=credits, reserve={"clamp": True})
    answer = await clamping.ask(request)
    assert (answer.status, answer.headers["x-tollgate-output-limit"]) == (200, "300")
    sent = msgspec.json.decode(hostile.requests[0].body)
    assert (sent["max_tokens"], sent["max_completion_tokens"]) == (300, 300)


async def test_a_provider_that_ignores_the_limit_it_was_sent_is_cut_off_at_the_end_of_the_credits(
    roads: Roads, provider: Provider
) -> None:
    request = chat("thinker", stream=True)
    credits_ucr = worst_ucr(request, 300)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(credits_ucr))
    answer = await road.ask(request, x_replay_output_tokens=1900, x_replay_overshoot="yes")
    assert answer.headers["x-tollgate-output-limit"] == "300"
    assert answer.last_error["code"] == "insufficient_credits"
    end = await road.ended()
    assert end.ended == "cut_off"
    assert await road.spent_ucr() <= credits_ucr


# --- above what was held ----------------------------------------------------------------------------------------------


async def test_real_cost_above_what_was_held_takes_what_is_left_and_the_rest_is_owed(
    roads: Roads, provider: Provider
) -> None:
    request = chat(max_tokens=5)
    worst = worst_ucr(request, 5)
    road = await roads.open(upstream_at(provider.base_url), credits=credits_text(worst))
    cost_ucr = price_ucr(prompt_bound(request) + 50, 5)
    answer = await road.ask(request, x_replay_output_tokens=5, x_replay_prompt_tokens=prompt_bound(request) + 50)
    assert answer.status == 200
    end = await road.ended()
    assert (end.cost_ucr, end.charged_ucr, end.overage_ucr) == (cost_ucr, worst, 50 * INPUT_UCR)
    refused = await road.ask(request)
    assert (refused.status, refused.error["metadata"]["limit_source"]) == (402, "receivable")
    await road.grant("10")
    assert (await road.ask(request, x_replay_output_tokens=1)).status == 200
