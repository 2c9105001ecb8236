"""The Responses API of OpenAI's own SDK against a running gateway: what an application sees, and what it is charged."""

import re
from pathlib import Path
from typing import Any

from gateway.replay.server import ReplayServer
from tests.e2e.prices import charges_ucr
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.e2e.sdks import RESPONSES
from tests.e2e.test_openai_sdks import TOKEN_CHARACTERS, sent_calls

WEATHER = [{"name": "get_weather", "arguments": {"city": "Paris"}}]


async def run(gateway: RunningGateway, customer: Customer, *cases: str, **environ: str) -> dict[str, Any]:
    address = {"OPENAI_BASE_URL": gateway.base_url, "OPENAI_API_KEY": customer.api_key}
    return await RESPONSES.run(cases, {**address, **environ})


async def test_answers_of_every_kind_arrive_whole_and_cost_what_the_provider_sent_to_the_microcredit(
    gateway: RunningGateway, replay: ReplayServer
) -> None:
    customer = await gateway.customer(credits="1000")
    spoken = ["create", "stream", "stream_helper", "async_client"]
    seen = await run(gateway, customer, *spoken, "cut_short", "parsed", "tool_call", "stream_tool_call")
    for case in spoken:
        assert seen[case]["status"] == "completed"
        assert seen[case]["text"].startswith("This is the replay provider, no model was asked. You said: “Say hello.”")
        assert seen[case].get("pieces_join", seen[case]["text"]) == seen[case]["text"]
    numbers = seen["stream"]["numbers"]
    assert numbers == list(range(len(numbers)))
    assert (seen["cut_short"]["status"], seen["cut_short"]["reason"]) == ("incomplete", "max_output_tokens")
    assert seen["cut_short"]["usage"]["output_tokens"] == 16
    assert seen["parsed"]["parsed"] == {"name": "example", "inhabitants": 1}
    assert seen["tool_call"]["asked"]["calls"] == seen["stream_tool_call"]["calls"] == WEATHER
    assert seen["tool_call"]["answered"]["text"].startswith("This is the replay provider")
    assert "x-tollgate-credits-charged" in seen["create"]["headers"]
    calls = await sent_calls(gateway, replay)
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (1_000_000_000 - charges_ucr(calls), 0)


async def test_every_refusal_raises_its_own_exception_and_costs_nothing(gateway: RunningGateway) -> None:
    customer, broke = await gateway.customer(credits="100"), await gateway.customer()
    cases = ["malformed", "wrong_key", "out_of_credits", "upstream_status"]
    seen = await run(gateway, customer, *cases, BROKE_API_KEY=broke.api_key)
    facts = {case: tuple(seen[case][fact] for fact in ("raised", "status", "code", "param")) for case in cases}
    assert facts == {
        "malformed": ("BadRequestError", 400, "invalid_request", "input"),
        "wrong_key": ("AuthenticationError", 401, "invalid_api_key", None),
        "out_of_credits": ("APIStatusError", 402, "insufficient_credits", None),
        "upstream_status": ("InternalServerError", 503, None, None),
    }
    assert (await gateway.balance(customer.org_id)).available_ucr == 100_000_000


async def test_a_stream_that_fails_after_its_200_raises_and_only_what_came_is_charged(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits="100")
    seen = await run(gateway, customer, "error_in_the_stream", "stream_breaks")
    for case in ("error_in_the_stream", "stream_breaks"):
        assert len(seen[case]["text"]) == 5 * TOKEN_CHARACTERS, case
        assert seen[case]["error"]["raised"] == "APIError"
    assert seen["error_in_the_stream"]["error"]["code"] == "replayed"
    assert seen["stream_breaks"]["error"]["code"] == "upstream_error"
    balance = await gateway.balance(customer.org_id)
    assert balance.held_ucr == 0
    assert balance.balance_ucr < 100_000_000


async def test_what_the_provider_keeps_is_for_whom_it_was_handed_to(gateway: RunningGateway) -> None:
    customer, other = await gateway.customer(credits="100"), await gateway.customer(credits="100")
    kept = (await run(gateway, customer, "goes_on", OTHER_API_KEY=other.api_key))["goes_on"]
    assert (kept["previous"], kept["shown"], kept["items"]) == (True, True, 1)
    for error in (kept["deleted"], kept["theirs"]):
        assert (error["raised"], error["status"]) == ("NotFoundError", 404)
    assert (kept["theirs_goes_on"]["raised"], kept["theirs_goes_on"]["code"]) == (
        "BadRequestError",
        "previous_response_not_found",
    )
    assert (await gateway.balance(other.org_id)).available_ucr == 100_000_000


async def test_responses_in_the_background_are_charged_when_they_end(
    gateway: RunningGateway, replay: ReplayServer
) -> None:
    customer = await gateway.customer(credits="100")
    seen = await run(gateway, customer, "background")
    assert seen["background"]["statuses"][0] == "queued"
    assert seen["background"]["statuses"][-1] == "completed"
    (call,) = await sent_calls(gateway, replay)
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (100_000_000 - charges_ucr([call]), 0)
    called_off = await run(gateway, customer, "background_cancelled")
    assert called_off["background_cancelled"]["status"] == "cancelled"
    after = await gateway.balance(customer.org_id)
    assert after.held_ucr == 0
    assert 0 < balance.balance_ucr - after.balance_ucr < 1_000_000


async def test_a_killed_gateways_responses_are_settled_by_the_next(
    dsn: str, replay: ReplayServer, tmp_path: Path
) -> None:
    async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path) as gateway:
        customer = await gateway.customer(credits="100")
        headers = {"authorization": f"Bearer {customer.api_key}"}
        body = {"model": "gpt-4o-mini", "input": "hi", "background": True}
        async with gateway.session.post(f"{gateway.base_url}/responses", json=body, headers=headers) as response:
            assert (response.status, (await response.json())["status"]) == (200, "queued")
        await gateway.kill()
    async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path) as gateway:
        await gateway.said.error(re.compile("background.settled"))
        (call,) = await sent_calls(gateway, replay)
        balance = await gateway.balance(customer.org_id)
        assert (balance.balance_ucr, balance.held_ucr) == (100_000_000 - charges_ucr([call]), 0)
