"""Prices on /api: set, listed, ended and calculated, as the operator and as an organisation see them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from tests.edge.conftest import Answer, House

PRICING = "/api/credits/pricing"
GPT_5 = f"{PRICING}/openai/gpt-5"
GPT_4 = {"provider": "openai", "model": "gpt-4", "per_message": "30"}


async def cost(house: House, key: str | None = None, **question: Any) -> Answer:
    ask = house.operate if key is None else house.ask
    named = {} if key is None else {"key": key}
    return await ask("POST", "/api/credits/calculate-cost", json=question, **named)


async def test_a_stored_price_comes_before_the_others_and_a_model_without_any_is_refused_by_name(house: House) -> None:
    before = await house.operate("GET", GPT_5)
    assert (before.status, before.json["source"]) == (200, "price_map")
    assert before.json["input_per_million"] == "1.250000"
    assert "etag" not in before.headers
    unknown = await cost(house, provider="openai", model="gpt-4", input_tokens=1500)
    assert (unknown.status, unknown.json["code"]) == (400, "model_not_priced")

    made = await house.operate("POST", PRICING, GPT_4)
    assert made.status == 201
    assert (made.json["per_message"], made.json["input_per_million"]) == ("30.000000", "0.000000")
    found = await house.operate("GET", f"{PRICING}/openai/gpt-4")
    assert found.json == made.json | {"source": "stored:api", "set_by": "operator"}
    assert found.headers["etag"] == made.headers["etag"]
    told = (await cost(house, provider="openai", model="gpt-4", input_tokens=1500, messages=2)).json
    assert (told["cost_ucr"], told["cost"]) == (60_000_000, "60.000000")
    assert told["lines"][-1] == {"kind": "message", "units": 2, "price_per_unit": "30.000000", "cost": "60.000000"}


async def test_a_stored_price_of_zero_is_a_price_and_one_without_any_is_none(house: House) -> None:
    free = await house.operate("POST", PRICING, {"provider": "openai", "model": "free", "per_request": 0})
    assert free.status == 201
    assert (await cost(house, provider="openai", model="free", input_tokens=9)).json["cost_ucr"] == 0
    none = await house.operate("POST", PRICING, {"provider": "openai", "model": "none"})
    assert (none.status, none.field) == (400, "input_per_million")
    assert (await cost(house, provider="openai", model="none")).status == 400


async def test_every_kind_of_price_is_stored_shown_and_added_up(house: House) -> None:
    price = {
        "provider": "openai",
        "model": "ft/own:1",
        "input_per_million": "2",
        "cached_per_million": "0.5",
        "output_per_million": 8,
        "per_message": "0.25",
        "per_request": "0.000001",
        "length_tiers": [{"above_prompt_tokens": 1000, "input_per_million": "4", "output_per_million": "16.5"}],
        "volume_tiers": [{"above_month_tokens": 10, "input_per_million": "1", "output_per_million": "4"}],
    }
    made = await house.operate("POST", PRICING, price)
    assert made.status == 201, made.json
    shown = (await house.operate("GET", f"{PRICING}/openai/ft/own:1")).json
    assert shown["cache_write_per_million"] == "2.000000"
    (longer,) = shown["length_tiers"]
    assert (longer["above_prompt_tokens"], longer["cached_per_million"]) == (1000, "0.500000")
    assert shown["volume_tiers"][0]["above_month_tokens"] == 10
    told = await cost(
        house, provider="openai", model="ft/own:1", input_tokens=1000, cached_tokens=400, output_tokens=3, messages=2
    )
    # 600 × 2 + 400 × 0.5 + 3 × 8 credits a million, two messages and a request.
    assert told.json["cost_ucr"] == 1200 + 200 + 24 + 500_000 + 1
    assert [line["kind"] for line in told.json["lines"]] == ["input", "cached_input", "output", "message", "request"]
    long = await cost(house, provider="openai", model="ft/own:1", input_tokens=1001, messages=0, requests=0)
    assert long.json["cost_ucr"] == 4004


@pytest.mark.parametrize(
    ("own", "tiers", "told"),
    [
        # What a tier does not give is as below …
        (
            {"cached_per_million": "0.2", "cache_write_per_million": "2.5", "output_per_million": "8"},
            [{"input_per_million": "4"}, {"output_per_million": "9"}],
            [("4", "0.2", "2.5", "8"), ("4", "0.2", "2.5", "9")],
        ),
        # … and what was given in no tier goes with input in each.
        (
            {"output_per_million": "8"},
            [{"input_per_million": "4"}, {"cached_per_million": "0.5"}, {"input_per_million": "6"}],
            [("4", "4", "4", "8"), ("4", "0.5", "4", "8"), ("6", "0.5", "6", "8")],
        ),
    ],
)
async def test_what_a_length_tier_leaves_out_is_as_below(
    house: House, own: dict[str, str], tiers: list[dict[str, str]], told: list[tuple[str, ...]]
) -> None:
    longer = [{"above_prompt_tokens": 1000 * n, **tier} for n, tier in enumerate(tiers, 1)]
    price = {"provider": "openai", "model": "gpt-5", "input_per_million": "2", **own, "length_tiers": longer}
    made = await house.operate("POST", PRICING, price)
    kinds = ("input_per_million", "cached_per_million", "cache_write_per_million", "output_per_million")
    shown = [[Decimal(tier[kind]) for kind in kinds] for tier in made.json["length_tiers"]]
    assert shown == [[Decimal(one) for one in tier] for tier in told]
    called = house.api.catalogue.route("openai/gpt-5").prices.tiers
    asked: dict[str, Any] = {
        "input_tokens": 1000 * len(tiers) + 3,
        "cached_tokens": 1,
        "cache_write_tokens": 1,
        "output_tokens": 1,
    }
    lines = (await cost(house, model="openai/gpt-5", **asked)).json["lines"]
    calculated = [Decimal(line["price_per_unit"]) * 10**6 for line in lines]
    last = called[-1]
    proxied = [Decimal(ucr) / 10**6 for ucr in (last.input_ucr, last.cached_ucr, last.cache_write_ucr, last.output_ucr)]
    assert calculated == proxied == shown[-1]


async def test_an_organisation_sees_and_calculates_its_own_price_and_nothing_of_the_margin(house: House) -> None:
    org = await house.new_org()
    key = await house.new_key(org)
    put = await house.operate("PUT", f"/api/credits/markups/orgs/{org}", {"basis_points": 3333})
    assert (put.status, put.json["basis_points"]) == (200, 3333)
    mine = (await house.ask("GET", GPT_5, key=key)).json
    # 1.25 × 1.3333, exactly.
    assert mine["input_per_million"] == "1.666625"
    assert not {"source", "set_by"} & mine.keys()
    listed = (await house.ask("GET", f"{PRICING}?provider=openai", key=key)).json
    assert mine in listed["data"]
    assert mine == (await house.operate("GET", f"{GPT_5}?organization_id={org}")).json
    told = (await cost(house, key, model="openai/gpt-5", input_tokens=7)).json
    assert (told["cost_ucr"], told["organization_id"]) == (12, str(org))  # ceil(7 × 1.25 × 1.3333 = 11.666…)
    assert told["lines"] == [
        {"kind": "input", "units": 7, "price_per_unit": "0.000001666625", "cost": "0.000011666375"}
    ]
    assert (await house.ask("GET", "/api/credits/markups", key=key)).status == 403
    other = await house.new_org("Other")
    assert (await house.ask("GET", f"{GPT_5}?organization_id={other}", key=key)).status == 404
    assert (await cost(house, key, model="openai/gpt-5", organization_id=str(other))).status == 404
    listing = (await house.ask("GET", "/v1/models/openai/gpt-5", key=key)).json
    assert listing["pricing"]["prompt"] == "0.000001666625"


async def test_the_narrowest_mark_up_holds(house: House, owner: asyncpg.Connection) -> None:
    org = await house.new_org()
    key = await house.new_key(org)

    async def input_price() -> str:
        price = (await house.ask("GET", GPT_5, key=key)).json["input_per_million"]
        assert isinstance(price, str)
        return price

    async def put(whose: str, basis_points: int | None) -> Answer:
        return await house.operate("PUT", f"/api/credits/markups/{whose}", {"basis_points": basis_points})

    await owner.execute(
        "SELECT change_subscription($1, $1, $1, 'subscribe', 'subscription',"
        " ROW('pro', 'Pro', 'month', 1, 0, 0, 50, 0)::plan_terms, NULL, false,"
        " ROW('t', NULL, NULL, NULL)::origin, NULL)",
        org,
    )
    await put("all", 10_000)
    assert await input_price() == "2.500000"
    await put("plans/pro", 20_000)
    assert await input_price() == "3.750000"
    await put(f"orgs/{org}", -5_000)
    assert await input_price() == "0.625000"
    assert [
        (m["scope"], m["basis_points"]) for m in (await house.operate("GET", "/api/credits/markups")).json["data"]
    ] == [
        ("all", 10_000),
        ("org", -5_000),
        ("plan", 20_000),
    ]
    await put(f"orgs/{org}", None)
    assert await input_price() == "3.750000"
    await put("plans/pro", None)
    await put("all", 0)
    assert await input_price() == "1.250000"
    nobody = "0198c0de-0000-7000-8000-000000000000"
    assert (await put(f"orgs/{nobody}", 1)).status == 404
    assert (await put("all", 100_001)).field == "basis_points"


async def test_markups_are_told_page_by_page(house: House) -> None:
    path = "/api/credits/markups"
    orgs = sorted([await house.new_org() for _ in range(3)])
    plans = ["a", "p" * 64]
    places = ["all", *(f"orgs/{org}" for org in orgs), *(f"plans/{plan}" for plan in plans)]
    for place in reversed(places):
        await house.operate("PUT", f"{path}/{place}", {"basis_points": 5})
    told: list[tuple[str, str | None]] = []
    query = "?limit=2"
    for count in (2, 2, 2):
        page = (await house.operate("GET", path + query)).json
        assert (len(page["data"]), page["limit"]) == (count, 2)
        told += [(markup["scope"], markup["scope_id"]) for markup in page["data"]]
        query = f"?limit=2&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert told == [("all", None), *(("org", str(org)) for org in orgs), *(("plan", plan) for plan in plans)]
    after_first = (await house.operate("GET", f"{path}?limit=1")).json["next_cursor"]
    await house.operate("PUT", f"{path}/all", {"basis_points": None})
    page = (await house.operate("GET", f"{path}?cursor={after_first}")).json
    assert [markup["scope_id"] for markup in page["data"]] == [*map(str, orgs), *plans]
    one = await house.operate("GET", f"{path}/plans/{plans[1]}")
    assert (one.json["basis_points"], one.json["set_by"]) == (5, "operator")
    none = await house.operate("GET", f"{path}/plans/b")
    assert (none.json["basis_points"], "etag" in none.headers) == (None, False)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("offset=1", "offset"),
        ("cursor=A", "cursor"),
        ("cursor=bGFsbA", "cursor"),
        ("cursor=UAA", "cursor"),
        ("cursor=UP8", "cursor"),
        (f"cursor={'A' * 97}", "cursor"),
    ],
)
async def test_a_page_of_markups_that_is_none_is_refused(house: House, query: str, field: str) -> None:
    answer = await house.operate("GET", f"/api/credits/markups?{query}")
    assert (answer.status, answer.field) == (400, field)


async def test_two_administrators_do_not_overwrite_each_other(house: House) -> None:
    assert (await house.operate("POST", PRICING, GPT_4, headers={"if-match": "*"})).status == 412
    first = await house.operate("POST", PRICING, GPT_4)
    seen = {"if-match": first.headers["etag"]}
    second = await house.operate("POST", PRICING, GPT_4 | {"per_message": 31}, headers=seen)
    assert second.status == 201
    late = await house.operate("POST", PRICING, GPT_4 | {"per_message": 32}, headers=seen)
    assert (late.status, late.json["code"]) == (412, "precondition_failed")
    assert (await house.operate("DELETE", f"{PRICING}/openai/gpt-4", headers=seen)).status == 412
    shown = await house.operate("GET", f"{PRICING}/openai/gpt-4")
    assert (shown.json["per_message"], shown.headers["etag"]) == ("31.000000", second.headers["etag"])
    bad = await house.operate("POST", PRICING, GPT_4, headers={"if-match": "17"})
    assert (bad.status, bad.field) == (400, "If-Match")
    markup = await house.operate("PUT", "/api/credits/markups/all", {"basis_points": 1})
    stale = {"if-match": '"1"'}
    assert (await house.operate("PUT", "/api/credits/markups/all", {"basis_points": 2}, headers=stale)).status == 412
    assert (await house.operate("GET", "/api/credits/markups/all")).headers["etag"] == markup.headers["etag"]


async def test_a_change_is_made_once_under_its_key(house: House, owner: asyncpg.Connection) -> None:
    named = {"idempotency-key": "price-1"}
    first = await house.operate("POST", PRICING, GPT_4, headers=named)
    again = await house.operate("POST", PRICING, GPT_4 | {"per_message": 30}, headers=named)
    assert (again.status, again.json, again.headers["etag"]) == (201, first.json, first.headers["etag"])
    assert again.headers["idempotent-replayed"] == "true"
    other = await house.operate("POST", PRICING, GPT_4 | {"per_message": 1}, headers=named)
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")
    assert await owner.fetchval("SELECT count(*) FROM price") == 1
    (entry,) = await owner.fetch(
        "SELECT actor, action, after->>'model' AS model FROM audit_log WHERE object_kind = 'price'"
    )
    assert tuple(entry) == ("operator", "price.set", "gpt-4")


async def test_prices_follow_each_other_and_go_on_after_one_that_ends(house: House) -> None:
    begin = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    end = begin + timedelta(days=1)

    async def at(instant: datetime) -> str:
        answer = await house.operate("GET", f"{PRICING}/openai/gpt-4", params={"at": instant.isoformat()})
        return str(answer.json["per_message"]) if answer.status == 200 else "none"

    await house.operate("POST", PRICING, GPT_4)
    sale = GPT_4 | {"per_message": "20", "effective_from": begin.isoformat(), "effective_until": end.isoformat()}
    made = await house.operate("POST", PRICING, sale)
    assert made.status == 201
    second, hour = timedelta(seconds=1), timedelta(hours=1)
    assert [await at(t) for t in (begin - second, begin, end - second, end)] == [
        "30.000000",
        "20.000000",
        "20.000000",
        "30.000000",
    ]
    await house.operate("POST", PRICING, sale | {"per_message": "21", "effective_until": None})
    assert [await at(t) for t in (begin, end - second, end)] == ["21.000000", "21.000000", "30.000000"]
    ended = await house.operate("DELETE", f"{PRICING}/openai/gpt-4", params={"at": (begin + hour).isoformat()})
    assert (ended.status, ended.json["ended_at"][:19]) == (200, (begin + hour).isoformat()[:19])
    assert [await at(t) for t in (begin, begin + hour, end + hour)] == ["21.000000", "none", "none"]
    assert (await house.operate("DELETE", f"{PRICING}/openai/gpt-4")).status == 200
    assert [await at(begin)] == ["none"]
    assert (await house.operate("DELETE", f"{PRICING}/openai/gpt-4")).status == 404


async def test_no_price_begins_in_the_past(house: House) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for wrong in ({"effective_from": past}, {"effective_until": past}):
        answer = await house.operate("POST", PRICING, GPT_4 | wrong)
        assert (answer.status, answer.field) == (400, "effective_from")
    await house.operate("POST", PRICING, GPT_4)
    assert (await house.operate("DELETE", f"{PRICING}/openai/gpt-4", params={"at": past})).status == 400


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"per_message": "-1"}, "per_message"),
        ({"per_message": "0.0000001"}, "per_message"),
        ({"per_message": "NaN"}, "per_message"),
        ({"per_message": "1e999999"}, "per_message"),
        ({"per_message": True}, "per_message"),
        ({"provider": "a/b"}, "provider"),
        ({"model": ""}, "model"),
        ({"discount": 1}, "discount"),
        ({"per_message": "100001"}, "per_message"),
        ({"input_per_million": "40000000"}, "input_per_million"),
        ({"per_message": "100000", "input_per_million": 33554000, "output_per_million": 33554000}, "input_per_million"),
        (
            {"length_tiers": [{"above_prompt_tokens": 5}, {"above_prompt_tokens": 5}]},
            "length_tiers[1].above_prompt_tokens",
        ),
        ({"volume_tiers": [{"above_month_tokens": 5}]}, "volume_tiers[0].input_per_million"),
        ({"volume_tiers": [{"above_month_tokens": 0, "per_message": 1}]}, "volume_tiers[0].above_month_tokens"),
        ({"volume_tiers": [{"above_month_tokens": 1, "per_message": 1}] * 9}, "volume_tiers"),
        ({"effective_from": "2100-01-01T00:00:00"}, "effective_from"),
    ],
)
async def test_what_is_no_price_is_refused_and_named(house: House, wrong: dict[str, Any], field: str) -> None:
    answer = await house.operate("POST", PRICING, GPT_4 | wrong)
    assert (answer.status, answer.field) == (400, field)
    assert (await house.operate("GET", f"{PRICING}/openai/gpt-4")).status == 404


async def test_a_named_set_is_off_until_it_is_asked_for(house: House) -> None:
    await house.operate("POST", PRICING, GPT_4 | {"per_message": "29"})
    made = await house.operate("POST", f"{PRICING}/initialize", {"set": "chatsparty"})
    assert made.status == 200
    assert (len(made.json["written"]), made.json["kept"]) == (10, ["openai/gpt-4"])
    again = await house.operate("POST", f"{PRICING}/initialize", {"set": "chatsparty"})
    assert (again.json["written"], len(again.json["kept"])) == ([], 11)
    replaced = await house.operate("POST", f"{PRICING}/initialize", {"set": "chatsparty", "replace": True})
    assert len(replaced.json["written"]) == 11
    wrong = await house.operate("POST", f"{PRICING}/initialize", {"set": "no such"})
    assert (wrong.status, wrong.field) == (400, "set")
    told = {}
    for provider, model in (
        ("openai", "gpt-4"),
        ("openai", "gpt-9"),  # the provider's default
        ("anthropic", "claude-3-opus"),
        ("ollama", "whatever"),
    ):
        told[model] = (await cost(house, provider=provider, model=model, input_tokens=1500)).json["cost"]
    assert told == {
        "gpt-4": "30.000000",
        "gpt-9": "10.000000",
        "claude-3-opus": "60.000000",
        "whatever": "1.000000",
    }
    # A model with a price of its own in the map does not cost what the default does.
    assert (await cost(house, provider="openai", model="gpt-5", input_tokens=8)).json["cost_ucr"] == 10
    assert (await house.operate("GET", f"{PRICING}/openai/gpt-9")).json["source"] == "provider_default"


async def test_prices_are_listed_by_pages(house: House) -> None:
    await house.operate("POST", f"{PRICING}/initialize", {"set": "chatsparty"})
    whole = (await house.operate("GET", f"{PRICING}?limit=200")).json
    names = [(price["provider"], price["model"]) for price in whole["data"]]
    assert names == sorted(names)
    assert whole["total"] == len(names) == 14  # `unpriced` has the default now
    pieces = [(await house.operate("GET", f"{PRICING}?limit=5&offset={n}")).json["data"] for n in (0, 5, 10)]
    assert [price for piece in pieces for price in piece] == whole["data"]
    groq = (await house.operate("GET", f"{PRICING}?provider=groq&model=llama-2-70b")).json
    assert [price["model"] for price in groq["data"]] == ["llama-2-70b"]


async def test_only_the_operator_writes_prices(house: House) -> None:
    key = await house.new_key(await house.new_org())
    for method, path, body in (
        ("POST", PRICING, GPT_4),
        ("POST", f"{PRICING}/initialize", {"set": "chatsparty"}),
        ("DELETE", GPT_5, None),
        ("PUT", "/api/credits/markups/all", {"basis_points": 0}),
    ):
        assert (await house.ask(method, path, key=key, json=body)).status == 403


async def test_a_calculation_is_bounded(house: House) -> None:
    wrongs: tuple[tuple[dict[str, Any], str], ...] = (
        ({"input_tokens": 2**27}, "input_tokens"),
        ({"cached_tokens": 1}, "cached_tokens"),
        ({"messages": 10**6 + 1}, "messages"),
        ({"model": "x" * 257}, "model"),
    )
    for wrong, field in wrongs:
        answer = await cost(house, **{"model": "openai/gpt-5", **wrong})
        assert (answer.status, answer.field) == (400, field)
    assert (await cost(house, model="no-such")).status == 404
    await house.operate("POST", PRICING, GPT_4 | {"per_message": "100000"})
    dear = await cost(house, provider="openai", model="gpt-4", messages=10**6)
    assert (dear.status, dear.field) == (400, "messages")
