"""Google's own SDK against a running gateway: what an application sees, and what it is charged."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.prices import charge_ucr
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.e2e.sdks import GEMINI
from tests.fakes.turnstile import Turnstile

MODEL: Final = "gemini-2.5-flash"
EMBEDDER: Final = "gemini-embedding-001"
TOKEN_CHARACTERS: Final = 4
"""Of the replay provider's texts."""
UCR_PER_CREDIT: Final = 1_000_000


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn,
        upstream_url=None,
        data_dir=tmp_path,
        config="[ledger]\nqueue_wait_s = 0.2\n",
        environ={"GEMINI_API_KEY": "of-the-operator", "GEMINI_BASE_URL": replay.url},
    ) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []


@pytest.fixture
async def turnstile(gateway: RunningGateway) -> AsyncIterator[Turnstile]:
    """Where the SDK goes: it counts what is sent to the gateway."""
    async with Turnstile(gateway.url) as turnstile:
        yield turnstile


def environ_of(turnstile: Turnstile, customer: Customer, **more: str) -> dict[str, str]:
    return {"GOOGLE_GEMINI_BASE_URL": turnstile.url, "GEMINI_API_KEY": customer.api_key, **more}


async def sent_calls(gateway: RunningGateway, replay: ReplayServer) -> list[dict[str, Any]]:
    """The provider's own books."""
    async with gateway.session.get(f"{replay.url}/_sent") as response:
        page = await response.json()
    assert page["open_calls"] == 0
    return list(page["calls"])


def charge(call: dict[str, Any]) -> int:
    return charge_ucr(call["model"], call["tokens"], "gemini")


async def test_answers_of_every_kind_arrive_whole_and_cost_what_the_provider_sent_to_the_microcredit(
    gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="10000")
    plain = ["whole", "stream", "async_client", "beta", "chat", "image_in_the_body", "headers"]
    tools = ["tool_use", "stream_tool_use", "automatic_tool_use"]

    seen = await GEMINI.run(
        [*plain, *tools, "thinking", "json_schema", "cached", "embed", "count_tokens", "models"],
        environ_of(turnstile, customer),
    )

    calls = await sent_calls(gateway, replay)
    charges = {call["id"]: charge(call) for call in calls}
    assert len(charges) == len(calls)
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000 * UCR_PER_CREDIT - sum(charges.values()), 0)
    assert all(call["end"] == "complete" for call in calls)
    inside = [seen["async_client"]["whole"], seen["async_client"]["streamed"], *seen["chat"].values()]
    for one in [*(seen[case] for case in plain if case not in ("async_client", "chat")), *inside]:
        assert one["text"].startswith("This is the replay provider, no model was asked.")
        assert one["finish_reason"] == "STOP"
    assert seen["stream"]["chunks"] > 10
    weather = {"name": "get_weather", "args": {"city": "Paris"}}
    assert seen["tool_use"]["asked"]["calls"] == seen["stream_tool_use"]["calls"] == [weather]
    assert seen["tool_use"]["answered"]["text"]
    assert seen["automatic_tool_use"]["text"]
    assert len(seen["thinking"]["thought"]) == 8 * TOKEN_CHARACTERS
    assert seen["thinking"]["usage"]["thoughts_token_count"] == 8
    assert seen["json_schema"]["parsed"] == {"city": "Paris"}
    assert seen["cached"]["usage"]["cached_content_token_count"] == 30
    assert seen["embed"]["vectors"] == [8, 8]
    assert seen["count_tokens"] == {"total_tokens": 42}
    headers = seen["headers"]["headers"]
    assert Decimal(headers["x-tollgate-credits-charged"]) * UCR_PER_CREDIT == charges[seen["headers"]["id"]]
    names = seen["models"]["names"]
    assert {f"models/{MODEL}", f"models/{EMBEDDER}"} <= set(names)
    assert len(names) > 10, "page after page"
    assert names == sorted(set(names)) == seen["beta"]["names"]
    assert seen["models"]["retrieved"] == f"models/{MODEL}"
    assert seen["models"]["unknown"]["raised"] == "ClientError"


async def test_every_refusal_raises_and_says_why_and_costs_nothing(
    gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")
    cases = [
        "wrong_key",
        "unknown_model",
        "unknown_action",
        "malformed",
        "stored_file",
        "upstream_refuses_the_operator",
    ]

    seen = await GEMINI.run([*cases, "upstream_status"], environ_of(turnstile, customer))

    facts = {case: tuple(seen[case][fact] for fact in ("raised", "code", "status", "reason")) for case in cases}
    assert facts == {
        "wrong_key": ("ClientError", 401, "UNAUTHENTICATED", "INVALID_API_KEY"),
        "unknown_model": ("ClientError", 404, "NOT_FOUND", "MODEL_NOT_FOUND"),
        "unknown_action": ("ClientError", 404, "NOT_FOUND", "UNKNOWN_URL"),
        "malformed": ("ClientError", 400, "INVALID_ARGUMENT", "INVALID_REQUEST"),
        "stored_file": ("ClientError", 400, "INVALID_ARGUMENT", "UNKNOWN_ID"),
        "upstream_refuses_the_operator": ("ServerError", 502, "UNAVAILABLE", "UPSTREAM_ERROR"),
    }
    relayed = seen["upstream_status"]
    assert {status: error["code"] for status, error in relayed.items()} == {name: int(name) for name in relayed}
    assert (await gateway.balance(customer.org_id)).available_ucr == 100 * UCR_PER_CREDIT


async def test_a_stream_that_fails_after_its_200_raises_and_only_what_came_is_charged(
    gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")

    seen = await GEMINI.run(
        ["error_in_the_stream", "stream_breaks", "stream_breaks_async"], environ_of(turnstile, customer)
    )

    for case, code in (("error_in_the_stream", 503), ("stream_breaks", 502), ("stream_breaks_async", 502)):
        assert len(seen[case]["text"]) == 5 * TOKEN_CHARACTERS, case
        assert (seen[case]["error"]["raised"], seen[case]["error"]["code"]) == ("ServerError", code)
    balance = await gateway.balance(customer.org_id)
    none = {"prompt_tokens": 0, "cached_tokens": 0, "cache_write_tokens": 0}
    output_ucr = charge_ucr(MODEL, {**none, "output_tokens": 15}, "gemini")
    assert output_ucr < 100 * UCR_PER_CREDIT - balance.balance_ucr < 3 * output_ucr
    assert balance.held_ucr == 0


async def test_an_sdk_that_retries_tries_once_without_credits(gateway: RunningGateway, turnstile: Turnstile) -> None:
    broke = await gateway.customer()

    seen = await GEMINI.run(["out_of_credits"], environ_of(turnstile, broke, BROKE_API_KEY=broke.api_key))

    error = seen["out_of_credits"]
    assert (error["code"], error["status"], error["reason"]) == (402, "RESOURCE_EXHAUSTED", "INSUFFICIENT_CREDITS")
    assert error["metadata"]["limit_source"] == "org_pool"
    assert len(turnstile.passed_with(x_case="out_of_credits")) == 1
