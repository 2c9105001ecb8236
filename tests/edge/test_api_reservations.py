"""/api/credits/reservations: held, found, extended, ended once; and nobody ends what another holds."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg

from tests.edge.conftest import Answer, House
from tests.edge.test_api_spending import GPT, key_of_user

PATH = "/api/credits/reservations"


async def hold(house: House, org: UUID, amount: object = 5, **more: Any) -> Answer:
    headers = more.pop("headers", {})
    return await house.operate("POST", PATH, {"organization_id": str(org), "amount": amount, **more}, headers=headers)


async def do(house: House, org: UUID, id: str, what: str, **body: Any) -> Answer:
    if what == "release":
        return await house.operate("POST", f"{PATH}/{id}/release?organization_id={org}")
    return await house.operate("POST", f"{PATH}/{id}/{what}", {"organization_id": str(org), **body})


async def test_one_is_held_found_listed_and_settled_once(house: House) -> None:
    org = await house.new_org(credits="10")
    made = await hold(house, org, 5, expires_in_s=60)
    assert (made.status, made.json["held"], made.json["account_id"]) == (201, "5.000000", str(org))
    id = made.json["id"]
    assert (await house.operate("GET", f"{PATH}/{id}?organization_id={org}")).json == made.json
    assert (await house.operate("GET", f"{PATH}?organization_id={org}")).json == {
        "data": [made.json],
        "limit": 50,
        "next_cursor": None,
    }
    answers = await asyncio.gather(*(do(house, org, id, "settle", amount=3) for _ in range(4)))
    assert {(answer.status, answer.json["cost"]) for answer in answers} == {(200, "3.000000")}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
    balance = await house.ledger.balance(org)
    assert (balance.balance_ucr, balance.held_ucr) == (7_000_000, 0)
    assert (await do(house, org, id, "settle", amount=4)).status == 409
    assert (await do(house, org, id, "release")).status == 409
    assert (await house.operate("GET", f"{PATH}/{id}?organization_id={org}")).status == 404


async def test_one_is_released_without_a_cost(house: House) -> None:
    org = await house.new_org(credits="10")
    id = (await hold(house, org)).json["id"]
    for _ in range(2):
        answer = await do(house, org, id, "release")
        assert (answer.status, answer.json["cost_ucr"], answer.json["available"]) == (200, 0, "10.000000")


async def test_one_is_extended_and_keeps_what_it_has_where_more_is_refused(house: House) -> None:
    org = await house.new_org(credits="10")
    id = (await hold(house, org)).json["id"]
    more = await do(house, org, id, "extend", amount=8, spent="6.5", expires_in_s=120)
    assert (more.status, more.json["held"], more.json["available"]) == (200, "8.000000", "2.000000")
    refused = await do(house, org, id, "extend", amount=11)
    assert (refused.status, refused.json["code"]) == (402, "insufficient_credits")
    found = (await house.operate("GET", f"{PATH}/{id}?organization_id={org}")).json
    assert (found["held"], found["spent"]) == ("8.000000", "6.500000")


async def test_a_page_goes_on_where_the_one_before_ended(house: House) -> None:
    org = await house.new_org(credits="10")
    ids = [(await hold(house, org, 1)).json["id"] for _ in range(3)]
    first = (await house.operate("GET", f"{PATH}?organization_id={org}&limit=2")).json
    assert ([each["id"] for each in first["data"]], first["limit"]) == (ids[:2], 2)
    rest = (await house.operate("GET", f"{PATH}?organization_id={org}&limit=2&cursor={first['next_cursor']}")).json
    assert ([each["id"] for each in rest["data"]], rest["next_cursor"]) == (ids[2:], None)
    log = (await house.operate("GET", f"/api/audit-log?organization_id={org}&limit=1")).json["next_cursor"]
    for foreign in (log, ids[0], "x"):
        refused = await house.operate("GET", f"{PATH}?organization_id={org}&cursor={foreign}")
        assert (refused.status, refused.field) == (400, "cursor")


async def test_what_does_not_fit_is_not_held(house: House) -> None:
    org = await house.new_org(credits="10")
    assert (await hold(house, org, 11)).json["code"] == "insufficient_credits"
    await hold(house, org, 6)
    busy = await hold(house, org, 6)
    assert (busy.status, busy.json["code"], busy.headers["x-should-retry"]) == (402, "credits_reserved", "true")
    assert (await hold(house, org, 1, expires_in_s=86_401)).field == "expires_in_s"
    assert (await hold(house, org, 1, model="openai/gpt-5")).field == "amount"
    assert (await house.ledger.balance(org)).held_ucr == 6_000_000


async def test_many_at_once_with_one_key_hold_once(house: House) -> None:
    org = await house.new_org(credits="10")
    key = {"idempotency-key": "k"}
    answers = await asyncio.gather(*(hold(house, org, 2, headers=key) for _ in range(6)))
    assert len({answer.json["id"] for answer in answers}) == 1
    assert (await house.ledger.balance(org)).held_ucr == 2_000_000
    assert (await hold(house, org, 3, headers=key)).status == 422


async def test_nobody_sees_or_ends_what_another_holds(house: House, pool: asyncpg.Pool) -> None:
    org, other = await house.new_org(credits="10"), await house.new_org("Other")
    anna, ben = await house.new_user(org, "anna"), await house.new_user(org, "ben")
    annas, bens = await key_of_user(pool, org, anna), await key_of_user(pool, org, ben)
    ours, theirs = await house.new_key(org), await house.new_key(other)
    made = await house.ask("POST", PATH, key=annas, json={"amount": 2})
    assert (made.status, made.json["user_id"]) == (201, str(anna))
    id = made.json["id"]
    for key in (bens, ours, theirs):
        assert (await house.ask("GET", f"{PATH}/{id}", key=key)).status == 404
        assert (await house.ask("GET", PATH, key=key)).json["data"] == []
        for what, body in (("settle", {"amount": 1}), ("extend", {"amount": 1}), ("release", None)):
            answer = await house.ask("POST", f"{PATH}/{id}/{what}", key=key, json=body)
            assert answer.status == 404, what
    assert (await house.ledger.balance(org)).held_ucr == 2_000_000
    assert (await house.ask("POST", f"{PATH}/{id}/settle", key=annas, json={"amount": 1})).status == 200


async def test_every_change_of_one_is_in_the_audit_log_once(house: House) -> None:
    org = await house.new_org(credits="10")
    sent = {"idempotency-key": "k", "x-tollgate-reason": "the nightly run"}
    [made, again] = [await hold(house, org, 2, headers=sent) for _ in range(2)]
    id = made.json["id"]
    assert again.json["id"] == id
    for what, body in (("extend", {"amount": 3}), ("settle", {"amount": 1})):
        for _ in range(2):
            whole = {"organization_id": str(org), **body}
            answer = await house.operate("POST", f"{PATH}/{id}/{what}", whole, headers={"idempotency-key": what})
            assert answer.status == 200
    checked = {
        "organization_id": str(org),
        "model": GPT,
        "expected_input_tokens": 9,
        "expected_output_tokens": 9,
        "reserve": True,
        "operation_id": "op",
    }
    held = (await hold(house, org, 2)).json["id"]
    usage = {"organization_id": str(org), "amount": 1, "operation_id": "op", "reservation_id": held}
    for _ in range(2):
        items = [
            {"operation": "check", "body": checked},
            {"operation": "validate", "body": {"organization_id": str(org), "amount": 1}},
            {"operation": "usage", "body": usage},
        ]
        batch = await house.operate("POST", "/api/credits/batch", {"items": items})
        assert batch.json["failed"] == 0, batch.body
    entries = (await house.operate("GET", f"/api/audit-log?organization_id={org}&object_kind=reservation")).json["data"]
    assert [entry["action"] for entry in reversed(entries)] == [
        "reservation.created",
        "reservation.extended",
        "reservation.settled",
        "reservation.created",
        "reservation.created",
        "reservation.settled",
    ]
    first = entries[-1]
    assert (first["actor"], first["object_id"], first["reason"]) == ("operator", id, "the nightly run")
    assert (first["address"], first["request_id"]) == ("127.0.0.1", made.headers["x-request-id"])
    assert (first["before"], first["after"]["held_ucr"]) == (None, 2_000_000)
