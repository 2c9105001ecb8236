"""Recorded embeddings, rankings, moderations and completions through a running gateway: byte for byte, at their cost.

Those that are shipped, and where RECORDINGS_DIR is set those of OpenAI, Voyage and Cohere. Prices are worked out anew.
"""

import asyncio
import json
import math
import os
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.dialects import DIALECTS
from gateway.replay.server import ReplayOptions, ReplayServer
from tests.conformance.recorded import Recorded, recorded
from tests.e2e.audit import audit
from tests.e2e.prices import UCR_PER_USD, entry
from tests.e2e.running import Customer, RunningGateway, running_gateway

CUTS: Final = (0, 1, 2, 3, 5, 8)
"""Each is another way to cut the same stream; 0 leaves it whole."""
CREDITS: Final = 100_000
UCR_PER_CREDIT: Final = 1_000_000
DIALECT_OF_HOST: Final = {
    "api.openai.com": "openai-embeddings",
    "api.voyageai.com": "openai-embeddings",
    "api.cohere.com": "cohere-embed",
}
"""Of the file that has several dialects; another's rows are Gemini's."""
OWN_KINDS: Final = ("openai-embeddings", "cohere-embed", "rerank", "openai-moderations", "openai-completions")
PROVIDERS: Final = ("openai", "cohere", "voyage", "mistral")
UNKNOWN: Final = "nonexistent"
"""A model that Voyage did not know; the gateway has a price for it."""


def rows() -> list[tuple[str, Recorded]]:
    own = [(kind, row) for kind in OWN_KINDS for row in recorded(kind)]
    real = [(DIALECT_OF_HOST[row.host], row) for row in recorded("embeddings") if row.host in DIALECT_OF_HOST]
    return own + real


ROWS: Final = rows()


def provider_of(model: str) -> str:
    """For the prices, which know its models."""
    return next((provider for provider in PROVIDERS if entry(model, provider) is not None), "openai")


def config(replay_url: str) -> str:
    lines = []
    for provider in PROVIDERS:
        lines += ["[[upstreams]]", f'name = "{provider}"', f'provider = "{provider}"', 'api_key_env = "OPENAI_API_KEY"']
        lines += [f'base_url = "{replay_url}/{provider}/v1"']
    lines += ["[[prices]]", 'provider = "voyage"', f'model = "{UNKNOWN}"']
    lines += ["input_usd_per_million = 5", "output_usd_per_million = 5"]
    return "\n".join(lines) + "\n"


@pytest.fixture
async def provider() -> AsyncIterator[ReplayServer]:
    folder = os.environ.get("RECORDINGS_DIR")
    async with ReplayServer(ReplayOptions(recordings=Path(folder) if folder else None)) as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, provider: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn, upstream_url=provider.base_url, data_dir=tmp_path, config=config(provider.url)
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


def stated(row: Recorded) -> dict[str, Any] | None:
    """What the answer itself says was used, found with the standard library only."""
    if row.streamed:
        usages = [json.loads(data).get("usage") for data in re.findall(r"^data: (\{.*)$", row.body.decode(), re.M)]
        found = next((usage for usage in reversed(usages) if usage), None)
    else:
        body = json.loads(row.body)
        found = body.get("usage") or body.get("meta", {}).get("billed_units")
    return found if isinstance(found, dict) else None


def expected(row: Recorded, call: dict[str, Any]) -> tuple[str, int, int, int]:
    """How it ended, the tokens of prompt and output, the charge; where nothing is stated, by the call's own count."""
    if row.status >= 400:
        return "error", 0, 0, 0
    usage = stated(row)
    end = "ok"
    if usage is None:
        end, usage = "estimated", {}
        usage = {"prompt_tokens": call["native_tokens_prompt"], "completion_tokens": call["native_tokens_completion"]}
        assert 0 < usage["prompt_tokens"] < len(json.dumps(row.request))
    billed = usage.get("input_tokens", 0) + usage.get("image_tokens", 0)
    prompt = usage.get("prompt_tokens") or usage.get("total_tokens") or billed
    output = usage.get("completion_tokens", 0)
    model = str(row.request["model"])
    prices = entry(model, provider_of(model))
    assert prices is not None
    usd = prompt * prices["input_cost_per_token"] + output * prices.get("output_cost_per_token", 0)
    usd += usage.get("search_units", 0) * prices.get("input_cost_per_query", 0)
    return end, prompt, output, math.ceil(Decimal(usd) * UCR_PER_USD)


async def ask(gateway: RunningGateway, customer: Customer, dialect: str, row: Recorded, cuts: int) -> int:
    """Asks, compares, and returns the charge."""
    headers = {"authorization": f"Bearer {customer.api_key}", "content-type": "application/json"}
    directions = {"x-replay-id": row.id, "x-replay-cuts": str(cuts)}
    path = DIALECTS[dialect].path  # type: ignore[index]
    url, body = f"{gateway.base_url}{path}", json.dumps(row.request).encode()
    async with gateway.session.post(url, data=body, headers=headers | directions) as response:
        assert (response.status, await response.read()) == (row.status, row.body), row.id
        id = response.headers["x-request-id"]
    async with gateway.session.get(f"{gateway.base_url}/generation", params={"id": id}, headers=headers) as response:
        call = json.loads(await response.read(), parse_float=Decimal)["data"]
    charged = int(Decimal(call["total_cost"]) * UCR_PER_CREDIT)
    told = (call["end"], call["native_tokens_prompt"], call["native_tokens_completion"], charged)
    assert told == expected(row, call), row.id
    return charged


def test_there_is_something_of_each_dialect() -> None:
    assert {dialect for dialect, _ in ROWS} == set(OWN_KINDS)


async def test_recorded_answers_arrive_byte_for_byte_at_the_recorded_cost(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    asked = [
        ask(gateway, customer, dialect, row, cuts)
        for dialect, row in ROWS
        for cuts in (CUTS if row.streamed else CUTS[:1])
    ]
    spent = sum(await asyncio.gather(*asked))
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - spent, 0)
    assert spent > 0
