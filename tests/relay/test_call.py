"""The caller leaves: at every stage of a call, what becomes of it, of the provider's work and of the credits."""

import asyncio
from typing import Any

import asyncpg
import pytest

from gateway.core.units import credits_text
from gateway.edge.connection import ConnectionLimits
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import INPUT_UCR, Road, Roads, chat, price_ucr, until, upstream_at, worst_ucr

STREAM = chat(stream=True)


async def leave_when(asking: "asyncio.Future[object]", ready: object) -> None:
    asking.cancel()
    await asyncio.wait({asking})


async def turns_of_the_loop(road: Road) -> None:
    """Whatever was written to a socket of this process before has been read when this returns."""
    for _ in range(3):
        assert (await road.get("/livez")).status == 200


async def test_a_caller_who_leaves_the_queue_takes_nothing_with_him(roads: Roads, hostile: HostileUpstream) -> None:
    request = chat(max_tokens=10, stream=True)
    road = await roads.open(
        upstream_at(hostile.url("goes_on_when_told")),
        credits=credits_text(2 * worst_ucr(request, 10) - 1),
        ledger={"queue_wait_s": 10.0},
    )
    async with road.begin(request) as first:
        second = asyncio.ensure_future(road.ask(request))
        await until(lambda: road.gateway.relay.open_calls == 2)
        second.cancel()
        await until(lambda: road.gateway.relay.open_calls == 1)
        assert await road.held_ucr() == worst_ucr(request, 10)
        hostile.go_on.set()
        await first.rest()
    assert len(hostile.requests) == 1
    assert [end.ended for end in await road.books() if end.kind == "CHARGE"] == ["estimated"]


async def test_a_caller_who_leaves_while_his_key_is_looked_up_reserves_nothing(
    roads: Roads, hostile: HostileUpstream, owner: asyncpg.Connection
) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    async with owner.transaction():
        await owner.execute("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE")
        async with await road.connect() as wire:
            await wire.send(road.wire(chat()))
            await until(lambda: owner.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
        await turns_of_the_loop(road)
    assert (await road.ask(chat())).status == 200
    assert len(hostile.requests) == 1
    assert (await road.ended()).ended == "ok"


async def test_a_caller_who_leaves_while_his_credits_are_being_held_costs_nothing(
    roads: Roads, hostile: HostileUpstream, owner: asyncpg.Connection
) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    async with owner.transaction():
        await owner.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", road.org.org_id)
        asking = asyncio.ensure_future(road.ask(chat()))
        await until(lambda: owner.fetchval("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"))
        asking.cancel()
        await until(lambda: road.gateway.relay.open_calls == 0)
    end = await road.ended()
    assert (end.kind, end.ended) == ("RELEASE", "cancelled")
    assert hostile.requests == []


async def test_a_stream_abandoned_before_its_first_byte_costs_nothing(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    asking = asyncio.ensure_future(road.ask(STREAM, x_replay_hang_at="headers"))
    await provider.being_asked()
    asking.cancel()
    end = await road.ended()
    assert (end.kind, end.ended) == ("RELEASE", "cancelled")
    assert (await provider.call())["end"] == "client_gone"


async def test_a_stream_abandoned_between_its_first_byte_and_its_first_content_costs_its_prompt(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("reasons_until_told")))
    asking = asyncio.ensure_future(road.ask(STREAM))
    await hostile.extra_sent.wait()
    await turns_of_the_loop(road)
    asking.cancel()
    end = await road.ended()
    assert (end.kind, end.ended, end.output_tokens) == ("CHARGE", "cancelled", 0)
    assert await road.spent_ucr() == end.prompt_tokens * INPUT_UCR > 0


async def test_a_stream_abandoned_in_its_middle_is_stopped_and_costs_what_came(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    async with road.begin(STREAM, x_replay_output_tokens=1000, x_replay_interval_ms=2) as caller:
        while caller.read.count(b"data:") < 20:
            caller.read += await caller.response.content.readany()
        caller.leave()
    end = await road.ended()
    assert (end.kind, end.ended) == ("CHARGE", "cancelled")
    sent = await provider.call()
    assert sent["end"] == "client_gone"
    assert 18 <= end.output_tokens <= sent["written_tokens"] < 1000
    assert await road.spent_ucr() == price_ucr(end.prompt_tokens, end.output_tokens)


async def test_a_caller_who_half_closes_counts_as_gone(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    async with await road.connect() as wire:
        await wire.send(road.wire(STREAM, "x-replay-output-tokens: 1000", "x-replay-interval-ms: 5"))
        await wire.until_read(b"data:")
        wire.writer.write_eof()
        end = await road.ended()
    assert (end.kind, end.ended) == ("CHARGE", "cancelled")
    assert (await provider.call())["end"] == "client_gone"


async def test_a_caller_who_resets_counts_as_gone(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    wire = await road.connect()
    await wire.send(road.wire(STREAM, "x-replay-output-tokens: 1000", "x-replay-interval-ms: 5"))
    await wire.until_read(b"data:")
    wire.writer.transport.abort()
    assert (await road.ended()).ended == "cancelled"


async def test_leaving_after_the_last_event_changes_nothing(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    async with road.begin(STREAM, x_replay_output_tokens=5, x_replay_prompt_tokens=3) as caller:
        await caller.until_read(b"[DONE]")
        caller.leave()
    assert await road.spent_ucr() == price_ucr(3, 5)
    assert (await road.ended()).ended == "ok"


async def test_while_only_hidden_reasoning_has_come_an_abandoned_stream_is_read_on_for_its_usage(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("reasons_until_told")))
    asking = asyncio.ensure_future(road.ask(chat("thinker", stream=True)))
    await hostile.extra_sent.wait()
    await turns_of_the_loop(road)
    asking.cancel()
    await turns_of_the_loop(road)
    assert road.gateway.relay.open_calls == 1
    hostile.go_on.set()
    end = await road.ended()
    assert (end.kind, end.ended, end.reasoning_tokens) == ("CHARGE", "cancelled", 2)
    assert await road.spent_ucr() == price_ucr(10, 3)


async def test_a_provider_that_bills_in_full_is_read_on_for_its_usage(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url, on_disconnect="drain"))
    pace: dict[str, Any] = {"x_replay_output_tokens": 40, "x_replay_prompt_tokens": 3, "x_replay_interval_ms": 2}
    async with road.begin(STREAM, **pace) as caller:
        await caller.until_read(b"data:")
        caller.leave()
    assert await road.spent_ucr() == price_ucr(3, 40)
    end = await road.ended()
    assert (end.ended, end.output_tokens) == ("cancelled", 40)
    assert (await provider.call())["end"] == "complete"


async def test_a_provider_that_bills_in_full_is_read_on_from_before_the_first_event(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url, on_disconnect="drain"))
    pace: dict[str, Any] = {"x_replay_output_tokens": 40, "x_replay_prompt_tokens": 3, "x_replay_latency_ms": 100}
    asking = asyncio.ensure_future(road.ask(STREAM, **pace))
    await provider.being_asked()
    asking.cancel()
    assert await road.spent_ucr() == price_ucr(3, 40)
    assert (await road.ended()).ended == "cancelled"


async def test_reading_on_from_before_the_first_event_has_a_limit_too(roads: Roads, provider: Provider) -> None:
    served = upstream_at(provider.base_url, on_disconnect="drain")
    road = await roads.open(served, reserve={"drain_s": 0.1})
    asking = asyncio.ensure_future(road.ask(STREAM, x_replay_latency_ms=100, x_replay_hang=2))
    await provider.being_asked()
    asking.cancel()
    end = await road.ended()
    assert (end.kind, end.ended, end.output_tokens) == ("CHARGE", "cancelled", 2)


@pytest.mark.parametrize("drain_s", [0.0, 0.05])
async def test_reading_on_has_a_limit(roads: Roads, hostile: HostileUpstream, drain_s: float) -> None:
    served = upstream_at(hostile.url("goes_on_when_told"), on_disconnect="drain")
    road = await roads.open(served, reserve={"drain_s": drain_s})
    async with road.begin(STREAM) as caller:
        await caller.until_read(b"Hello")
        caller.leave()
    end = await road.ended()
    assert (end.kind, end.ended, end.output_tokens) == ("CHARGE", "cancelled", 2)


async def test_an_answer_that_is_not_streamed_is_read_to_its_end_and_charged(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    pace: dict[str, Any] = {"x_replay_output_tokens": 40, "x_replay_prompt_tokens": 3, "x_replay_latency_ms": 100}
    asking = asyncio.ensure_future(road.ask(chat(), **pace))
    await provider.being_asked()
    asking.cancel()
    assert await road.spent_ucr() == price_ucr(3, 40)
    assert (await road.ended()).ended == "cancelled"
    assert (await provider.call())["end"] == "complete"


async def test_a_large_answer_is_read_to_its_end_though_the_caller_left_in_its_middle(
    roads: Roads, provider: Provider
) -> None:
    tokens = 400_000
    road = await roads.open(upstream_at(provider.base_url), credits="10000")
    async with road.begin(chat(max_tokens=tokens), x_replay_output_tokens=tokens, x_replay_prompt_tokens=3) as caller:
        caller.leave()
    assert await road.spent_ucr() == price_ucr(3, tokens)


async def test_a_caller_who_leaves_while_he_sends_his_request_reserves_nothing(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    async with await road.connect() as wire:
        await wire.send(road.wire(chat())[:-5])
    await turns_of_the_loop(road)
    assert await road.books() == []


async def test_a_caller_who_stops_reading_is_gone_after_a_while(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(
        upstream_at(hostile.url("talks_without_end")),
        credits="1000000",
        connections=ConnectionLimits(write_s=0.1),
    )
    wire = await road.connect(deaf=True)
    await wire.send(road.wire(chat(stream=True, max_tokens=50_000_000)))
    await until(lambda: road.gateway.relay.open_calls == 1)
    end = await road.ended()
    assert (end.kind, end.ended) == ("CHARGE", "cancelled")
    await hostile.closed.wait()
    wire.writer.close()


async def test_whoever_stops_reading_a_whole_answer_loses_his_connection(
    roads: Roads, hostile: HostileUpstream
) -> None:
    road = await roads.open(upstream_at(hostile.url("big_body")), connections=ConnectionLimits(write_s=0.1))
    wire = await road.connect(deaf=True)
    await wire.send(road.wire(chat()))
    await until(lambda: road.gateway.relay.open_calls == 1)
    await road.idle()
    taken = await wire.end()
    assert 0 < len(taken) < 2**23
    wire.writer.close()
