"""What /api says where it refuses: the field as it was asked for, in words, and what was not done."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.edge.requests import in_words
from tests.edge.conftest import Answer, House

NOBODY = "0198c0de-0000-7000-8000-000000000000"
ADDITION = {"amount": "1", "transaction_type": "PURCHASE", "reason": "MANUAL_ADJUSTMENT"}


async def moved(house: House, org: object, source: object, target: object, amount: str) -> Answer:
    body = {"organization_id": str(org), "from_account_id": str(source), "to_account_id": str(target), "amount": amount}
    return await house.operate("POST", "/api/credits/transfers", body)


async def test_a_transfer_that_cannot_be_made_says_why(house: House) -> None:
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    assert (await moved(house, org, org, org, "1")).field == "to_account_id"
    short = await moved(house, org, anna, org, "1")
    assert (short.status, short.json["limit_source"]) == (402, "user_allocation")
    short = await moved(house, org, org, anna, "11")
    assert (short.status, short.json["limit_source"]) == (402, "org_pool")


async def test_a_suspended_account_is_not_told_as_a_suspended_organisation(house: House) -> None:
    org = await house.new_org(credits="10")
    await house.operate("POST", f"/api/orgs/{org}/accounts/{org}/suspend")
    wish = {"organization_id": str(org), "amount": 1, "reason": "x"}
    refused = await house.operate("POST", "/api/credits/deduct", wish)
    assert refused.json["detail"] == (
        "The account that would pay is suspended, by itself or with its organisation; nothing was deducted."
    )


async def test_a_usage_of_nothing_is_recorded(house: House) -> None:
    org = await house.new_org()
    usage = {"organization_id": str(org), "amount": "0", "operation_id": "op"}
    made = await house.operate("POST", "/api/credits/usage", usage)
    assert (made.status, made.json["cost"]) == (201, "0.000000")
    again = await house.operate("POST", "/api/credits/usage", usage)
    assert (again.json["id"], again.headers["idempotent-replayed"]) == (made.json["id"], "true")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/api/orgs/{NOBODY}/keys", {"name": "k"}),
        ("POST", f"/api/orgs/{NOBODY}/suspend", None),
        ("DELETE", f"/api/orgs/{NOBODY}/keys/{NOBODY}", None),
        ("POST", "/api/orgs/none/suspend", None),
        ("POST", "/api/credits/add", ADDITION | {"organization_id": NOBODY}),
        ("POST", "/api/credits/calculate-cost", {"model": "never-heard-of"}),
    ],
)
async def test_a_refused_change_says_that_nothing_was_changed(
    house: House, method: str, path: str, body: dict[str, Any] | None
) -> None:
    answer = await house.operate(method, path, body)
    assert answer.status == 404
    assert "nothing" in answer.json["detail"].lower()


@pytest.mark.parametrize("path", ["/api/orgs?limit=0", f"/api/orgs/{NOBODY}", "/api/credits/pricing?at=now", "/api/x"])
async def test_where_nothing_was_to_be_changed_nothing_is_said_of_it(house: House, path: str) -> None:
    for answer in (await house.operate("GET", path), await house.ask("GET", path)):
        assert answer.status in (400, 401, 404)
        assert "nothing" not in answer.json["detail"].lower()
        assert answer.json["detail"].endswith(".")


async def test_what_a_header_is_wrong_in_is_named(house: House) -> None:
    org = await house.new_org()
    key = {"idempotency-key": "once"}
    path = f"/api/orgs/{org}/users/{await house.new_user(org)}"
    stale = await house.operate("PATCH", path, {"role": "viewer"}, headers={"if-match": '"stale"'})
    assert (stale.status, stale.field) == (412, "If-Match")
    addition = ADDITION | {"organization_id": str(org)}
    assert (await house.operate("POST", "/api/credits/add", addition, headers=key)).status == 201
    other = await house.operate("POST", "/api/credits/add", addition | {"amount": "2"}, headers=key)
    assert (other.status, other.field) == (422, "Idempotency-Key")
    usage = {"organization_id": str(org), "operation_id": "op"}
    assert (await house.operate("POST", "/api/credits/usage", usage | {"amount": "0"})).status == 201
    other = await house.operate("POST", "/api/credits/usage", usage | {"amount": "0.1"})
    assert (other.status, other.field) == (422, "operation_id")


async def test_what_a_pattern_asks_for_is_said_in_words(house: House) -> None:
    org = await house.new_org()
    users = f"/api/orgs/{org}/users"
    blank = await house.operate("POST", users, {"external_id": "a", "name": "  "})
    assert (blank.status, blank.field) == (400, "name")
    assert "not blank" in blank.json["detail"]
    email = await house.operate("POST", users, {"external_id": "a", "name": "Anna", "email": "anna@"})
    assert "an address such as anna@example.com" in email.json["detail"]
    plan = await house.operate("PUT", "/api/credits/markups/plans/A%20B", {"basis_points": 1})
    assert "small letters, digits" in plan.json["detail"]
    assert "regex" not in blank.json["detail"] + email.json["detail"] + plan.json["detail"]


async def test_every_pattern_of_the_document_has_words(house: House) -> None:
    patterns = set(patterns_in((await house.ask("GET", "/api/openapi.json")).json))
    # Amounts and instants are read by hand, headers by their own.
    read_by_hand = {p for p in patterns if p.startswith(("^[0-9]", "^(19", "^[!-~]+", "^[!-~][ -~]"))}
    for pattern in patterns - read_by_hand:
        told = in_words(f"Expected `str` matching regex {pattern!r}")
        assert "another form" not in told, pattern


def patterns_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from patterns_in(one)


@pytest.mark.parametrize("amount", ["1e3", "1E3", "+1", " 1", "1_000", "-1", "00000000001"])
async def test_an_amount_as_text_is_of_the_form_that_the_document_says(house: House, amount: str) -> None:
    org = str(await house.new_org())
    added = await house.operate("POST", "/api/credits/add", ADDITION | {"organization_id": org, "amount": amount})
    assert (added.status, added.field) == (400, "amount")
    price = {"provider": "openai", "model": "gpt-5", "input_per_million": amount}
    priced = await house.operate("POST", "/api/credits/pricing", price)
    assert (priced.status, priced.field) == (400, "input_per_million")


async def test_ipv4_within_ipv6_is_kept_as_ipv4(house: House) -> None:
    org = await house.new_org()
    wish = {"name": "k", "ip_allow": ["::ffff:127.0.0.1", "::ffff:10.0.0.0/104", "::1"]}
    made = await house.operate("POST", f"/api/orgs/{org}/keys", wish)
    assert made.json["ip_allow"] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]
    assert (await house.ask("GET", "/v1/key", key=made.json["key"])).status == 200
