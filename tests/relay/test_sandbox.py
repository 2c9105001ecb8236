"""Calls of sandbox keys: every model by its own name, answered by replay alone, at no price, whatever the balance."""

import pytest

from gateway.core.caller import KeyKind
from gateway.relay.catalogue import Served
from gateway.upstream.registry import Upstream
from tests.fakes.hostile_upstream import HostileUpstream
from tests.provider import Provider
from tests.road import OUTPUT_MAX, Roads, chat, upstream_at


def sandbox_at(base_url: str) -> Served:
    return Served(Upstream(name="sandbox", provider="replay", base_url=base_url, api_key=""))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_sandbox_call_is_replayed_and_costs_nothing(
    roads: Roads, hostile: HostileUpstream, provider: Provider, stream: bool
) -> None:
    road = await roads.open(
        upstream_at(hostile.url("well_behaved")), sandbox_at(provider.base_url), credits="0", reserve={"clamp": False}
    )
    key = await road.new_key(kind=KeyKind.SANDBOX)
    answer = await road.ask(chat("dear", stream=stream), key=key, x_replay_output_tokens=7)
    assert answer.status == 200
    assert answer.headers["x-tollgate-upstream"] == "sandbox"
    call = await provider.call()
    assert call["model"] == "dear"
    assert hostile.requests == []
    end = await road.ended()
    assert (end.cost_ucr, end.charged_ucr, end.upstream, end.upstream_model) == (0, 0, "sandbox", "dear")
    assert end.output_tokens == 7
    assert await road.spent_ucr() == 0
    assert (await road.ask(chat("dear"))).status == 402  # a real call is not free


async def test_a_sandbox_has_the_models_limits_and_the_keys(
    roads: Roads, hostile: HostileUpstream, provider: Provider
) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")), sandbox_at(provider.base_url), credits="0")
    key = await road.new_key(kind=KeyKind.SANDBOX, models=("plain", "nonsense"))
    for model in ("dear", "nonsense"):
        refusal = await road.ask(chat(model), key=key)
        assert (refusal.status, refusal.error["code"]) == (404, "model_not_found")
    assert (await road.ask(chat("plain", max_tokens=OUTPUT_MAX), key=key, x_replay_output_tokens=1)).status == 200
    assert hostile.requests == []


async def test_without_a_replay_a_sandbox_key_reaches_nobody(roads: Roads, hostile: HostileUpstream) -> None:
    road = await roads.open(upstream_at(hostile.url("well_behaved")))
    refusal = await road.ask(chat(), key=await road.new_key(kind=KeyKind.SANDBOX))
    assert (refusal.status, refusal.error["code"]) == (403, "forbidden")
    assert "replay" in refusal.error["message"]
    assert hostile.requests == []
    assert await road.books() == []


async def test_a_replay_upstream_serves_nobody_else(roads: Roads, provider: Provider) -> None:
    road = await roads.open(sandbox_at(provider.base_url))
    assert (await road.ask(chat())).status == 404
    assert (await road.get("/v1/models")).json["data"] == []
