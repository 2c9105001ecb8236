"""Recorded calls in Gemini's dialects through a running gateway: the caller reads the recorded bytes and is charged the
recorded usage.

The provider cuts streams at odd places, the gateway is a process of its own, and the prices are worked out anew here.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Final

import msgspec
import pytest

from gateway.core.usage import Usage
from gateway.replay.server import ReplayOptions, ReplayServer
from tests.conformance.recorded import (
    Recorded,
    gemini_call,
    gemini_usage,
    names_what_is_stored_at_google,
    recorded,
    states_an_error,
)
from tests.e2e.audit import audit
from tests.e2e.prices import charge_ucr, is_priced
from tests.e2e.running import Customer, RunningGateway, running_gateway

CUTS: Final = (0, 1, 2, 5)
"""Each is another way to cut the same stream; 0 leaves it whole."""
AT_ONCE: Final = 8
CREDITS: Final = 1_000_000
UCR_PER_CREDIT: Final = 1_000_000
OWN_PRICE: Final = {"input": 2, "output": 9}
EMBED_PRICE: Final = {"input": 2, "output": 0}
"""In USD per million tokens, for models that the map does not price."""

ROWS: Final = list(recorded("gemini-generate"))
EMBEDDINGS: Final = [row for row in recorded("embeddings") if "generativelanguage" in row.host]


def is_served(model: str) -> bool:
    """By the map's price: models that draw have none of ours."""
    return is_priced(model, "gemini") and "-image" not in model


def config() -> str:
    lines = []
    for rows, price in ((ROWS, OWN_PRICE), (EMBEDDINGS, EMBED_PRICE)):
        for model in sorted({gemini_call(row)[0] for row in rows}):
            if not is_served(model):
                lines += ["[[prices]]", 'provider = "gemini"', f"model = {json.dumps(model)}"]
                lines += [f"{kind}_usd_per_million = {usd}" for kind, usd in price.items()]
                lines += ["context_tokens = 200000", "output_tokens_max = 64000"]
    return "\n".join(lines) + "\n"


def expected_ucr(row: Recorded, usage: Usage) -> int:
    model = gemini_call(row)[0]
    if is_served(model):
        return charge_ucr(model, msgspec.to_builtins(usage), "gemini")
    price = EMBED_PRICE if row in EMBEDDINGS else OWN_PRICE
    # USD per million tokens are millionths of a USD per token, and a USD is a thousand credits.
    return 1_000 * (usage.prompt_tokens * price["input"] + usage.output_tokens * price["output"])


@pytest.fixture
async def provider() -> AsyncIterator[ReplayServer]:
    folder = os.environ.get("RECORDINGS_DIR")
    async with ReplayServer(ReplayOptions(recordings=Path(folder) if folder else None)) as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, provider: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    environ = {"GEMINI_API_KEY": "of-the-operator", "GEMINI_BASE_URL": provider.url}
    async with running_gateway(
        dsn=dsn, upstream_url=None, data_dir=tmp_path, environ=environ, config=config()
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


async def post(gateway: RunningGateway, customer: Customer, row: Recorded, cuts: int = 0) -> tuple[int, bytes, str]:
    model, action = gemini_call(row)
    headers = {"x-goog-api-key": customer.api_key, "content-type": "application/json"}
    headers |= {"x-replay-id": row.id, "x-replay-cuts": str(cuts)}
    async with gateway.session.post(
        f"{gateway.url}/v1beta/models/{model}:{action}{'?alt=sse' if row.streamed else ''}",
        data=json.dumps(row.request).encode(),
        headers=headers,
    ) as response:
        return response.status, await response.read(), response.headers["x-request-id"]


async def charged_ucr(gateway: RunningGateway, customer: Customer, id: str) -> tuple[str, int]:
    """How the call ended, and for how much."""
    headers = {"authorization": f"Bearer {customer.api_key}"}
    async with gateway.session.get(f"{gateway.base_url}/generation", params={"id": id}, headers=headers) as response:
        call = json.loads(await response.read(), parse_float=Decimal)["data"]
    return call["end"], int(Decimal(call["total_cost"]) * UCR_PER_CREDIT)


async def compare(gateway: RunningGateway, customer: Customer, wanted: Iterable[tuple[Recorded, int]]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(row: Recorded, cuts: int) -> int:
        async with room:
            status, body, id = await post(gateway, customer, row, cuts)
        assert (status, body) == (row.status, row.body), row.id
        end, charged = await charged_ucr(gateway, customer, id)
        usage = gemini_usage(row)
        if row.status >= 400:
            assert (end, charged) == ("error", 0)
        elif usage is None:  # the older embeddings: the prompt is charged by its bytes
            assert end == "estimated"
            assert 0 < charged < 1_000 * EMBED_PRICE["input"] * len(json.dumps(row.request))
        else:
            end_expected = "error" if row.streamed and states_an_error(row) else "ok"
            assert (end, charged) == (end_expected, expected_ucr(row, usage)), row.id
        return charged

    spent = sum(await asyncio.gather(*(one(row, cuts) for row, cuts in wanted)))
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - spent, 0)


async def test_recorded_answers_in_one_piece_arrive_byte_for_byte_at_the_recorded_cost(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    whole = [row for row in [*ROWS, *EMBEDDINGS] if not row.streamed and not names_what_is_stored_at_google(row)]
    await compare(gateway, customer, [(row, 0) for row in whole])


async def test_recorded_streams_arrive_byte_for_byte_at_the_recorded_cost_wherever_the_provider_cuts_them(
    gateway: RunningGateway,
) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    streams = [row for row in ROWS if row.streamed and not names_what_is_stored_at_google(row)]
    await compare(gateway, customer, product(streams, CUTS))


async def test_what_is_refused_of_the_recorded_is_400_and_costs_nothing(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    for row in ROWS:
        if names_what_is_stored_at_google(row):
            status, body, _ = await post(gateway, customer, row)
            assert (status, json.loads(body)["error"]["status"]) == (400, "INVALID_ARGUMENT"), row.id
    assert (await gateway.balance(customer.org_id)).balance_ucr == CREDITS * UCR_PER_CREDIT
