"""The database goes away: before a call, while it streams, when it is settled. Nothing is lost or given away."""

import asyncio
from typing import Any

import asyncpg

from gateway.core.units import credits_text
from tests.fakes.hostile_upstream import HostileUpstream
from tests.postgres.outage import Outage
from tests.provider import Provider
from tests.road import Roads, chat, price_ucr, upstream_at, worst_ucr

STREAM = chat(stream=True)


async def test_without_the_ledger_nothing_is_sent(roads: Roads, hostile: HostileUpstream, outage: Outage) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    assert (await road.ask(chat())).status == 200
    await outage.begin()
    answer = await road.ask(chat())
    assert (answer.status, answer.error["type"]) == (503, "service_unavailable_error")
    assert answer.error["code"] == "ledger_unavailable"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert len(hostile.requests) == 1
    await outage.end()
    assert (await road.ask(chat())).status == 200
    assert await road.spent_ucr() == 2 * price_ucr(10, 2)


async def test_a_stream_goes_on_without_the_database_and_is_settled_when_it_is_back(
    roads: Roads, hostile: HostileUpstream, outage: Outage
) -> None:
    road = await roads.open(upstream_at(hostile.url("goes_on_when_told")))
    async with road.begin(STREAM) as caller:
        await caller.until_read(b"Hello")
        await outage.begin()
        hostile.go_on.set()
        answer = await caller.rest()
    assert answer.events[-1] == b"[DONE]"
    await outage.end()
    end = await road.ended()
    assert (end.kind, end.ended, end.output_tokens) == ("CHARGE", "estimated", 2)


async def test_an_answer_is_given_without_the_database_and_settled_when_it_is_back(
    roads: Roads, provider: Provider, outage: Outage
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    pace: dict[str, Any] = {"x_replay_output_tokens": 4, "x_replay_prompt_tokens": 3, "x_replay_latency_ms": 200}
    asking = asyncio.ensure_future(road.ask(chat(), **pace))
    await provider.being_asked()
    await outage.begin()
    assert (await asking).status == 200
    await outage.end()
    assert await road.spent_ucr() == price_ucr(3, 4)


async def test_a_lost_connection_is_not_an_outage(roads: Roads, provider: Provider, outage: Outage) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await outage.cut()
    answer = await road.ask(chat(), x_replay_output_tokens=4, x_replay_prompt_tokens=3)
    assert answer.status == 200
    assert await road.spent_ucr() == price_ucr(3, 4)


async def test_a_stream_that_must_hold_more_ends_when_the_database_stays_away(
    roads: Roads, hostile: HostileUpstream, outage: Outage
) -> None:
    credits_ucr = worst_ucr(STREAM, 100)
    road = await roads.open(
        upstream_at(hostile.url("says_more_when_told")),
        credits=credits_text(credits_ucr),
        reserve={"first_slice_tokens": 2},
    )
    async with road.begin(STREAM) as caller:
        await caller.until_read(b"Hello")
        await outage.begin()
        hostile.go_on.set()
        answer = await caller.rest()
    await outage.end()
    end = await road.ended()
    assert (end.kind, end.ended, end.overage_ucr) == ("CHARGE", "cut_off", 0)
    assert answer.last_error["code"] == "ledger_unavailable"


async def test_a_call_that_finds_its_process_declared_dead_registers_it_anew_and_is_served(
    roads: Roads, hostile: HostileUpstream, owner: asyncpg.Connection
) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    name = road.gateway.ledger.instances.id
    await owner.execute("UPDATE fence SET fenced_at = clock_timestamp()")
    answer = await road.ask(chat())
    assert answer.status == 200
    assert road.gateway.ledger.instances.id != name
    assert (await road.ended()).ended == "ok"


async def test_a_process_that_was_declared_dead_cuts_the_calls_that_hold_credits(
    roads: Roads, hostile: HostileUpstream, owner: asyncpg.Connection
) -> None:
    road = await roads.open(upstream_at(hostile.url("goes_on_when_told")))
    async with road.begin(chat(stream=True)) as caller:
        await owner.execute("UPDATE fence SET fenced_at = clock_timestamp()")
        await road.gateway.ledger.instances.beat()
        answer = await caller.rest()
    assert answer.last_error["code"] == "upstream_unavailable"
    assert (await road.ended()).kind == "CHARGE"
