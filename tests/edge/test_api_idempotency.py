"""`Idempotency-Key` on organisations, keys and users, which are no ledger rows: once, and the same answer again."""

import asyncio
from typing import Any

import pytest

from tests.edge.conftest import House

KEY = {"idempotency-key": "k"}
POLICY = {"payment_order": "pool_first", "time_zone": "UTC"}


async def test_an_organisation_is_made_once(house: House) -> None:
    wish = [house.operate("POST", "/api/orgs", {"name": "Acme"}, headers=KEY) for _ in range(5)]
    answers = await asyncio.gather(*wish)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 4
    assert (await house.operate("GET", "/api/orgs")).json["total"] == 1
    other = await house.operate("POST", "/api/orgs", {"name": "Other"}, headers=KEY)
    assert (other.status, other.json["code"]) == (422, "idempotency_mismatch")


async def test_a_repeated_key_creation_cannot_show_the_key_again(house: House) -> None:
    org = await house.new_org()
    path = f"/api/orgs/{org}/keys"
    answers = await asyncio.gather(*(house.operate("POST", path, {"name": "web"}, headers=KEY) for _ in range(4)))
    assert len({answer.json["id"] for answer in answers}) == 1
    [first] = [answer for answer in answers if "key" in answer.json]
    assert "idempotent-replayed" not in first.headers
    for again in answers:
        if again is not first:
            assert again.headers["idempotent-replayed"] == "true"
            assert again.json == {name: value for name, value in first.json.items() if name != "key"}
    assert (await house.operate("GET", path)).json["total"] == 1
    assert (await house.ask("GET", "/v1/key", key=first.json["key"])).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "other"),
    [
        ("POST", "users", {"external_id": "anna", "name": "Anna"}, {"external_id": "ben", "name": "Ben"}),
        ("PUT", "policy", POLICY, POLICY | {"time_zone": "Europe/Berlin"}),
        ("PUT", "budgets", {"scope": "org", "period": "day", "max": 1}, {"scope": "org", "period": "day", "max": 2}),
        ("PUT", "allocation-rules/member", {"kind": "transfer", "amount": 1}, {"kind": "transfer", "amount": 2}),
        ("POST", "keys", {"name": "a"}, {"name": "b"}),
    ],
)
async def test_the_same_key_with_another_body_is_a_mistake(
    house: House, method: str, path: str, body: dict[str, Any], other: dict[str, Any]
) -> None:
    org = await house.new_org(credits="10")
    full = f"/api/orgs/{org}/{path}"
    first = await house.operate(method, full, body, headers=KEY)
    again = await house.operate(method, full, body, headers=KEY)
    assert (again.status, again.headers.get("idempotent-replayed")) == (first.status, "true")
    mistake = await house.operate(method, full, other, headers=KEY)
    assert (mistake.status, mistake.json["code"]) == (422, "idempotency_mismatch")


async def test_a_late_repetition_does_not_undo_what_came_after(house: House) -> None:
    org = await house.new_org()
    key = await house.new_key(org)
    suspend = f"/api/orgs/{org}/suspend"
    assert (await house.operate("POST", suspend, headers=KEY)).json["status"] == "suspended"
    assert (await house.operate("POST", f"/api/orgs/{org}/resume")).json["status"] == "active"
    again = await house.operate("POST", suspend, headers=KEY)
    assert (again.json["status"], again.headers["idempotent-replayed"]) == ("suspended", "true")
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200


async def test_a_refused_change_leaves_its_key_free(house: House) -> None:
    org = await house.new_org()
    path = f"/api/orgs/{org}/users"
    wish = {"external_id": "anna", "name": "Anna"}
    await house.operate("PUT", f"/api/orgs/{org}/allocation-rules/member", {"kind": "transfer", "amount": 1})
    assert (await house.operate("POST", path, wish, headers=KEY)).status == 402
    await house.operate("DELETE", f"/api/orgs/{org}/allocation-rules/member")
    made = await house.operate("POST", path, wish, headers=KEY)
    assert (made.status, made.headers.get("idempotent-replayed")) == (201, None)
