"""Recorded messages through a running gateway: the caller reads the recorded bytes and is charged the recorded usage.

The provider cuts streams at odd places, the gateway is a process of its own, and the prices are worked out anew here.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from gateway.core.usage import Usage
from gateway.replay.server import ReplayOptions, ReplayServer
from tests.conformance.recorded import (
    Recorded,
    asks_another_model,
    messages_usage,
    names_what_is_stored,
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
"""In USD per million tokens, for models that the map does not price."""

ROWS: Final = list(recorded("anthropic-messages"))
COUNTS: Final = list(recorded("anthropic-count-tokens"))


def config() -> str:
    lines = []
    for model in sorted({str(row.request["model"]) for row in ROWS}):
        if not is_priced(model, "anthropic"):
            lines += ["[[prices]]", 'provider = "anthropic"', f"model = {json.dumps(model)}"]
            lines += [f"{kind}_usd_per_million = {usd}" for kind, usd in OWN_PRICE.items()]
            lines += ["context_tokens = 200000", "output_tokens_max = 64000"]
    return "\n".join(lines) + "\n"


def expected_ucr(row: Recorded, usage: Usage) -> int:
    model = str(row.request["model"])
    if is_priced(model, "anthropic"):
        return charge_ucr(model, msgspec.to_builtins(usage), "anthropic")
    # USD per million tokens are millionths of a USD per token, and a USD is a thousand credits.
    return 1_000 * (usage.prompt_tokens * OWN_PRICE["input"] + usage.output_tokens * OWN_PRICE["output"])


def is_refused(row: Recorded) -> bool:
    return names_what_is_stored(row) or asks_another_model(row)


@pytest.fixture
async def provider() -> AsyncIterator[ReplayServer]:
    folder = os.environ.get("RECORDINGS_DIR")
    async with ReplayServer(ReplayOptions(recordings=Path(folder) if folder else None)) as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, provider: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-replay", "ANTHROPIC_BASE_URL": provider.url}
    async with running_gateway(
        dsn=dsn, upstream_url=None, data_dir=tmp_path, environ=environ, config=config()
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


async def post(
    gateway: RunningGateway, customer: Customer, path: str, row: Recorded, cuts: int = 0
) -> tuple[int, bytes, str]:
    headers = {"x-api-key": customer.api_key, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    headers |= {"x-replay-id": row.id, "x-replay-cuts": str(cuts)}
    async with gateway.session.post(
        f"{gateway.base_url}{path}", data=json.dumps(row.request).encode(), headers=headers
    ) as response:
        return response.status, await response.read(), response.headers["request-id"]


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
            status, body, id = await post(gateway, customer, "/messages", row, cuts)
        assert (status, body) == (row.status, row.body), row.id
        end, charged = await charged_ucr(gateway, customer, id)
        usage = messages_usage(row)
        if row.streamed and states_an_error(row):
            assert end == "estimated"
            assert charged > 0
        elif usage is None:
            assert (end, charged) == ("error", 0)
        else:
            assert (end, charged) == ("ok", expected_ucr(row, usage)), row.id
        return charged

    spent = sum(await asyncio.gather(*(one(row, cuts) for row, cuts in wanted)))
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - spent, 0)


async def test_recorded_answers_in_one_piece_arrive_byte_for_byte_at_the_recorded_cost(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    await compare(gateway, customer, [(row, 0) for row in ROWS if not row.streamed and not is_refused(row)])


async def test_recorded_streams_arrive_byte_for_byte_at_the_recorded_cost_wherever_the_provider_cuts_them(
    gateway: RunningGateway,
) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    await compare(gateway, customer, product([row for row in ROWS if row.streamed and not is_refused(row)], CUTS))


async def test_what_is_refused_of_the_recorded_is_400_and_costs_nothing(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    for row in ROWS:
        if is_refused(row):
            status, body, _ = await post(gateway, customer, "/messages", row)
            assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error"), row.id
    assert (await gateway.balance(customer.org_id)).balance_ucr == CREDITS * UCR_PER_CREDIT


async def test_recorded_counts_arrive_byte_for_byte_and_cost_nothing(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits="1")
    for row in COUNTS:
        status, body, _ = await post(gateway, customer, "/messages/count_tokens", row)
        assert status == row.status, row.id
        if is_priced(row.request["model"], "anthropic"):
            assert body == row.body
        else:
            error: dict[str, Any] = json.loads(body)["error"]
            assert error["type"] == "not_found_error", "the gateway knows no such model either"
    assert (await gateway.balance(customer.org_id)).balance_ucr == UCR_PER_CREDIT
