"""Recorded responses through a running gateway: the caller reads the recorded bytes and is charged the recorded usage.

Every model has one price here, so that a charge says exactly which usage was counted.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.openai_responses.meter import ResponsesMeter
from gateway.core.openai_responses.request import read_responses_request
from gateway.core.sse import SseParser
from gateway.replay.server import ReplayOptions, ReplayServer
from tests.conformance.recorded import Recorded, recorded
from tests.e2e.audit import audit
from tests.e2e.running import Customer, RunningGateway, running_gateway

CUTS: Final = (0, 1, 2, 3, 5, 8)
"""Each is another way to cut the same stream; 0 leaves it whole."""
AT_ONCE: Final = 8
CREDITS: Final = 1_000_000
UCR_PER_CREDIT: Final = 1_000_000
INPUT_USD, CACHED_USD, OUTPUT_USD = 4, 1, 9
"""For a million tokens."""
ROWS: Final = list(recorded("openai-responses"))
NOT_OURS: Final = {
    "background": 4,
    "conversation": 3,
    "input[4].content[0].file_id": 2,
    "tools[0].vector_store_ids": 1,
    "tools[0].container.file_ids": 1,
    "previous_response_id": 1,
    "input[2].id": 1,
}
"""Of 169 recorded: what names something that is stored at the provider, and what is answered later."""


def refusal(row: Recorded) -> str | None:
    try:
        request = read_responses_request(json.dumps(row.request).encode())
    except InvalidRequest as error:
        return error.param
    if request.references:
        return request.references[0].param
    return "background" if request.background else None


TAKEN: Final = [row for row in ROWS if refusal(row) is None]


def stated(row: Recorded) -> dict[str, Any] | None:
    """The usage that the answer itself states, found with the standard library only."""
    if row.status >= 400:
        return None
    if not row.streamed:
        usage: dict[str, Any] | None = json.loads(row.body).get("usage")
        return usage
    told = [json.loads(data) for data in re.findall(r"^data: (\{.*)$", row.body.decode(), re.M)]
    usages = [event["response"].get("usage") for event in told if "response" in event]
    return next((usage for usage in reversed(usages) if usage), None)


def expected_ucr(usage: dict[str, Any]) -> int:
    cached = (usage.get("input_tokens_details") or {}).get("cached_tokens", 0)
    fresh = usage["input_tokens"] - cached
    # USD per million tokens are millionths of a USD per token, and a USD is a thousand credits.
    ucr: int = 1_000 * (fresh * INPUT_USD + cached * CACHED_USD + usage["output_tokens"] * OUTPUT_USD)
    return ucr


def config(url: str) -> str:
    models = sorted({str(row.request["model"]) for row in ROWS})
    lines = ["[[upstreams]]", 'name = "own"', 'provider = "own"', f'base_url = "{url}"']
    lines += ['dialects = ["openai-responses"]', f"models = {json.dumps(models)}"]
    for model in models:
        lines += ["[[prices]]", 'provider = "own"', f"model = {json.dumps(model)}", "context_tokens = 400000"]
        lines += [f"input_usd_per_million = {INPUT_USD}", f"cached_usd_per_million = {CACHED_USD}"]
        lines += [f"cache_write_usd_per_million = {INPUT_USD}", f"output_usd_per_million = {OUTPUT_USD}"]
        lines += ["output_tokens_max = 64000"]
    return "\n".join(lines) + "\n"


@pytest.fixture
async def provider() -> AsyncIterator[ReplayServer]:
    folder = os.environ.get("RECORDINGS_DIR")
    async with ReplayServer(ReplayOptions(recordings=Path(folder) if folder else None)) as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, provider: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn, upstream_url=None, data_dir=tmp_path, config=config(provider.base_url)
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


async def ask(gateway: RunningGateway, customer: Customer, row: Recorded, cuts: int = 0) -> tuple[int, bytes, str]:
    headers = {"authorization": f"Bearer {customer.api_key}", "content-type": "application/json"}
    directions = {"x-replay-id": row.id, "x-replay-cuts": str(cuts)}
    url, body = f"{gateway.base_url}/responses", json.dumps(row.request).encode()
    async with gateway.session.post(url, data=body, headers=headers | directions) as response:
        return response.status, await response.read(), response.headers["x-request-id"]


async def test_recorded_answers_arrive_byte_for_byte_at_the_recorded_cost(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    room = asyncio.Semaphore(AT_ONCE)
    key = {"authorization": f"Bearer {customer.api_key}"}

    async def one(row: Recorded, cuts: int) -> int:
        async with room:
            status, body, id = await ask(gateway, customer, row, cuts)
            assert (status, body) == (row.status, row.body), row.id
            async with gateway.session.get(
                f"{gateway.base_url}/generation", params={"id": id}, headers=key
            ) as response:
                call = json.loads(await response.read(), parse_float=Decimal)["data"]
        charged = int(Decimal(call["total_cost"]) * UCR_PER_CREDIT)
        usage = stated(row)
        if usage is None:
            assert (call["end"], charged) == ("error", 0), row.id
        else:
            assert (call["end"], charged) == ("ok", expected_ucr(usage)), row.id
        return charged

    wanted = [(row, 0) for row in TAKEN if not row.streamed]
    wanted += product([row for row in TAKEN if row.streamed], CUTS)
    spent = sum(await asyncio.gather(*(one(row, cuts) for row, cuts in wanted)))
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - spent, 0)
    assert spent > 0


async def test_what_is_refused_of_the_recorded_is_400_and_costs_nothing(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    refused = Counter(param for row in ROWS if (param := refusal(row)) is not None)
    if len([row for row in ROWS if row.host != "api.example"]) == 169:
        assert refused == NOT_OURS
    for row in ROWS:
        if (param := refusal(row)) is not None and (row.streamed or param != "background"):
            status, body, _ = await ask(gateway, customer, row)
            assert (status, json.loads(body)["error"]["param"]) == (400, param), row.id
    assert (await gateway.balance(customer.org_id)).balance_ucr == CREDITS * UCR_PER_CREDIT


@pytest.mark.parametrize("row", [row for row in ROWS if row.streamed], ids=lambda row: row.id)
def test_our_own_count_of_a_stream_is_never_far_above_what_was_billed(row: Recorded) -> None:
    meter = ResponsesMeter()
    for event in SseParser().feed(row.body):
        meter.observe(event)
    usage = stated(row)
    assert meter.finished
    assert usage is not None
    assert meter.estimated_output_tokens <= usage["output_tokens"] * 1.3 + 150  # what a hidden thought hides is a guess
