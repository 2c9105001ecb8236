"""Bad luck with the provider once a stream flows: what the caller still gets, how it ends, what is charged."""

import asyncio

import pytest

from gateway.upstream.registry import Timeouts
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import OUTPUT_MAX, Roads, chat, price_ucr, upstream_at

STREAM = chat(stream=True)
ASKS_USAGE = chat(stream=True, stream_options={"include_usage": True})
HASTY = Timeouts(connect_s=5, first_event_s=5, idle_s=0.1, total_s=10)


@pytest.mark.parametrize("how", ["close", "reset", "end"])
async def test_a_provider_that_closes_in_mid_stream_is_an_error_frame_after_whole_events(
    roads: Roads, provider: Provider, how: str
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(
        STREAM, x_replay_output_tokens=9, x_replay_break=3, x_replay_break_by=how, x_replay_interval_ms=1
    )
    assert answer.status == 200
    assert (answer.last_error["type"], answer.last_error["code"]) == ("upstream_error", "upstream_error")
    end = await road.ended()
    assert (end.kind, end.ended) == ("CHARGE", "error")
    assert end.output_tokens == len(answer.text) / 4 <= 3
    assert await road.spent_ucr() == price_ucr(end.prompt_tokens, end.output_tokens)


async def test_a_provider_that_falls_silent_in_mid_stream_is_a_timeout_frame(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, timeouts=HASTY))
    answer = await road.ask(STREAM, x_replay_output_tokens=9, x_replay_hang=3)
    assert (answer.last_error["type"], answer.last_error["code"]) == ("timeout_error", "timeout")
    assert len(answer.text) == 4 * 3
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("error", 3)
    assert (await provider.call())["end"] == "client_gone"


async def test_the_error_frame_bears_the_streams_own_id_and_model(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(STREAM, x_replay_output_tokens=9, x_replay_break=3)
    first, last = answer.chunks[0], answer.chunks[-1]
    assert (last["id"], last["model"]) == (first["id"], first["model"])


async def test_half_an_event_is_neither_relayed_nor_charged(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("closes_mid_stream")))
    answer = await road.ask(STREAM)
    assert answer.text == "Hello there"
    assert answer.last_error["code"] == "upstream_error"
    assert (await road.ended()).output_tokens == 3


async def test_half_an_event_is_none_even_where_the_message_ends_properly(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("ends_with_half_an_event")))
    answer = await road.ask(STREAM)
    assert answer.text == "Hello"
    assert answer.last_error["code"] == "upstream_error"
    assert (await road.ended()).output_tokens == 2


@pytest.mark.parametrize("behaviour", ["resets_mid_stream", "resets_close_delimited", "chunk_size_garbage"])
async def test_a_stream_that_breaks_its_framing_ends_in_an_error_frame(
    roads: Roads, hostile: HostileUpstream, behaviour: str
) -> None:
    road = await roads.open(upstream_at(hostile.url(behaviour)))
    async with road.begin(STREAM) as caller:
        await caller.until_read(b"Hello")
        hostile.go_on.set()
        answer = await caller.rest()
    assert answer.last_error["code"] == "upstream_error"
    assert (await road.ended()).ended == "error"


async def test_a_stream_without_terminal_event_is_an_error_and_never_a_clean_end(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("ends_without_terminal_event")))
    answer = await road.ask(STREAM)
    assert answer.text == "Hello there"
    assert answer.last_error["code"] == "upstream_error"


async def test_a_stream_that_ends_by_its_finish_reason_needs_no_done(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(STREAM, x_replay_output_tokens=5, x_replay_prompt_tokens=3, x_replay_done="no")
    assert answer.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert await road.spent_ucr() == price_ucr(3, 5)
    assert (await road.ended()).ended == "ok"


@pytest.mark.parametrize("behaviour", ["close_delimited", "done_without_an_empty_line", "usage_without_an_empty_line"])
async def test_a_stream_may_end_with_its_connection(roads: Roads, hostile: HostileUpstream, behaviour: str) -> None:
    road = await roads.open(upstream_at(hostile.url(behaviour)))
    async with road.begin(STREAM) as caller:
        answer = await caller.rest()
    assert b"Hello" in answer.body
    assert b"error" not in answer.body
    end = await road.ended()
    if behaviour == "usage_without_an_empty_line":
        assert b"usage" not in answer.body
        assert (end.ended, end.prompt_tokens, end.output_tokens) == ("ok", 10, 3)
    else:
        assert answer.body.rstrip().endswith(b"data: [DONE]")
        assert end.ended == "estimated"


async def test_a_stream_without_usage_is_estimated(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(ASKS_USAGE, x_replay_output_tokens=8, x_replay_usage="no")
    assert answer.events[-1] == b"[DONE]"
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("estimated", 8)
    assert 0 < end.prompt_tokens < 100
    assert await road.spent_ucr() == price_ucr(end.prompt_tokens, 8)


async def test_absurd_usage_is_not_believed(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await road.ask(STREAM, x_replay_output_tokens=8, x_replay_usage="absurd")
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("estimated", 8)


async def test_the_providers_own_error_event_is_relayed_and_ends_the_stream(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(STREAM, x_replay_output_tokens=8, x_replay_error_event=3)
    assert answer.chunks[-1]["error"]["code"] == "replayed"
    assert len(answer.text) == 4 * 3
    end = await road.ended()
    assert (end.kind, end.ended, end.output_tokens) == ("CHARGE", "estimated", 3)


async def test_an_error_event_before_any_content_is_relayed_and_costs_nothing(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(STREAM, x_replay_error_event=0)
    assert (answer.status, answer.chunks[-1]["error"]["code"]) == (200, "replayed")
    assert (await road.ended()).kind == "RELEASE"


async def test_events_that_are_no_json_are_relayed_and_counted(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("broken_sse")))
    answer = await road.ask(STREAM)
    assert b"data: {oops\n\nnonsense\n\ndata: [DONE]\n\n" in answer.body
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("estimated", 3)


async def test_an_event_without_end_is_given_up(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("endless_event")))
    answer = await road.ask(STREAM)
    assert answer.last_error["code"] == "upstream_error"
    assert (await road.ended()).output_tokens == 0


async def test_comments_keep_a_stream_alive_and_reach_the_caller(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    answer = await road.ask(STREAM, x_replay_output_tokens=3, x_replay_comments=5)
    assert answer.body.count(b"\n\n") > len(answer.events)
    assert answer.body.startswith(b":")
    assert (await road.ended()).ended == "ok"


async def test_more_comments_than_are_held_back_flow_before_the_first_content(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    async with road.begin(
        STREAM, x_replay_output_tokens=3, x_replay_comments=10_000, x_replay_first_event_ms=0
    ) as caller:
        answer = await caller.rest()
    assert len(answer.body) > 64 * 1024
    assert len(answer.text) == 4 * 3
    assert (await road.ended()).ended == "ok"


async def test_a_slow_caller_gets_every_byte_of_a_fast_provider(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="100000")
    async with road.begin(chat(stream=True, max_tokens=30_000), x_replay_output_tokens=30_000) as caller:
        await asyncio.sleep(0)  # and nothing is read until the gateway's buffers are full
        await caller.until_read(b"data:")
        answer = await caller.rest()
    assert len(answer.text) == 4 * 30_000
    assert OUTPUT_MAX < (await road.ended()).output_tokens == 30_000
