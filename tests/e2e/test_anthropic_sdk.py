"""Anthropic's own SDKs against a running gateway: what an application sees, and what it is charged."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.prices import charge_ucr
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.e2e.sdks import ANTHROPIC, ANTHROPIC_SDKS, Sdk
from tests.fakes.turnstile import Turnstile

MODEL: Final = "claude-haiku-4-5"
TOKEN_CHARACTERS: Final = 4
"""Of the replay provider's texts."""
UCR_PER_CREDIT: Final = 1_000_000

every_sdk = pytest.mark.parametrize("sdk", ANTHROPIC_SDKS, ids=str)


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn,
        upstream_url=None,
        data_dir=tmp_path,
        config="[ledger]\nqueue_wait_s = 0.2\n",
        environ={"ANTHROPIC_API_KEY": "sk-ant-replay", "ANTHROPIC_BASE_URL": replay.url},
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
    return {"ANTHROPIC_BASE_URL": turnstile.url, "ANTHROPIC_API_KEY": customer.api_key, **more}


async def sent_calls(gateway: RunningGateway, replay: ReplayServer) -> list[dict[str, Any]]:
    """The provider's own books."""
    async with gateway.session.get(f"{replay.url}/_sent") as response:
        page = await response.json()
    assert page["open_calls"] == 0
    return list(page["calls"])


@every_sdk
async def test_answers_of_every_kind_arrive_whole_and_cost_what_the_provider_sent_to_the_microcredit(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="10000")
    whole = ["message", "stream_helper", "bearer", "image_in_the_body", "raw_response"]
    asynchronous = ["async_client"] if sdk is ANTHROPIC else []

    seen = await sdk.run(
        [
            *whole,
            *asynchronous,
            "stream",
            "tool_use",
            "stream_tool_use",
            "thinking",
            "cached",
            "count_tokens",
            "models",
        ],
        environ_of(turnstile, customer),
    )

    calls = await sent_calls(gateway, replay)
    charges = {call["id"]: charge_ucr(MODEL, call["tokens"], "anthropic") for call in calls}
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000 * UCR_PER_CREDIT - sum(charges.values()), 0)
    assert all(call["end"] == "complete" for call in calls)
    for one in [*(seen[case] for case in whole), *(seen[case][how] for case in asynchronous for how in seen[case])]:
        assert one["text"].startswith("This is the replay provider, no model was asked.")
        assert one["stop_reason"] == "end_turn"
    assert seen["stream_helper"]["pieces_join"] == seen["stream_helper"]["text"]
    assert seen["stream"]["types"][0] == "message_start"
    assert seen["stream"]["types"][-2:] == ["message_delta", "message_stop"]
    weather = {"name": "get_weather", "input": {"city": "Paris"}}
    assert seen["tool_use"]["asked"]["tools"] == [weather]
    assert seen["tool_use"]["answered"]["stop_reason"] == "end_turn"
    assert seen["stream_tool_use"]["tools"] == [weather, {"name": "get_time", "input": {"city": "Lima"}}]
    assert seen["stream_tool_use"]["stop_reason"] == "tool_use"
    assert len(seen["thinking"]["thinking"]) == 8 * TOKEN_CHARACTERS
    assert seen["cached"]["usage"]["cache_creation"]["ephemeral_1h_input_tokens"] == 40
    assert seen["count_tokens"] == {"input_tokens": 42}
    headers = seen["raw_response"]["headers"]
    charged = Decimal(headers["x-tollgate-credits-charged"]) * UCR_PER_CREDIT
    assert charged == charges[seen["raw_response"]["id"]]
    assert seen["raw_response"]["request_id"] in (headers["request-id"], None)
    assert seen["message"]["request_id"]
    assert MODEL in seen["models"]["ids"]
    assert len(seen["models"]["ids"]) > 3, "page after page"
    assert seen["models"]["ids"] == sorted(set(seen["models"]["ids"]))
    assert seen["models"]["retrieved"] == MODEL
    assert seen["models"]["unknown"]["raised"] == "NotFoundError"


@every_sdk
async def test_every_refusal_raises_its_own_exception_and_costs_nothing(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")
    cases = ["wrong_key", "unknown_model", "malformed", "upstream_refuses_the_operator"]

    seen = await sdk.run([*cases, "upstream_status"], environ_of(turnstile, customer))

    facts = {case: tuple(seen[case][fact] for fact in ("raised", "status", "type", "code")) for case in cases}
    assert facts == {
        "wrong_key": ("AuthenticationError", 401, "authentication_error", "invalid_api_key"),
        "unknown_model": ("NotFoundError", 404, "not_found_error", "model_not_found"),
        "malformed": ("BadRequestError", 400, "invalid_request_error", "invalid_request"),
        "upstream_refuses_the_operator": ("InternalServerError", 502, "api_error", "upstream_error"),
    }
    assert all(seen[case]["request_id"] for case in cases)
    assert len(turnstile.passed_with(x_case="upstream_refuses_the_operator")) == 1, "trying again would help nobody"
    relayed = seen["upstream_status"]
    assert {status: error["status"] for status, error in relayed.items()} == {name: int(name) for name in relayed}
    assert (await gateway.balance(customer.org_id)).available_ucr == 100 * UCR_PER_CREDIT


@every_sdk
async def test_a_stream_that_fails_after_its_200_raises_and_only_what_came_is_charged(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")

    seen = await sdk.run(["error_in_the_stream", "stream_breaks"], environ_of(turnstile, customer))

    for case in ("error_in_the_stream", "stream_breaks"):
        assert len(seen[case]["text"]) == 5 * TOKEN_CHARACTERS, case
    assert seen["error_in_the_stream"]["error"]["type"] == "overloaded_error"
    assert seen["stream_breaks"]["error"]["type"] == "api_error"
    balance = await gateway.balance(customer.org_id)
    output_ucr = charge_ucr(
        MODEL, {"prompt_tokens": 0, "cached_tokens": 0, "cache_write_tokens": 0, "output_tokens": 10}, "anthropic"
    )
    assert output_ucr < 100 * UCR_PER_CREDIT - balance.balance_ucr < 3 * output_ucr
    assert balance.held_ucr == 0


@every_sdk
async def test_the_sdk_tries_once_without_credits_and_again_where_they_are_only_held(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    broke, busy = await gateway.customer(), await gateway.customer(credits="8")

    seen = await sdk.run(
        ["out_of_credits", "busy_until_a_call_ends"],
        environ_of(turnstile, busy, BROKE_API_KEY=broke.api_key, BUSY_API_KEY=busy.api_key),
    )

    error = seen["out_of_credits"]
    assert (error["status"], error["type"], error["code"]) == (402, "billing_error", "insufficient_credits")
    assert error["metadata"]["limit_source"] == "org_pool"
    assert len(turnstile.passed_with(x_case="out_of_credits")) == 1
    assert seen["busy_until_a_call_ends"]["refused"] >= 1
    assert seen["busy_until_a_call_ends"]["stop_reason"] == "end_turn"
