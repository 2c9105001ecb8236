"""/api/credits: deductions, recorded usage, the questions before them: exact, once, by the accounts that may pay."""

import asyncio
import csv
import io
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.identity.keys import Keys
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from tests.edge.conftest import Answer, House

GPT = "openai/gpt-5"
"""1.25 credits for a million tokens of input, 10 for a million of output."""


async def ask(house: House, what: str, org: UUID, **body: Any) -> Answer:
    headers = body.pop("headers", {})
    return await house.operate("POST", f"/api/credits/{what}", {"organization_id": str(org), **body}, headers=headers)


async def key_of_user(pool: asyncpg.Pool, org: UUID, user: UUID) -> str:
    keys = Keys(pool, ids=IdSource(Clock()), forget=lambda _: None)
    return (await keys.create(org, name="hers", user_id=user))[1]


# --- deduct ---------------------------------------------------------------------------------------------------------


async def test_a_feature_is_deducted_by_its_name(house: House) -> None:
    org = await house.new_org(credits="100")
    answer = await ask(house, "deduct", org, feature="simple_ai_insight", quantity=2)
    assert (answer.status, answer.json["cost"], answer.json["balance"]) == (201, "18.000000", "82.000000")
    assert answer.json["account_id"] == str(org)


async def test_an_amount_is_deducted_with_its_reason(house: House) -> None:
    org = await house.new_org(credits="1")
    answer = await ask(house, "deduct", org, amount="0.000001", reason="AI Insight Generation")
    assert (answer.status, answer.json["cost_ucr"], answer.json["available_ucr"]) == (201, 1, 999_999)


async def test_what_is_not_there_is_not_deducted_at_all(house: House) -> None:
    org = await house.new_org(credits="10")
    answer = await ask(house, "deduct", org, amount="10.000001", reason="x")
    assert (answer.status, answer.json["code"]) == (402, "insufficient_credits")
    assert (answer.json["available"], answer.json["required"]) == ("10.000000", "10.000001")
    assert await house.available_ucr(org) == 10_000_000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reason"),
        ({"amount": 1}, "reason"),
        ({"reason": "x"}, "reason"),
        ({"feature": "unheard_of"}, "feature"),
        ({"feature": "simple_ai_insight", "amount": 1}, "feature"),
        ({"feature": "simple_ai_insight", "quantity": 0}, "quantity"),
        ({"feature": "simple_ai_insight", "quantity": 1_000_001}, "quantity"),
        ({"amount": 1, "reason": "x", "quantity": 2}, "quantity"),
        ({"amount": 0, "reason": "x"}, "amount"),
        ({"amount": None, "reason": "x"}, "amount"),
        ({"amount": 1, "reason": "x" * 65}, "reason"),
        ({"amount": 1, "reason": "a\nb"}, "reason"),
        ({"amount": 1, "reason": "x", "user_id": "anna"}, "user_id"),
        ({"amount": 1, "reason": "x", "note": "y"}, "note"),
        ({"amount": 1, "reason": "x", "tags": "a"}, "tags"),
        ({"amount": 1, "reason": "x", "tags": 9 * ["a"]}, "tags"),
        ({"amount": 1, "reason": "x", "tags": ["a", "b,c"]}, "tags[1]"),
        ({"amount": 1, "reason": "x", "tags": ["a\n"]}, "tags"),
    ],
)
async def test_a_wrong_deduction_is_refused_naming_the_field(house: House, body: dict[str, Any], field: str) -> None:
    org = await house.new_org(credits="100")
    answer = await ask(house, "deduct", org, **body)
    assert (answer.status, answer.field) == (400, field)
    assert await house.available_ucr(org) == 100_000_000


async def test_many_at_once_with_one_key_deduct_once(house: House) -> None:
    org = await house.new_org(credits="100")
    asked = [
        ask(house, "deduct", org, amount=n, reason="x", headers={"idempotency-key": "k"})
        for n in ("3", 3, "3.0", 3.0, "3.000", "3", 3, "3")
    ]
    answers = await asyncio.gather(*asked)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 7
    assert await house.available_ucr(org) == 97_000_000
    other = await ask(house, "deduct", org, amount=4, reason="x", headers={"idempotency-key": "k"})
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")


async def test_many_at_once_never_take_more_than_there_is(house: House) -> None:
    org = await house.new_org(credits="10")
    answers = await asyncio.gather(*(ask(house, "deduct", org, amount=3, reason="x") for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [402] * 5
    assert await house.available_ucr(org) == 1_000_000


async def test_a_refused_deduction_leaves_its_key_free(house: House) -> None:
    org = await house.new_org(credits="1")
    wish: dict[str, Any] = {"amount": 5, "reason": "x", "headers": {"idempotency-key": "k"}}
    assert (await ask(house, "deduct", org, **wish)).status == 402
    await ask(house, "add", org, amount=9, transaction_type="BONUS", reason="X")
    again = await ask(house, "deduct", org, **wish)
    assert (again.status, again.json["balance"]) == (201, "5.000000")


async def test_accounts_pay_in_the_order_of_the_policy(house: House) -> None:
    org = await house.new_org(credits="100")
    user = await house.new_user(org)
    await ask(house, "add", org, user_id=str(user), amount=5, transaction_type="BONUS", reason="X")

    async def payer(amount: int) -> str:
        answer = await ask(house, "deduct", org, user_id=str(user), amount=amount, reason="x")
        assert answer.status == 201
        return str(answer.json["account_id"])

    assert await payer(2) == str(user)
    assert await payer(4) == str(org)  # the allocation has 3
    policy = {"payment_order": "pool_first", "time_zone": "UTC"}
    await house.operate("PUT", f"/api/orgs/{org}/policy", policy)
    assert await payer(1) == str(org)
    await house.operate("PUT", f"/api/orgs/{org}/policy", policy | {"payment_order": "allocation_only"})
    assert await payer(1) == str(user)
    refused = await ask(house, "deduct", org, user_id=str(user), amount=4, reason="x")
    assert refused.status == 402


async def test_budgets_count_what_is_deducted(house: House) -> None:
    org = await house.new_org(credits="100")
    budget = {"scope": "feature", "scope_id": "simple_ai_insight", "period": "day", "max": 10}
    assert (await house.operate("PUT", f"/api/orgs/{org}/budgets", budget)).status == 200
    assert (await ask(house, "deduct", org, feature="simple_ai_insight")).status == 201
    answer = await ask(house, "deduct", org, feature="simple_ai_insight")
    assert (answer.status, answer.json["code"], answer.json["limit_source"]) == (
        402,
        "budget_exceeded",
        "feature_budget",
    )
    assert (await ask(house, "deduct", org, feature="ai_generated_report")).status == 201


async def test_another_organisations_user_is_not_found(house: House) -> None:
    org, other = await house.new_org(credits="100"), await house.new_org("Other")
    stranger = await house.new_user(other)
    for what, body in (
        ("deduct", {"amount": 1, "reason": "x"}),
        ("validate", {"amount": 1}),
        ("usage", {"amount": 1}),
        ("reservations", {"amount": 1}),
    ):
        answer = await ask(house, what, org, user_id=str(stranger), **body)
        assert answer.status == 404, what
    assert await house.available_ucr(org) == 100_000_000


async def test_a_key_spends_for_its_own_organisation(house: House) -> None:
    org, other = await house.new_org(credits="100"), await house.new_org("Other", credits="100")
    key = await house.new_key(org)
    body = {"amount": 1, "reason": "x"}
    assert (await house.ask("POST", "/api/credits/deduct", key=key, json=body)).status == 201
    stolen = await house.ask("POST", "/api/credits/deduct", key=key, json=body | {"organization_id": str(other)})
    assert stolen.status == 404
    assert await house.available_ucr(other) == 100_000_000


async def test_a_users_key_acts_for_that_user_alone(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org(credits="100")
    anna, ben = await house.new_user(org, "anna"), await house.new_user(org, "ben")
    key = await key_of_user(pool, org, anna)
    own = await house.ask("POST", "/api/credits/deduct", key=key, json={"amount": 1, "reason": "x"})
    assert (own.status, own.json["user_id"]) == (201, str(anna))
    for what in ("deduct", "usage", "validate", "reservations"):
        body = {"amount": 1, "user_id": str(ben)} | ({"reason": "x"} if what == "deduct" else {})
        answer = await house.ask("POST", f"/api/credits/{what}", key=key, json=body)
        assert (answer.status, answer.json["code"]) == (403, "forbidden"), what
    assert await house.available_ucr(org) == 99_000_000


# --- validate and check ---------------------------------------------------------------------------------------------


async def test_validation_says_what_a_deduction_would_meet_and_changes_nothing(house: House) -> None:
    org = await house.new_org(credits="10")
    yes = await ask(house, "validate", org, amount=10)
    assert (yes.json["has_enough_credits"], yes.json["available"], yes.json["reason"]) == (True, "10.000000", None)
    no = await ask(house, "validate", org, amount="10.000001")
    assert (no.json["has_enough_credits"], no.json["reason"]) == (False, "insufficient_credits")
    assert (no.json["required"], no.json["available"]) == ("10.000001", "10.000000")
    await ask(house, "reservations", org, amount=6)
    held = await ask(house, "validate", org, amount=6)
    assert (held.json["has_enough_credits"], held.json["reason"], held.json["available"]) == (
        False,
        "credits_reserved",
        "4.000000",
    )
    await house.operate("PUT", f"/api/orgs/{org}/budgets", {"scope": "org", "period": "day", "max": 7})
    capped = await ask(house, "validate", org, amount=8)
    assert capped.json["reason"] == "budget_exceeded"
    await house.operate("POST", f"/api/orgs/{org}/accounts/{org}/suspend")
    assert (await ask(house, "validate", org, amount=1)).json["reason"] == "org_suspended"
    balance = await house.ledger.balance(org)
    assert (balance.balance_ucr, balance.held_ucr, balance.open_count) == (10_000_000, 6_000_000, 1)


async def test_a_call_is_validated_at_the_models_prices(house: House) -> None:
    org = await house.new_org(credits="10")
    answer = await ask(
        house, "validate", org, model=GPT, expected_input_tokens=1_000_000, expected_output_tokens=100_000
    )
    assert (answer.json["required"], answer.json["has_enough_credits"]) == ("2.250000", True)


async def test_a_check_with_reserve_holds_what_a_usage_then_settles(house: House) -> None:
    org = await house.new_org(credits="10")
    wish = {"model": GPT, "expected_input_tokens": 1_000_000, "expected_output_tokens": 100_000, "reserve": True}
    first = await ask(house, "check", org, operation_id="op", **wish)
    again = await ask(house, "check", org, operation_id="op", **wish)
    assert (first.json["has_credits"], first.json["available"]) == (True, "7.750000")
    assert again.json["reservation_id"] == first.json["reservation_id"]
    assert (await house.ledger.balance(org)).held_ucr == 2_250_000
    usage = {
        "model": GPT,
        "input_tokens": 800_000,
        "output_tokens": 50_000,
        "reservation_id": first.json["reservation_id"],
        "operation_id": "op",
    }
    answers = await asyncio.gather(*(ask(house, "usage", org, **usage) for _ in range(4)))
    assert {(answer.status, answer.json["cost"]) for answer in answers} == {(201, "1.500000")}
    balance = await house.ledger.balance(org)
    assert (balance.balance_ucr, balance.held_ucr) == (8_500_000, 0)


async def test_a_refused_check_is_an_answer(house: House) -> None:
    org = await house.new_org()
    wish = {"model": GPT, "expected_input_tokens": 1_000, "expected_output_tokens": 100}
    for more in ({}, {"reserve": True}):
        answer = await ask(house, "check", org, **wish, **more)
        assert (answer.status, answer.json["has_credits"], answer.json["reason"]) == (
            200,
            False,
            "insufficient_credits",
        )
        assert answer.json["reservation_id"] is None


async def test_models_that_are_not_served_or_not_priced_are_refused(house: House) -> None:
    org = await house.new_org(credits="10")
    for model, status in (("nobody's", 404), ("unpriced", 400)):
        for what in ("validate", "usage"):
            assert (await ask(house, what, org, model=model)).status == status


# --- usage ----------------------------------------------------------------------------------------------------------


async def test_usage_is_charged_at_the_models_prices_and_told_with_its_tokens(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org(credits="10")
    answer = await ask(
        house, "usage", org, model=GPT, input_tokens=1_000_000, cached_tokens=200_000, output_tokens=1_000
    )
    assert (answer.status, answer.json["cost"]) == (201, "1.035000")  # 800,000 × 1.25 + 200,000 × 0.125 + 1,000 × 10
    row = await pool.fetchrow(
        "SELECT model, prompt_tokens, cached_tokens, output_tokens FROM ledger WHERE id = $1", UUID(answer.json["id"])
    )
    assert row is not None
    assert tuple(row) == (GPT, 1_000_000, 200_000, 1_000)


async def test_usage_is_recorded_once_under_its_operation_id(house: House) -> None:
    org = await house.new_org(credits="10")
    answers = await asyncio.gather(*(ask(house, "usage", org, amount=2, operation_id="op") for _ in range(4)))
    assert len({answer.json["id"] for answer in answers}) == 1
    assert await house.available_ucr(org) == 8_000_000
    other = await ask(house, "usage", org, amount=3, operation_id="op")
    assert other.status == 422


async def test_usage_beyond_its_reservation_is_charged_too(house: House) -> None:
    org = await house.new_org(credits="10")
    held = (await ask(house, "reservations", org, amount=2)).json["id"]
    answer = await ask(house, "usage", org, amount=12, reservation_id=held)
    assert (answer.status, answer.json["cost"], answer.json["overage"]) == (201, "12.000000", "2.000000")
    assert (answer.json["balance"], answer.json["receivable"]) == ("0.000000", "2.000000")


async def test_what_is_tagged_is_found_by_each_tag_and_exported_with_them(house: House) -> None:
    org = await house.new_org(credits="10")
    held = (await ask(house, "reservations", org, amount=2)).json["id"]
    settled = await ask(house, f"reservations/{held}/settle", org, amount=1, tags=["settled", "web", "settled"])
    made = {
        held: ["settled", "web"],
        (await ask(house, "usage", org, amount=1, tags=["=web", "used"])).json["id"]: ["=web", "used"],
        (await ask(house, "usage", org, model=GPT, output_tokens=9, tags=["web"])).json["id"]: ["web"],
        (await ask(house, "deduct", org, amount=1, reason="x", tags=["deducted"])).json["id"]: ["deducted"],
        (await ask(house, "deduct", org, amount=1, reason="x", tags=[])).json["id"]: None,
    }
    assert settled.status == 200
    listed = f"/api/credits/transactions?organization_id={org}&type=USAGE"
    rows = (await house.operate("GET", listed)).json["data"]
    assert {row["id"]: row["tags"] for row in rows} == made
    for tag in ("settled", "web", "=web", "deducted", "none"):
        found = (await house.operate("GET", f"{listed}&tag={tag.replace('=', '%3D')}")).json["data"]
        assert {row["id"] for row in found} == {id for id, tags in made.items() if tag in (tags or ())}
    exported = await house.operate("GET", f"/api/credits/export?organization_id={org}&type=USAGE")
    lines = csv.DictReader(io.StringIO(exported.body.decode(), newline=""))
    assert [line["tags"] for line in lines] == ["settled, web", "'=web, used", "web", "deducted", ""]


async def test_other_tags_under_the_same_key_are_another_request(house: House) -> None:
    org = await house.new_org(credits="10")
    for tags, status in ((["a"], 201), (["a"], 201), (["b"], 422)):
        answer = await ask(house, "usage", org, amount=2, operation_id="op", tags=tags)
        assert answer.status == status
    assert await house.available_ucr(org) == 8_000_000


async def test_cached_tokens_are_a_part_of_the_input(house: House) -> None:
    org = await house.new_org(credits="10")
    answer = await ask(house, "usage", org, model=GPT, input_tokens=10, cached_tokens=6, cache_write_tokens=5)
    assert (answer.status, answer.field) == (400, "input_tokens")


async def test_an_amount_stands_for_itself_without_tokens(house: House) -> None:
    """What would be ignored is refused: who sends both means something by it."""
    org = await house.new_org(credits="10")
    held = (await house.operate("POST", "/api/credits/reservations", {"organization_id": str(org), "amount": 1})).json
    for path, field in (
        ("usage", "input_tokens"),
        ("usage", "output_tokens"),
        (f"reservations/{held['id']}/settle", "cached_tokens"),
        (f"reservations/{held['id']}/settle", "cache_write_tokens"),
        ("validate", "expected_input_tokens"),
        ("reservations", "expected_output_tokens"),
    ):
        wish = {"organization_id": str(org), "amount": 1, field: 1}
        answer = await house.operate("POST", f"/api/credits/{path}", wish)
        assert (answer.status, answer.field) == (400, field), path
        if not path.endswith("settle"):
            wish[field] = 0
            assert (await house.operate("POST", f"/api/credits/{path}", wish)).status in (200, 201)
    assert (await house.ledger.balance(org)).held_ucr == 2_000_000


async def test_a_key_uses_its_own_models_alone(house: House) -> None:
    org = await house.new_org(credits="100")
    key = await house.new_key(org, models=["long"])
    tokens = {"input_tokens": 1, "output_tokens": 1}
    expected = {"expected_input_tokens": 1, "expected_output_tokens": 1}
    for path, body in (
        ("usage", tokens | {"usage_type": "CHAT"}),
        ("reservations", expected),
        ("check", expected),
        ("validate", expected),
    ):
        answers = [
            await house.ask("POST", f"/api/credits/{path}", key=key, json={"model": model, **body})
            for model in ("openai/gpt-5", "long")
        ]
        assert (answers[0].status, answers[0].json["code"]) == (404, "model_not_found"), path
        assert answers[1].status in (200, 201), (path, answers[1].body)
    held = await house.ask("POST", "/api/credits/reservations", key=key, json={"amount": 1})
    settle = f"/api/credits/reservations/{held.json['id']}/settle"
    refused = await house.ask("POST", settle, key=key, json={"model": "openai/gpt-5", **tokens})
    assert (refused.status, refused.json["code"]) == (404, "model_not_found")
