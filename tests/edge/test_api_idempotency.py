"""`Idempotency-Key`: once, and the same answer again; beside an `operation_id`; and when a person was erased."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.edge.conftest import Answer, House

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


async def use(house: House, org: UUID, amount: int, *, key: str | None, operation: str | None) -> Answer:
    named = {} if operation is None else {"operation_id": operation}
    body = {"organization_id": str(org), "amount": amount, **named}
    return await house.operate("POST", "/api/credits/usage", body, headers={"idempotency-key": key} if key else {})


async def test_a_key_and_an_operation_both_count(house: House) -> None:
    org = await house.new_org(credits="10")
    first = await use(house, org, 2, key="k", operation="op")
    assert (first.status, first.headers.get("idempotent-replayed")) == (201, None)
    for key in ("k", "other", "another", None):
        again = await use(house, org, 2, key=key, operation="op")
        assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true"), key
    mistakes = [
        ("k", "another-op", 2),  # the key was with another operation
        ("other", None, 2),  # and this one remembers what it was told
        ("fresh", "op", 3),  # the operation was with another amount
        (None, "op", 3),
    ]
    for key, operation, amount in mistakes:
        refused = await use(house, org, amount, key=key, operation=operation)
        assert (refused.status, refused.json["code"]) == (422, "idempotency_mismatch"), (key, operation)
        assert refused.headers["content-type"].startswith("application/problem+json")
    assert await house.available_ucr(org) == 8_000_000
    for key, operation in (("fresh", None), (None, "another-op")):  # neither was taken by what was refused
        assert "idempotent-replayed" not in (await use(house, org, 1, key=key, operation=operation)).headers
    assert await house.available_ucr(org) == 6_000_000


async def test_an_operation_that_comes_at_once_under_many_keys_is_done_once(house: House) -> None:
    org = await house.new_org(credits="10")
    answers = await asyncio.gather(*(use(house, org, 2, key=f"k{n % 3}", operation="op") for n in range(9)))
    assert {(answer.status, answer.json["id"]) for answer in answers} == {(201, answers[0].json["id"])}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 8
    assert await house.available_ucr(org) == 8_000_000


async def test_an_erased_person_is_in_no_answer_that_was_kept(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    users, keys = f"/api/orgs/{org}/users", f"/api/orgs/{org}/keys"
    anna = {"external_id": "anna@example.com", "name": "Anna A.", "email": "anna@example.com"}
    ben = {"external_id": "ben", "name": "Ben"}
    sent = {"idempotency-key": "create-anna"}
    made = await house.operate("POST", users, anna, headers=sent)
    id = made.json["id"]
    laptop = {"name": "Anna's laptop", "user_id": id}
    changes: list[tuple[str, str, Any, str]] = [
        ("PATCH", f"{users}/{id}", {"role": "viewer"}, "anna-role"),
        ("POST", f"{users}/{id}/suspend", None, "anna-suspend"),
        ("POST", keys, laptop, "anna-key"),
    ]
    for method, path, body, key in changes:
        assert (await house.operate(method, path, body, headers={"idempotency-key": key})).status < 300
    bens = await house.operate("POST", users, ben, headers={"idempotency-key": "ben"})
    table = "SELECT string_agg(k::text, '') FROM idempotency_key AS k"
    assert "Anna" in await pool.fetchval(table)

    erase = {"idempotency-key": "erase-anna"}
    answers = [await house.operate("POST", f"{users}/{id}/erase", headers=erase) for _ in range(2)]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    assert answers[0].json == answers[1].json
    assert answers[0].json["name"] == "erased"
    assert "anna" not in (await pool.fetchval(table)).lower()
    late = [("POST", users, anna, "create-anna"), ("POST", users, anna | {"name": "B"}, "create-anna"), *changes]
    for method, path, body, key in late:
        refused = await house.operate(method, path, body, headers={"idempotency-key": key})
        assert (refused.status, refused.json["code"]) == (409, "conflict"), path
    assert (await house.operate("GET", users)).json["total"] == 2
    again = await house.operate("POST", users, ben, headers={"idempotency-key": "ben"})
    assert (again.json, again.headers["idempotent-replayed"]) == (bens.json, "true")
