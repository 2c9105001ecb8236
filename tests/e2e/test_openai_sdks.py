"""OpenAI's own SDKs against a running gateway: what an application sees, and what it is charged."""

import re
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.prices import charge_ucr, charges_ucr
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.e2e.sdks import NODE, PYTHON_1, PYTHON_LATEST, SDKS, Sdk
from tests.fakes.turnstile import Turnstile

MODEL: Final = "gpt-4o-mini"
OUTPUT_UCR: Final = charge_ucr(
    MODEL, {"prompt_tokens": 0, "cached_tokens": 0, "cache_write_tokens": 0, "output_tokens": 1}
)
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TOKEN_CHARACTERS: Final = 4
"""Of the replay provider's texts."""

every_sdk = pytest.mark.parametrize("sdk", SDKS, ids=str)


@pytest.fixture
def gateway_config() -> str:
    return "[ledger]\nqueue_wait_s = 0.2\n"  # as a refusal is what some of these tests wait for


@pytest.fixture
async def turnstile(gateway: RunningGateway) -> AsyncIterator[Turnstile]:
    """Where the SDKs go: it counts what they send to the gateway."""
    async with Turnstile(gateway.url) as turnstile:
        yield turnstile


def environ_of(turnstile: Turnstile, customer: Customer, **more: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{turnstile.url}/v1", "OPENAI_API_KEY": customer.api_key, **more}


async def sent_calls(gateway: RunningGateway, replay: ReplayServer) -> list[dict[str, Any]]:
    """The provider's own books."""
    async with gateway.session.get(f"{replay.url}/_sent") as response:
        page = await response.json()
    assert page["open_calls"] == 0
    return list(page["calls"])


def tries_of(turnstile: Turnstile, case: str) -> list[int]:
    """The SDK's own count of retries, request by request."""
    return [int(one.headers["x-stainless-retry-count"]) for one in turnstile.passed_with(x_case=case)]


def credits_of(ucr: int) -> Decimal:
    return Decimal(ucr) / 1_000_000


# --- answers ----------------------------------------------------------------------------------------------------------


@every_sdk
async def test_answers_of_every_kind_arrive_whole_and_cost_what_the_provider_sent_to_the_microcredit(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="1000")
    whole = ["chat", "several_choices", "json_mode", "json_schema", "image_in_the_body", "image_by_address"]
    streamed = ["stream", "stream_with_usage", "stream_several_choices", "stream_helper"]
    calling = ["tool_call", "parallel_tool_calls", "stream_tool_call", "stream_parallel_tool_calls"]
    asynchronous = [] if sdk is NODE else ["async_client"]

    seen = await sdk.run([*whole, *streamed, *calling, *asynchronous], environ_of(turnstile, customer))

    calls = await sent_calls(gateway, replay)
    balance = await gateway.balance(customer.org_id)
    assert balance.balance_ucr == 1_000_000_000 - charges_ucr(calls)
    assert balance.held_ucr == 0
    assert len(calls) == len(turnstile.passed) == len(seen) - 1 + 1 + len(asynchronous), "each was sent once"
    assert not any(call["status"] >= 400 for call in calls)
    assert_spoken(seen, asynchronous)
    assert_usage_only_where_asked_for(seen, {call["id"]: call["tokens"] for call in calls})
    assert_tools_called(seen)


def assert_spoken(seen: dict[str, Any], asynchronous: list[str]) -> None:
    one = ["chat", "stream", "stream_with_usage", "stream_helper", "image_in_the_body", "image_by_address"]
    answers = [seen[case]["choices"] for case in one]
    answers += [seen[case][how]["choices"] for case in asynchronous for how in ("whole", "streamed")]
    for choices in answers:
        (choice,) = choices
        assert choice["content"].startswith("This is the replay provider, no model was asked. You said: “")
        assert choice["finish_reason"] == "stop"
    assert seen["stream_helper"]["pieces_join"] == seen["stream_helper"]["choices"][0]["content"]
    for case in ("several_choices", "stream_several_choices"):
        texts = [choice["content"] for choice in seen[case]["choices"]]
        assert len(texts) == len(set(texts)) == 3
    assert seen["json_mode"]["choices"][0]["content"].startswith('{"answer":')
    assert seen["json_schema"]["parsed"] == {"name": "example", "inhabitants": 1}


def assert_usage_only_where_asked_for(seen: dict[str, Any], sent: dict[str, Any]) -> None:
    """The gateway asks every stream for its usage; who did not ask must not meet it."""
    for case in ("stream", "stream_several_choices", "stream_tool_call", "stream_parallel_tool_calls"):
        assert (seen[case]["usages"], seen[case]["chunks_without_choices"]) == ([], 0), case
    asked = seen["stream_with_usage"]
    assert asked["chunks_without_choices"] == 1
    (usage,) = asked["usages"]
    for id, told in ((asked["ids"][0], usage), (seen["chat"]["id"], seen["chat"]["usage"])):
        assert told["prompt_tokens"] == sent[id]["prompt_tokens"]
        assert told["completion_tokens"] == sent[id]["output_tokens"]


def assert_tools_called(seen: dict[str, Any]) -> None:
    weather, time = (
        {"name": "get_weather", "arguments": {"city": "Paris"}},
        {"name": "get_time", "arguments": {"city": "Lima"}},
    )
    wanted = {
        "stream_tool_call": [weather],
        "parallel_tool_calls": [weather, time],
        "stream_parallel_tool_calls": [weather, time],
    }
    for case, calls in wanted.items():
        (choice,) = seen[case]["choices"]
        assert (choice["finish_reason"], choice["tool_calls"]) == ("tool_calls", calls), case
    assert seen["tool_call"]["asked"]["choices"][0]["tool_calls"] == [weather]
    assert seen["tool_call"]["answered"]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("sdk", [PYTHON_LATEST, PYTHON_1], ids=str)
async def test_the_other_endpoints_are_served_and_charged_to_the_microcredit(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="1000")

    seen = await sdk.run(
        ["embeddings", "completions", "moderations", "kinds_of_models"], environ_of(turnstile, customer)
    )

    embedded = seen["embeddings"]
    assert embedded["sizes"] == {"text": [4], "texts": [4, 4], "numbers": [4], "arrays": [4, 4]}
    assert embedded["tokens"] == {"text": 2, "texts": 4, "numbers": 3, "arrays": 3}
    assert embedded["same_either_way"]
    completed = seen["completions"]
    assert completed["text"].startswith("This is the replay provider")
    assert completed["streamed"].startswith("This is the replay provider")
    assert (completed["usage"]["prompt_tokens"], completed["usages"]) == (1, [20])
    assert len(completed["several"]) == 4
    assert completed["several_tokens"] == 2 * 3 * 5, "those that are not shown as well"
    assert completed["usages_unasked"] == []
    assert seen["moderations"] == {"model": "omni-moderation-latest", "results": [1, 2, 1], "flagged": False}
    for error in seen["kinds_of_models"].values():
        facts = tuple(error[fact] for fact in ("raised", "status", "code", "param"))
        assert facts == ("BadRequestError", 400, "model_not_supported", "model")
    calls = await sent_calls(gateway, replay)
    balance = await gateway.balance(customer.org_id)
    assert len(calls) == 5 + 4 + 3
    assert (balance.balance_ucr, balance.held_ucr) == (1_000_000_000 - charges_ucr(calls), 0)


@pytest.mark.parametrize("sdk", [PYTHON_LATEST, PYTHON_1], ids=str)
async def test_a_completion_that_breaks_in_mid_stream_raises(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")

    seen = await sdk.run(["completion_breaks"], environ_of(turnstile, customer))

    broken = seen["completion_breaks"]
    assert len(broken["text"]) == 5 * TOKEN_CHARACTERS
    assert (broken["error"]["raised"], broken["error"]["code"]) == ("APIError", "upstream_error")
    assert (await gateway.balance(customer.org_id)).held_ucr == 0


@every_sdk
async def test_headers_and_account_endpoints_tell_what_a_call_cost(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="1000")

    seen = await sdk.run(
        ["raw_response", "image_by_address", "stream_raw_response", "credits_left"], environ_of(turnstile, customer)
    )

    sent = {call["id"]: call for call in await sent_calls(gateway, replay)}
    for case in ("raw_response", "image_by_address"):
        headers = seen[case]["headers"]
        charge = charge_ucr(MODEL, sent[seen[case]["id"]]["tokens"])
        assert Decimal(headers["x-tollgate-credits-charged"]) == credits_of(charge)
        assert Decimal(headers["x-tollgate-credits-reserved"]) >= credits_of(charge)
        assert seen[case]["request_id"] == headers["x-request-id"]
        assert UUID.fullmatch(headers["x-request-id"])
    by_address = seen["image_by_address"]["headers"]
    assert Decimal(by_address["x-tollgate-credits-reserved"]) > Decimal(128_000 * 150) / 1_000_000, "a whole window"
    streamed = seen["stream_raw_response"]
    charge = charge_ucr(MODEL, sent[streamed["ids"][0]]["tokens"])
    assert "x-tollgate-credits-charged" not in streamed["headers"]
    assert streamed["generation"]["id"] == streamed["headers"]["x-request-id"]
    assert Decimal(str(streamed["generation"]["total_cost"])) == credits_of(charge)
    assert streamed["generation"]["streamed"] is True
    used = charges_ucr(sent.values())
    assert Decimal(str(seen["credits_left"]["total_credits"])) == 1000
    assert Decimal(str(seen["credits_left"]["total_usage"])) == credits_of(used)
    assert (await gateway.balance(customer.org_id)).available_ucr == 1_000_000_000 - used


@every_sdk
async def test_models_are_listed_and_found_one_by_one(sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile) -> None:
    customer = await gateway.customer()

    models = (await sdk.run(["models"], environ_of(turnstile, customer)))["models"]

    assert MODEL in models["ids"]
    assert models["objects"] == ["model"]
    assert models["retrieved"]["id"] == MODEL
    assert models["unknown"]["raised"] == "NotFoundError"
    assert models["unknown"]["code"] == "model_not_found"


# --- errors -----------------------------------------------------------------------------------------------------------


@every_sdk
async def test_every_refusal_raises_its_own_exception_and_costs_nothing(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer, suspended = await gateway.customer(credits="100"), await gateway.customer(credits="100")
    await gateway.suspend(suspended.org_id)
    gateways = ["wrong_key", "suspended_org", "unknown_model", "malformed", "upstream_refuses_the_operator"]
    upstreams = {
        "400": "BadRequestError",
        "404": "NotFoundError",
        "409": "ConflictError",
        "413": sdk.other_status_error,
        "422": "UnprocessableEntityError",
        "429": "RateLimitError",
        "500": "InternalServerError",
        "503": "InternalServerError",
    }

    seen = await sdk.run(
        [*gateways, "upstream_status"], environ_of(turnstile, customer, SUSPENDED_API_KEY=suspended.api_key)
    )

    facts = {
        case: tuple(seen[case][fact] for fact in ("raised", "status", "type", "code", "param")) for case in gateways
    }
    assert facts == {
        "wrong_key": ("AuthenticationError", 401, "invalid_request_error", "invalid_api_key", None),
        "suspended_org": ("PermissionDeniedError", 403, "invalid_request_error", "org_suspended", None),
        "unknown_model": ("NotFoundError", 404, "invalid_request_error", "model_not_found", "model"),
        "malformed": ("BadRequestError", 400, "invalid_request_error", "invalid_request", "messages"),
        "upstream_refuses_the_operator": ("InternalServerError", 502, "upstream_error", "upstream_error", None),
    }
    assert "Incorrect API key" not in seen["upstream_refuses_the_operator"]["message"]
    relayed = seen["upstream_status"]
    assert {status: error["raised"] for status, error in relayed.items()} == upstreams
    assert all(error["status"] == int(status) for status, error in relayed.items())
    assert all("as x-replay-status asked" in error["message"] for error in relayed.values())
    errors = [*(seen[case] for case in gateways), *relayed.values()]
    request_ids = {error["request_id"] for error in errors}
    assert len(request_ids) == len(errors), "each has its own"
    assert all(UUID.fullmatch(id) for id in request_ids)
    assert (await gateway.balance(customer.org_id)).available_ucr == 100_000_000


@every_sdk
async def test_a_call_that_an_impatient_application_gives_up_before_the_first_byte_costs_nothing(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        unreachable = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"

        seen = await sdk.run(
            ["no_answer_in_time", "unreachable"], environ_of(turnstile, customer, UNREACHABLE_URL=unreachable)
        )

    assert seen["no_answer_in_time"]["raised"] == sdk.timeout_error
    assert seen["unreachable"]["raised"] == "APIConnectionError"
    line = await gateway.said.request(end="cancelled")
    assert line["model"] == MODEL
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (100_000_000, 0)


@every_sdk
async def test_a_stream_that_fails_after_its_200_raises_and_only_what_came_is_charged(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")

    seen = await sdk.run(["error_in_the_stream", "stream_breaks"], environ_of(turnstile, customer))

    for case in seen.keys() - {"sdk"}:
        (choice,) = seen[case]["choices"]
        assert len(choice["content"]) == 5 * TOKEN_CHARACTERS, case
    theirs, ours = seen["error_in_the_stream"]["error"], seen["stream_breaks"]["error"]
    assert (theirs["raised"], theirs["type"], theirs["code"]) == ("APIError", "server_error", "replayed")
    assert (ours["raised"], ours["type"], ours["code"]) == ("APIError", "upstream_error", "upstream_error")
    balance = await gateway.balance(customer.org_id)
    assert balance.held_ucr == 0
    spent = 100_000_000 - balance.balance_ucr
    assert 2 * 5 * OUTPUT_UCR < spent < 2 * 50 * OUTPUT_UCR


# --- credits ----------------------------------------------------------------------------------------------------------


@every_sdk
async def test_without_credits_the_sdk_tries_once_and_is_told_what_it_would_take(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer()

    seen = await sdk.run(["out_of_credits"], environ_of(turnstile, customer, BROKE_API_KEY=customer.api_key))

    error = seen["out_of_credits"]
    facts = tuple(error[fact] for fact in ("raised", "status", "type", "code"))
    assert facts == (sdk.other_status_error, 402, "insufficient_quota", "insufficient_credits")
    assert error["metadata"]["limit_source"] == "org_pool"
    assert Decimal(error["metadata"]["available"]) == 0
    assert Decimal(error["metadata"]["required"]) > 0
    assert tries_of(turnstile, "out_of_credits") == [0]
    assert await sent_calls(gateway, replay) == []


@every_sdk
async def test_where_the_operator_answers_429_instead_of_402_the_sdk_still_tries_once(
    sdk: Sdk, dsn: str, replay: ReplayServer, tmp_path: Path
) -> None:
    async with (
        running_gateway(
            dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path, config="insufficient_status = 429\n"
        ) as gateway,
        Turnstile(gateway.url) as turnstile,
    ):
        customer = await gateway.customer()

        seen = await sdk.run(["out_of_credits"], environ_of(turnstile, customer, BROKE_API_KEY=customer.api_key))

    error = seen["out_of_credits"]
    assert (error["raised"], error["status"], error["code"]) == ("RateLimitError", 429, "insufficient_credits")
    assert tries_of(turnstile, "out_of_credits") == [0]


@every_sdk
async def test_credits_that_end_in_mid_stream_raise_and_never_go_below_zero(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="1")

    seen = await sdk.run(["credits_end_in_the_stream"], environ_of(turnstile, customer, THIN_API_KEY=customer.api_key))

    cut = seen["credits_end_in_the_stream"]
    assert (cut["error"]["raised"], cut["error"]["code"]) == ("APIError", "insufficient_credits")
    (choice,) = cut["choices"]
    tokens_received = len(choice["content"]) / TOKEN_CHARACTERS
    assert 1024 < tokens_received < 1_000_000 / OUTPUT_UCR, "more than the first slice, less than all credits"
    (usage,) = cut["usages"]
    assert usage["completion_tokens"] >= tokens_received
    await gateway.said.request(end="cut_off")
    balance = await gateway.balance(customer.org_id)
    assert balance.held_ucr == balance.receivable_ucr == 0
    assert 0 <= balance.balance_ucr <= 1_000_000 - tokens_received * OUTPUT_UCR


@every_sdk
async def test_while_other_calls_hold_the_credits_the_sdk_retries_until_they_are_free(
    sdk: Sdk, gateway: RunningGateway, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="1")  # more than one call's worst case, less than two

    seen = await sdk.run(
        ["busy", "busy_until_a_call_ends"], environ_of(turnstile, customer, BUSY_API_KEY=customer.api_key)
    )

    error = seen["busy"]
    facts = tuple(error[fact] for fact in ("raised", "status", "type", "code"))
    assert facts == (sdk.other_status_error, 402, "insufficient_quota", "credits_reserved")
    assert Decimal(error["metadata"]["available"]) < Decimal(error["metadata"]["required"]) < 1
    assert tries_of(turnstile, "busy") == [0, 0, 1], "the call that holds; the other, twice"
    _, first, second = turnstile.passed_with(x_case="busy")
    assert second.at_s - first.at_s >= 1, "retry-after is at least a second"
    freed = seen["busy_until_a_call_ends"]
    assert freed["refused"] == freed["retries"] == 1
    assert tries_of(turnstile, "busy_until_a_call_ends") == [0, 0, 1]
    assert freed["choices"][0]["finish_reason"] == "stop"
    balance = await gateway.balance(customer.org_id)
    assert balance.held_ucr == 0


@every_sdk
async def test_rate_limits_and_faults_of_the_provider_are_retried_as_they_say(
    sdk: Sdk, gateway: RunningGateway, replay: ReplayServer, turnstile: Turnstile
) -> None:
    customer = await gateway.customer(credits="100")

    seen = await sdk.run(["rate_limited", "upstream_down"], environ_of(turnstile, customer))

    assert seen["rate_limited"]["raised"] == "RateLimitError"
    assert seen["upstream_down"]["raised"] == "InternalServerError"
    for case in ("rate_limited", "upstream_down"):
        assert tries_of(turnstile, case) == [0, 1]
    (gap_s,) = (second.at_s - first.at_s for first, second in pairwise(turnstile.passed_with(x_case="rate_limited")))
    assert gap_s >= 1, "the provider said retry-after: 1"
    assert [call["status"] for call in await sent_calls(gateway, replay)] == [429, 429, 500, 500]
    assert (await gateway.balance(customer.org_id)).available_ucr == 100_000_000
