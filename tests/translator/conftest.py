import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from gateway.pricing.book import PriceOverride
from gateway.relay.catalogue import Served
from gateway.translator.settings import Translated, TranslatorSettings, address_of, translated
from gateway.upstream.registry import Timeouts, Upstream
from tests.fakes.bedrock import Bedrock
from tests.road import OUTPUT_MAX, WINDOW, Road, Roads

MODEL = "amazon.nova-micro-v1:0"
SECRET = "secret-of-the-operator"
PATIENT = Timeouts(connect_s=5, first_event_s=30, idle_s=30, total_s=60)
PRICE = PriceOverride(
    provider="bedrock",
    model=MODEL,
    input_usd_per_million=Decimal(1),
    cached_usd_per_million=Decimal("0.5"),
    output_usd_per_million=Decimal(10),
    context_tokens=WINDOW,
    output_tokens_max=OUTPUT_MAX,
)
"""What the tests' other models cost, see tests.road."""


def at_bedrock(url: str) -> Translated:
    return translated(
        name="main",
        provider="bedrock",
        base_url=url,
        api_key="",
        params={
            "aws_access_key_id": "AKIA-of-the-operator",
            "aws_secret_access_key": SECRET,
            "aws_region_name": "us-east-1",
        },
        hosts=(),
        timeout_s=30,
    )


@pytest.fixture
async def bedrock() -> AsyncIterator[Bedrock]:
    async with Bedrock() as server:
        yield server


Open = Callable[..., Awaitable[Road]]


@pytest.fixture
async def translating(roads: Roads, bedrock: Bedrock) -> Open:
    """Opens a road whose only model is Bedrock's, with these settings of the translator."""

    async def open_road(on_disconnect: str = "drain", warm: bool = True, credits: str = "100", **settings: Any) -> Road:
        upstream = Upstream(
            name="main",
            provider="bedrock",
            base_url=address_of("main"),
            api_key="",
            via="translator",
            on_disconnect=on_disconnect,  # type: ignore[arg-type]
            output_limit_field="max_tokens",
            timeouts=PATIENT,
            dialects=frozenset({"openai-chat", "openai-embeddings"}),
        )
        road = await roads.open(
            Served(upstream, (MODEL,)),
            credits=credits,
            prices=(PRICE,),
            translated=(at_bedrock(bedrock.url),),
            translator=TranslatorSettings(**settings),
        )
        if warm:  # callers of tests wait for less time than a start may take on a busy machine
            translator = road.gateway.translator
            (await translator.enter("main")).leave()
            async with asyncio.timeout(60):
                while len(translator.children) < settings.get("processes", 1):
                    await asyncio.sleep(0.02)
        return road

    return open_road
