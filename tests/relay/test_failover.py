"""Before the commit point: which failures are the caller's to see, which the next target's to mend."""

import asyncio
import socket
from typing import Any

import msgspec
import pytest

from gateway.relay.catalogue import Alias
from gateway.upstream.registry import Timeouts
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import Roads, chat, price_ucr, upstream_at

HASTY = Timeouts(connect_s=5, first_event_s=0.15, idle_s=5, total_s=60)
STREAM = chat(stream=True)
OURS = Alias("ours", (("main", "plain"), ("spare", "dear")))


@pytest.fixture
def closed_port() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


# --- one target -----------------------------------------------------------------------------------------------------


async def test_a_provider_that_cannot_be_reached_is_502_and_costs_nothing(roads: Roads, closed_port: str) -> None:
    road = await roads.open(upstream_at(closed_port))
    for request in (chat(), STREAM):
        answer = await road.ask(request)
        assert (answer.status, answer.error["type"]) == (502, "upstream_error")
        assert closed_port not in answer.error["message"]
    assert {end.kind for end in await road.books()} == {"RELEASE"}
    assert {end.upstream for end in await road.books()} == {"main"}
    assert await road.spent_ucr() == 0


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_trouble_with_our_own_credential_is_502_without_a_word_of_it(
    roads: Roads, provider: Provider, status: int
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(chat(), x_replay_status=status)
    assert (answer.status, answer.error["type"], answer.error["code"]) == (502, "upstream_error", "upstream_error")
    assert b"x-replay-status" not in answer.body
    assert await road.spent_ucr() == 0


async def test_the_providers_own_errors_are_relayed_byte_for_byte(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    for status in (400, 404, 409, 413, 415, 422, 429, 500, 503, 529):
        for request in (chat(), STREAM):
            answer = await road.ask(request, x_replay_status=status, x_replay_retry_after=7)
            assert answer.status == status
            assert answer.headers["retry-after"] == "7"
            assert answer.error["message"].endswith("as x-replay-status asked.")
    ends = await road.books()
    assert {(end.kind, end.ended) for end in ends} == {("RELEASE", "error")}
    assert await road.spent_ucr() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_says_nothing_is_504(roads: Roads, provider: Provider, stream: bool) -> None:
    road = await roads.open(upstream_at(provider.base_url, timeouts=HASTY))
    answer = await road.ask(chat(stream=stream), x_replay_hang_at="headers")
    assert (answer.status, answer.error["type"], answer.error["code"]) == (504, "timeout_error", "timeout")
    assert await road.spent_ucr() == 0
    assert (await provider.call())["end"] == "client_gone"


@pytest.mark.parametrize(
    "behaviour", ["hangs_before_first_event", "trickles_body", "trickles_headers", "hangs_mid_head"]
)
async def test_the_wait_for_the_first_event_goes_by_one_clock(
    roads: Roads, hostile: HostileUpstream, behaviour: str
) -> None:
    road = await roads.open(upstream_at(hostile.url(behaviour), timeouts=HASTY))
    answer = await road.ask(STREAM)
    assert (answer.status, answer.error["code"]) == (504, "timeout")
    assert await road.spent_ucr() == 0


@pytest.mark.parametrize(
    "behaviour",
    [
        "closes_before_answering",
        "resets_before_answering",
        "no_http",
        "header_flood",
        "one_huge_header",
        "switches_protocols",
        "redirects",
        "redirects_with_an_answer",
        "compressed",
        "broken_json",
        "two_lengths",
        "length_too_long",
        "interim_answers_without_end",
    ],
)
async def test_a_broken_answer_is_502_and_costs_nothing(roads: Roads, hostile: HostileUpstream, behaviour: str) -> None:
    road = await roads.open(upstream_at(hostile.url(behaviour)))
    answer = await road.ask(chat())
    assert (answer.status, answer.error["type"], answer.error["code"]) == (502, "upstream_error", "upstream_error")
    assert "location" not in answer.headers
    end = await road.ended()
    assert (end.kind, end.ended) == ("RELEASE", "error")
    assert len(hostile.requests) == 1


async def test_one_callers_answer_never_reaches_another(roads: Roads, hostile: HostileUpstream) -> None:
    for behaviour in ("two_answers_in_one_write", "half_an_answer_more"):
        road = await roads.open(upstream_at(hostile.url(behaviour)))
        for _ in range(3):
            answer = await road.ask(chat())
            assert answer.json["choices"][0]["message"]["content"] == "yours"


@pytest.mark.parametrize("request_", [chat(), STREAM], ids=["whole", "stream"])
async def test_early_hints_are_passed_over(roads: Roads, provider: Provider, request_: dict[str, object]) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(request_, x_replay_early_hints="yes", x_replay_output_tokens=3, x_replay_prompt_tokens=3)
    assert answer.status == 200
    assert await road.spent_ucr() == price_ucr(3, 3)


async def test_a_stream_that_ends_before_any_content_is_502(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(STREAM, x_replay_break=0, x_replay_break_by="end")
    assert (answer.status, answer.error["code"]) == (502, "upstream_error")
    assert await road.spent_ucr() == 0


# --- the next target --------------------------------------------------------------------------------------------------


async def test_the_next_target_serves_when_the_first_cannot_be_reached(
    roads: Roads, provider: Provider, closed_port: str
) -> None:
    spare = upstream_at(provider.base_url, "spare")
    road = await roads.open(upstream_at(closed_port), spare, aliases=[OURS])
    for request in (chat("ours"), chat("ours", stream=True)):
        answer = await road.ask(request, x_replay_output_tokens=4, x_replay_prompt_tokens=3)
        assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "spare")
    for end in await road.books():
        assert (end.upstream, end.upstream_model, end.cost_ucr) == ("spare", "dear", 3 * price_ucr(3, 4))
    assert {call["model"] for call in await provider.calls(2)} == {"dear"}


@pytest.mark.parametrize(
    "fault",
    [
        {"x_replay_status": 500},
        {"x_replay_status": 429},
        {"x_replay_status": 401},
        {"x_replay_error_event": 0},
        {"x_replay_break": 0},
        {"x_replay_garbage": "json"},
        {"x_replay_break": 0, "x_replay_break_by": "end"},
        {"x_replay_hang_at": "headers"},
    ],
    ids=str,
)
async def test_the_next_target_serves_when_the_first_fails_before_any_content(
    roads: Roads, provider: Provider, hostile: HostileUpstream, fault: dict[str, Any]
) -> None:
    first = upstream_at(provider.base_url, timeouts=HASTY)
    spare = upstream_at(hostile.url("well_behaved_stream"), "spare", include_usage=False)
    road = await roads.open(first, spare, aliases=[OURS])
    answer = await road.ask(chat("ours", stream=True), **fault)
    assert (answer.status, answer.text, answer.headers["x-tollgate-upstream"]) == (200, "Hello there", "spare")
    assert (await road.ended()).upstream == "spare"
    assert msgspec.json.decode(hostile.requests[0].body) == chat("dear", stream=True)


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_what_is_wrong_with_the_request_is_not_asked_again_elsewhere(
    roads: Roads, provider: Provider, hostile: HostileUpstream, status: int
) -> None:
    spare = upstream_at(hostile.url("well_behaved"), "spare")
    road = await roads.open(upstream_at(provider.base_url), spare, aliases=[OURS])
    assert (await road.ask(chat("ours"), x_replay_status=status)).status == status
    assert hostile.requests == []


@pytest.mark.parametrize(
    "fault", [{"x_replay_error_event": 1}, {"x_replay_break": 1}, {"x_replay_break": 1, "x_replay_break_by": "reset"}]
)
async def test_no_other_target_is_asked_once_content_has_come(
    roads: Roads, provider: Provider, hostile: HostileUpstream, fault: dict[str, Any]
) -> None:
    spare = upstream_at(hostile.url("well_behaved_stream"), "spare")
    road = await roads.open(upstream_at(provider.base_url), spare, aliases=[OURS])
    answer = await road.ask(chat("ours", stream=True), x_replay_interval_ms=5, **fault)
    assert (answer.status, answer.headers["x-tollgate-upstream"]) == (200, "main")
    assert b'"error"' in answer.events[-1]
    assert hostile.requests == []


async def test_when_every_target_fails_the_last_ones_answer_is_relayed(roads: Roads, provider: Provider) -> None:
    spare = upstream_at(provider.base_url, "spare")
    road = await roads.open(upstream_at(provider.base_url), spare, aliases=[OURS])
    answer = await road.ask(chat("ours"), x_replay_status=503)
    assert (answer.status, answer.error["type"]) == (503, "service_unavailable_error")
    assert (await road.ended()).upstream == "spare"
    assert [call["model"] for call in await provider.calls(2)] == ["plain", "dear"]


async def test_no_other_target_is_asked_for_a_caller_who_left(
    roads: Roads, provider: Provider, hostile: HostileUpstream
) -> None:
    first = upstream_at(hostile.url("answers_before_reading"))
    road = await roads.open(
        upstream_at(provider.base_url, timeouts=HASTY), upstream_at(first.upstream.base_url, "spare"), aliases=[OURS]
    )
    asking = asyncio.ensure_future(road.ask(chat("ours"), x_replay_hang_at="headers"))
    await provider.being_asked()
    asking.cancel()
    await road.idle()
    end = await road.ended()
    assert (end.kind, end.upstream) == ("RELEASE", "main")
    assert hostile.requests == []
