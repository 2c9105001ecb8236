"""The provider chooses the service tier that it bills: the dearer of the two is held, the answer's is charged."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web

from gateway.core.pricing import Prices, charge
from gateway.core.usage import Usage
from gateway.pricing.book import PriceBook
from gateway.relay.catalogue import Served
from gateway.upstream.registry import Upstream
from tests.road import PATIENT, Roads

MODEL = "gpt-4o"
USED = Usage(prompt_tokens=100, output_tokens=10)


@pytest.fixture
async def provider() -> AsyncIterator[str]:
    """Answers with the service tier that the request's `user` names."""

    async def answer(request: web.Request) -> web.Response:
        served = (await request.json())["user"]
        message = {"role": "assistant", "content": "here"}
        usage = {"prompt_tokens": USED.prompt_tokens, "completion_tokens": USED.output_tokens}
        body = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        return web.json_response(body | ({"service_tier": served} if served else {}))

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"{site.name}/v1"
    await runner.cleanup()


def prices_of(service_tier: str) -> Prices:
    found = PriceBook.load(credits_per_usd=Decimal(1000)).find("openai", MODEL)
    assert found is not None
    return found.prices_at(service_tier)


@pytest.mark.parametrize(
    ("asked", "served", "charged"),
    [
        ("priority", "priority", "priority"),
        ("priority", "default", "default"),
        ("priority", "", "priority"),
        ("default", "priority", "priority"),
        (None, "", "default"),
    ],
)
async def test_the_tier_that_was_served_is_charged(
    roads: Roads, provider: str, asked: str | None, served: str, charged: str
) -> None:
    upstream = Upstream(name="main", provider="openai", base_url=provider, api_key="sk", timeouts=PATIENT)
    road = await roads.open(Served(upstream, (MODEL,)), credits="100")
    request = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "user": served}
    answer = await road.ask(request | ({"service_tier": asked} if asked else {}))
    assert answer.status == 200, json.loads(answer.body)
    assert await road.spent_ucr() == charge(prices_of(charged), USED).cost_ucr


async def test_the_dearer_tier_is_held(roads: Roads, provider: str) -> None:
    upstream = Upstream(name="main", provider="openai", base_url=provider, api_key="sk", timeouts=PATIENT)
    road = await roads.open(Served(upstream, (MODEL,)), credits="100")
    request = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 50, "user": "default"}
    plain = await road.ask(request)
    first = await road.ask(request | {"service_tier": "priority"})
    assert float(first.headers["x-tollgate-credits-reserved"]) > 1.5 * float(
        plain.headers["x-tollgate-credits-reserved"]
    )


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"audio": {"voice": "alloy", "format": "wav"}, "modalities": ["text", "audio"]}, "audio_not_priced"),
        ({"modalities": ["text", "image"]}, "output_not_priced"),
        ({"web_search_options": {}}, "hosted_tool_not_priced"),
        ({"search_parameters": {"mode": "on"}}, "hosted_tool_not_priced"),
        ({"tools": [{"type": "web_search"}], "stream": True}, "hosted_tool_not_priced"),
        ({"service_tier": "ultrafast"}, "service_tier_not_priced"),
    ],
)
async def test_what_is_billed_by_another_measure_is_refused_until_it_has_a_price(
    roads: Roads, provider: str, asked: dict[str, Any], code: str
) -> None:
    upstream = Upstream(name="main", provider="openai", base_url=provider, api_key="sk", timeouts=PATIENT)
    road = await roads.open(Served(upstream, (MODEL,)), credits="100")
    request = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hi"}],
        "user": "default",
        **asked,
    }
    answer = await road.ask(request)
    assert (answer.status, answer.error["code"]) == (400, code)
    assert await road.books() == []
