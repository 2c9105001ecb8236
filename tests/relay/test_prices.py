"""Stored prices, mark-ups and volumes on the road: what is quoted is held, what is pinned is charged."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
import pytest

from tests.caller import Answer
from tests.provider import Provider
from tests.road import Road, Roads, chat, price_ucr, until, upstream_at

PRICING = "/api/credits/pricing"
PER_MESSAGE = {"provider": "test", "model": "plain", "per_message": "3", "per_request": "0.5"}


async def operate(road: Road, method: str, path: str, body: Any = None) -> Any:
    headers = {"authorization": "Bearer operator", "content-type": "application/json"}
    data = None if body is None else msgspec.json.encode(body)
    async with road.session.request(method, road.gateway.url + path, headers=headers, data=data) as response:
        assert response.status in {200, 201}, await response.text()
        return await response.json()


async def lines(road: Road, answer: Answer) -> list[tuple[str, int, str]]:
    found = await road.get(f"/v1/generation?id={answer.headers['x-request-id']}")
    return [(line["kind"], line["units"], line["price_per_unit"]) for line in json.loads(found.body)["data"]["lines"]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_messages_and_requests_are_held_and_charged(roads: Roads, provider: Provider, stream: bool) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await operate(road, "POST", PRICING, PER_MESSAGE)
    answer = await road.ask(chat(n=2, max_tokens=5, stream=stream), x_replay_output_tokens=5)
    assert answer.status == 200, answer.body
    assert answer.headers["x-tollgate-credits-reserved"] == "6.500000"
    assert await road.spent_ucr() == 6_500_000
    found = await lines(road, answer)
    assert [line for line in found if line[0] in {"message", "request"}] == [("message", 2, "3"), ("request", 1, "0.5")]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_mark_up_is_held_and_charged_with_the_price_it_makes(
    roads: Roads, provider: Provider, stream: bool
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await operate(road, "PUT", f"/api/credits/markups/orgs/{road.org.org_id}", {"basis_points": 3_333})
    answer = await road.ask(chat(max_tokens=5, stream=stream), x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    spent_ucr = await road.spent_ucr()
    assert spent_ucr == -(-price_ucr(3, 5) * 13_333 // 10_000)
    assert Decimal(answer.headers["x-tollgate-credits-reserved"]) * 1_000_000 >= spent_ucr
    assert await lines(road, answer) == [("input", 3, "0.0013333"), ("output", 5, "0.013333")]


async def test_a_mark_up_of_a_part_of_a_microcredit_is_in_the_books_exactly(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    odd = {"provider": "test", "model": "plain", "input_per_million": "0.000001", "output_per_million": "0.000003"}
    await operate(road, "POST", PRICING, odd)
    await operate(road, "PUT", "/api/credits/markups/all", {"basis_points": 1})
    answer = await road.ask(chat(max_tokens=5), x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    assert await road.spent_ucr() == 1
    assert await lines(road, answer) == [("input", 3, "0.0000000000010001"), ("output", 5, "0.0000000000030003")]
    # And the books hold: the road looks when the test is over.


async def test_a_call_under_way_keeps_the_price_it_was_reserved_at(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    pace: dict[str, Any] = {"x_replay_output_tokens": 40, "x_replay_prompt_tokens": 3, "x_replay_interval_ms": 5}
    async with road.begin(chat(stream=True, max_tokens=40), **pace) as caller:
        await caller.until_read(b"data: ")
        await operate(road, "POST", PRICING, PER_MESSAGE)
        await operate(road, "PUT", "/api/credits/markups/all", {"basis_points": 10_000})
        assert (await caller.rest()).status == 200
    assert await road.spent_ucr() == price_ucr(3, 40)
    await road.ask(chat(max_tokens=5), x_replay_output_tokens=5)
    assert await road.spent_ucr() == price_ucr(3, 40) + 7_000_000


async def test_a_new_price_holds_for_organisations_with_a_mark_up_too(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await operate(road, "PUT", "/api/credits/markups/all", {"basis_points": 10_000})
    spent_ucr = 0
    for per_message in (1, 2):
        price = {"provider": "test", "model": "plain", "per_message": per_message}
        await operate(road, "POST", PRICING, price)
        await road.ask(chat(max_tokens=5), x_replay_output_tokens=5)
        spent_ucr += 2_000_000 * per_message
        assert await road.spent_ucr() == spent_ucr


async def test_a_stream_that_is_paid_as_it_flows_is_cut_before_it_passes_what_its_message_leaves(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url), credits="3.5", reserve={"first_slice_tokens": 16})
    price = {"provider": "test", "model": "plain", "per_message": 3, "output_per_million": 10_000}
    await operate(road, "POST", PRICING, price)
    answer = await road.ask(chat(stream=True, max_tokens=200), x_replay_output_tokens=200)
    assert b"insufficient_credits" in answer.body
    end = await road.ended()
    assert (end.ended, end.overage_ucr, end.charged_ucr > 3_000_000) == ("cut_off", 0, True)
    assert await road.spent_ucr() <= 3_500_000


async def test_a_change_is_heard_by_the_other_gateway(roads: Roads, provider: Provider) -> None:
    one, other = [await roads.open(upstream_at(provider.base_url)) for _ in range(2)]
    await other.gateway.stored_prices.listening()
    await operate(one, "POST", PRICING, PER_MESSAGE)
    await until(lambda: other.gateway.stored_prices.sheet.own("test", "plain") is not None, "the other has heard it")
    await other.ask(chat(max_tokens=5), x_replay_output_tokens=5)
    assert await other.spent_ucr() == 3_500_000
    await operate(other, "DELETE", f"{PRICING}/test/plain")
    await until(lambda: one.gateway.stored_prices.sheet.own("test", "plain") is None, "the one has heard it")
    await one.ask(chat(max_tokens=5), x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    assert await one.spent_ucr() == price_ucr(3, 5)


async def test_a_model_without_any_price_is_refused_until_it_has_one(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    refused = await road.ask(chat("unpriced"))
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (400, "model_not_priced")
    zero = {"provider": "test", "model": "unpriced", "per_message": 0}
    await operate(road, "POST", PRICING, zero)
    assert (await road.ask(chat("unpriced", max_tokens=5), x_replay_output_tokens=5)).status == 200
    assert await road.spent_ucr() == 0
    await operate(road, "DELETE", f"{PRICING}/test/unpriced")
    assert (await road.ask(chat("unpriced"))).status == 400


async def test_a_mark_up_that_makes_a_price_too_much_refuses_the_model_by_name(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    dearest = {"provider": "test", "model": "plain", "input_per_million": "33554000", "output_per_million": "33554000"}
    await operate(road, "POST", PRICING, dearest)
    await operate(road, "PUT", "/api/credits/markups/all", {"basis_points": 100_000})
    refused = await road.ask(chat())
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (400, "model_not_priced")
    assert await road.spent_ucr() == 0


async def test_a_volume_counts_from_the_next_call_on_and_changes_no_call_that_was_made(
    roads: Roads, provider: Provider
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    tiers = [{"above_month_tokens": 7, "per_message": 1}]
    await operate(
        road, "POST", PRICING, {"provider": "test", "model": "plain", "per_message": 2, "volume_tiers": tiers}
    )
    ask = chat(max_tokens=5)
    await road.ask(ask, x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    assert await road.spent_ucr() == 2_000_000
    # This process goes by the figure that it has read; one that reads it now goes by what was settled.
    await road.ask(ask, x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    assert await road.spent_ucr() == 4_000_000
    later = await roads.open(upstream_at(provider.base_url))
    await later.ask(ask, key=road.key, x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    await later.idle()
    assert await later.gateway.ledger.settled(road.org.org_id)
    assert await road.spent_ucr() == 5_000_000
    # Another organisation has used nothing of it.
    await later.ask(ask, x_replay_output_tokens=5, x_replay_prompt_tokens=3)
    assert await later.spent_ucr() == 2_000_000


async def test_an_organisations_plan_decides_its_mark_up(
    roads: Roads, provider: Provider, owner: asyncpg.Connection
) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await operate(road, "PUT", "/api/credits/markups/plans/pro", {"basis_points": 10_000})
    pace: dict[str, Any] = {"x_replay_output_tokens": 5, "x_replay_prompt_tokens": 3}
    await road.ask(chat(max_tokens=5), **pace)
    assert await road.spent_ucr() == price_ucr(3, 5)
    await owner.execute(
        "SELECT change_subscription($1, $1, $1, 'subscribe', 'subscription',"
        " ROW('pro', 'Pro', 'month', 1000000, 0, 0, 50, 0)::plan_terms, NULL, false,"
        " ROW('t', NULL, NULL, NULL)::origin, NULL)",
        road.org.org_id,
    )
    road.granted_ucr += 1_000_000

    async def doubled() -> bool:
        before_ucr = await road.spent_ucr()
        await road.ask(chat(max_tokens=5), **pace)
        return await road.spent_ucr() - before_ucr == 2 * price_ucr(3, 5)

    await until(doubled, "the plan's mark-up is charged")


async def test_calls_of_every_kind_at_once_are_held_at_what_they_may_cost(roads: Roads, provider: Provider) -> None:
    """While prices change all the time: a charge never passes what was held, or there would be an overage."""
    road = await roads.open(upstream_at(provider.base_url), credits="100000")

    async def change() -> None:
        for number in range(20):
            await operate(road, "POST", PRICING, PER_MESSAGE | {"per_message": number, "input_per_million": number})
            await operate(road, "PUT", "/api/credits/markups/all", {"basis_points": 777 * number - 5_000})

    async def call(number: int) -> None:
        request = chat(n=1 + number % 3, max_tokens=20, stream=bool(number % 2))
        assert (await road.ask(request, x_replay_output_tokens=20)).status == 200

    changing = asyncio.ensure_future(change())
    for number in range(0, 60, 6):
        await asyncio.gather(*(call(number + place) for place in range(6)))
    await changing
    books = await road.books()
    assert len(books) == 60
    assert {(call.overage_ucr, call.waived_ucr) for call in books} == {(0, 0)}
    assert len({call.cost_ucr for call in books}) > 3


@pytest.mark.parametrize(
    "price", [{"model": "flagship", "default": True}, {"model": "*"}], ids=["default", "every model"]
)
async def test_a_price_of_all_models_makes_every_model_of_the_provider_callable(
    roads: Roads, provider: Provider, price: dict[str, Any]
) -> None:
    road = await roads.open(msgspec.structs.replace(upstream_at(provider.base_url), models=None))
    refused = await road.ask(chat(model="never-heard-of", max_tokens=5))
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (404, "model_not_found")
    await operate(road, "POST", PRICING, {"provider": "test", "per_message": "3"} | price)
    for name in ("never-heard-of", "test/never-heard-of"):
        told = await operate(road, "POST", "/api/credits/calculate-cost", {"model": name})
        assert (told["provider"], told["model"], told["cost"]) == ("test", "never-heard-of", "3.000000")
    by_provider = await operate(
        road, "POST", "/api/credits/calculate-cost", {"provider": "test", "model": "never-heard-of"}
    )
    assert (by_provider["cost"], by_provider["served"]) == ("3.000000", True)
    answer = await road.ask(chat(model="never-heard-of", max_tokens=5), x_replay_output_tokens=5)
    assert answer.status == 200, answer.body
    assert await road.spent_ucr() == 3_000_000
    assert (await road.get("/v1/models/never-heard-of")).status == 200
    assert (await road.ask(chat(model="*", max_tokens=5))).status == 404
    assert (await road.ask(chat(model="x" * 257, max_tokens=5))).status in (400, 404)


async def test_an_upstream_with_a_list_serves_no_more_than_that(roads: Roads, provider: Provider) -> None:
    road = await roads.open(upstream_at(provider.base_url))
    await operate(road, "POST", PRICING, {"provider": "test", "model": "*", "per_message": "3"})
    assert (await road.ask(chat(model="never-heard-of", max_tokens=5))).status == 404
    told = await operate(road, "POST", "/api/credits/calculate-cost", {"provider": "test", "model": "never-heard-of"})
    assert (told["cost"], told["served"]) == ("3.000000", False)
