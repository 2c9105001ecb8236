"""Recorded chats through a running gateway: the caller reads the recorded bytes and is charged the recorded usage.

The provider cuts streams at odd places, the gateway is a process of its own, and the prices are worked out anew here.
"""

import asyncio
import json
import math
import os
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from gateway.replay.server import ReplayOptions, ReplayServer
from tests.conformance.recorded import Recorded, expected_usage, own_usage, recorded, states_an_error
from tests.e2e.audit import audit
from tests.e2e.prices import charge_ucr, is_priced
from tests.e2e.running import Customer, RunningGateway, running_gateway

CUTS: Final = (0, 1, 2, 3, 5, 8)
"""Each is another way to cut the same stream; 0 leaves it whole."""
AT_ONCE: Final = 8
CREDITS: Final = 1_000_000
UCR_PER_CREDIT: Final = 1_000_000
CREDITS_PER_USD: Final = 1_000

PROVIDER_OF_HOST: Final = {
    "api.cerebras.ai": "cerebras",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.openai.com": "openai",
    "api.z.ai": "zai",
    "openrouter.ai": "openrouter",
    "router.huggingface.co": "huggingface",
}
"""As the price map names them; any other host is a provider that only the test's own price file knows."""

OWN_PRICE: Final = {"input": Decimal("0.37"), "cached": Decimal("0.113"), "output": Decimal("1.91")}
"""In USD per million tokens, for models that the map does not price."""

_EVENT_ENDS: Final = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")

ROWS: Final = list(recorded())


class Answer(NamedTuple):
    """What a caller read."""

    row: Recorded
    cuts: int
    status: int
    body: bytes
    id: str
    """Its x-request-id."""


def provider_of(row: Recorded) -> str:
    return PROVIDER_OF_HOST.get(row.host, re.sub(r"[^a-z0-9]+", "_", row.host or "own"))


def name_of(row: Recorded) -> str:
    """What the caller asks for: OpenAI's models by their own names, others by an alias, which the gateway replaces."""
    model = str(row.request["model"])
    return model if provider_of(row) == "openai" else f"{provider_of(row)}/{model}"


def config(replay_url: str, rows: Iterable[Recorded]) -> str:
    """An upstream for each provider, an alias for each model of others than OpenAI, a price where the map has none."""
    models = sorted({(provider_of(row), str(row.request["model"])) for row in rows})
    lines = []
    for provider in sorted({provider for provider, _ in models}):
        lines += ["[[upstreams]]", f'name = "{provider}"', f'provider = "{provider}"', 'api_key_env = "OPENAI_API_KEY"']
        lines += [f'base_url = "{replay_url}/{provider}/v1"', *([] if provider == "openai" else ["models = []"])]
    for provider, model in models:
        if provider != "openai":
            target = f"{{ upstream = {json.dumps(provider)}, model = {json.dumps(model)} }}"
            lines += ["[[models]]", f"name = {json.dumps(f'{provider}/{model}')}", f"targets = [{target}]"]
        if not is_priced(model, provider):
            lines += ["[[prices]]", f'provider = "{provider}"', f"model = {json.dumps(model)}"]
            lines += [f"{kind}_usd_per_million = {usd}" for kind, usd in OWN_PRICE.items()]
            lines += ["context_tokens = 131072", "output_tokens_max = 16384"]
    return "\n".join(lines) + "\n"


@pytest.fixture
async def provider() -> AsyncIterator[ReplayServer]:
    folder = os.environ.get("RECORDINGS_DIR")
    async with ReplayServer(ReplayOptions(recordings=Path(folder) if folder else None)) as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, provider: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn, upstream_url=provider.base_url, data_dir=tmp_path, config=config(provider.url, ROWS)
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


async def ask(gateway: RunningGateway, customer: Customer, row: Recorded, cuts: int) -> Answer:
    headers = {"authorization": f"Bearer {customer.api_key}", "content-type": "application/json"}
    headers |= {"x-replay-id": row.id, "x-replay-cuts": str(cuts)}
    body = json.dumps({**row.request, "model": name_of(row)}).encode()
    url = f"{gateway.base_url}/chat/completions"
    async with gateway.session.post(url, data=body, headers=headers) as response:
        return Answer(row, cuts, response.status, await response.read(), response.headers["x-request-id"])


async def ask_all(gateway: RunningGateway, customer: Customer, wanted: Iterable[tuple[Recorded, int]]) -> list[Answer]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(row: Recorded, cuts: int) -> Answer:
        async with room:
            return await ask(gateway, customer, row, cuts)

    return await asyncio.gather(*(one(row, cuts) for row, cuts in wanted))


def expected_body(row: Recorded) -> bytes:
    """The recorded bytes, but for a usage chunk that only the gateway had asked for."""
    asked = (row.request.get("stream_options") or {}).get("include_usage")
    # Mistral is not asked for usage, so what it sends of it is its own.
    if not row.streamed or asked or provider_of(row) == "mistral":
        return row.body
    return b"".join(event for event in _EVENT_ENDS.split(row.body) if not is_usage_alone(event))


def is_usage_alone(event: bytes) -> bool:
    data = event.strip().removeprefix(b"data: ")
    if not data.startswith(b"{"):
        return False
    chunk = json.loads(data)
    return chunk.get("choices") == [] and chunk.get("usage") is not None


def expected_charge_ucr(row: Recorded, usage: Mapping[str, int]) -> int:
    provider, model = provider_of(row), str(row.request["model"])
    if is_priced(model, provider):
        return charge_ucr(model, usage, provider)
    cached = usage["cached_tokens"]
    usd_per_million = (
        (usage["prompt_tokens"] - cached) * OWN_PRICE["input"]
        + cached * OWN_PRICE["cached"]
        + usage["output_tokens"] * OWN_PRICE["output"]
    )
    return math.ceil(usd_per_million * CREDITS_PER_USD)  # USD per million tokens = millionths of a USD per token


def differences(answer: Answer, call: Mapping[str, Any]) -> list[str]:
    """In what an answer, and the gateway's account of it, are not as recorded; empty where all is well."""
    row = answer.row
    found = []
    if answer.status != row.status:
        found.append(f"status {answer.status}, recorded {row.status}")
    body = expected_body(row)
    if answer.body != body:
        pairs = zip(answer.body, body, strict=False)
        same = next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), min(len(answer.body), len(body)))
        found.append(f"the body differs from byte {same} on: {answer.body[same : same + 200]!r}")
    charged_ucr = int(Decimal(call["total_cost"]) * UCR_PER_CREDIT)
    expected = expected_end(row, call)
    if (call["end"], charged_ucr) != expected:
        found.append(f"ended {call['end']} for {charged_ucr} µcr, expected {expected}")
    if call["model"] != name_of(row) or call["streamed"] != bool(row.request.get("stream")):
        found.append(f"another call: {call}")
    return [f"{row.id} cut {answer.cuts}: {each}" for each in found]


def expected_end(row: Recorded, call: Mapping[str, Any]) -> tuple[str, int]:
    """How the call ended and what it costs. Where no usage was recorded, the call's own count must be plausible."""
    if row.status >= 400:
        return "error", 0
    stated = own_usage(row)
    failed = row.streamed and states_an_error(row)
    if stated is not None:
        return "error" if failed else "ok", expected_charge_ucr(row, msgspec.to_builtins(expected_usage(stated)))
    said = json.dumps(row.body.decode())
    assert 0 < call["native_tokens_completion"] < len(said)
    assert 0 < call["native_tokens_prompt"] < len(json.dumps(row.request))
    counted = {
        "prompt_tokens": call["native_tokens_prompt"],
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": call["native_tokens_completion"],
    }
    return "estimated", expected_charge_ucr(row, counted)


async def compare(gateway: RunningGateway, customer: Customer, answers: Iterable[Answer]) -> int:
    """Every answer with its recording. Returns Σ charged, of which the balance must know."""
    charged_ucr = 0
    found = []
    headers = {"authorization": f"Bearer {customer.api_key}"}
    for answer in answers:
        async with gateway.session.get(
            f"{gateway.base_url}/generation", params={"id": answer.id}, headers=headers
        ) as response:
            call = json.loads(await response.read(), parse_float=Decimal)["data"]
        charged_ucr += int(Decimal(call["total_cost"]) * UCR_PER_CREDIT)
        found += differences(answer, call)
    assert found == []
    return charged_ucr


async def test_recorded_answers_in_one_piece_arrive_byte_for_byte_at_the_recorded_status_and_cost(
    gateway: RunningGateway,
) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    answers = await ask_all(gateway, customer, [(row, 0) for row in ROWS if not row.streamed])
    charged_ucr = await compare(gateway, customer, answers)
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - charged_ucr, 0)


async def test_recorded_streams_arrive_byte_for_byte_at_the_recorded_cost_wherever_the_provider_cuts_them(
    gateway: RunningGateway,
) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    streams = [row for row in ROWS if row.streamed]
    answers = await ask_all(gateway, customer, product(streams, CUTS))
    charged_ucr = await compare(gateway, customer, answers)
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - charged_ucr, 0)
