"""Ended calls are told of together, and none is forgotten: not at a scrape, not at a stop."""

import io
import json
import sys
from collections.abc import Iterator

import pytest

from gateway.edge import observer
from gateway.edge.rooms import OBSERVER
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, until, upstream_at


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BytesIO]:
    stream = io.BytesIO()
    stdout = io.TextIOWrapper(stream)  # closes the stream when nobody holds it
    monkeypatch.setattr(sys, "stdout", stdout)
    yield stream
    stdout.close()


@pytest.fixture
async def road(told: io.BytesIO, roads: Roads, hostile: HostileUpstream, monkeypatch: pytest.MonkeyPatch) -> Road:
    monkeypatch.setattr(observer, "GATHER_S", 3600.0)
    return await roads.open(upstream_at(hostile.url("well_behaved")))


def calls(told: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in told.getvalue().splitlines() if b'"route":"/v1/chat/completions"' in line]


async def test_a_scrape_counts_the_calls_that_ended_before_it(road: Road) -> None:
    for model in ("plain", "plain", "no-such"):
        await road.ask(chat(model))
    text = (await road.get("/metrics")).body.decode()
    assert 'end="ok",model="plain",org="other",status="200",upstream="main"} 2.0' in text
    assert 'end="refused",model="unknown",org="other",status="404",upstream="none"} 1.0' in text


async def test_a_stop_tells_of_every_call(road: Road, roads: Roads, told: io.BytesIO) -> None:
    ids = [(await road.ask(chat())).headers["x-request-id"] for _ in range(3)]
    await road.idle()
    assert calls(told) == []
    gathered = road.gateway._runner.app[OBSERVER]._ended
    assert [call.request.body for call, _ in gathered] == [b""] * 3
    roads.opened.remove(road)
    await road.session.close()
    await road.gateway.stop()
    assert [line["id"] for line in calls(told)] == ids
    assert all(
        line["at"] and line["cost_ucr"] == 30_000 and line["org"] == str(road.org.org_id) for line in calls(told)
    )


async def test_so_many_calls_and_no_more_wait_to_be_told_of(
    road: Road, told: io.BytesIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "GATHERED_MAX", 2)
    for _ in range(5):
        await road.ask(chat())
    await until(lambda: len(calls(told)) >= 4)
    assert len(calls(told)) == 4


async def test_a_single_call_is_told_of_soon(road: Road, told: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "GATHER_S", 0.001)
    await road.ask(chat())
    await until(lambda: len(calls(told)) == 1)
