"""/api/audit-log, and what is stored of a person: read, handed out, erased."""

import asyncio
import uuid
from typing import Any
from uuid import UUID

import asyncpg

from gateway.core.origin import Origin
from gateway.ledger.audit_log import AuditLog, verify
from tests.edge.conftest import House, instant
from tests.edge.test_api_credits import add

BY = Origin(actor="anna", address="192.0.2.7")


async def new_user(pool: asyncpg.Pool, org: UUID, external_id: str = "anna@example.com") -> UUID:
    user = uuid.uuid4()
    status = await pool.fetchval(
        "SELECT status FROM create_user($1, $2, $3, 'Anna A.', 'anna@example.com', 'member', $4)",
        org,
        user,
        external_id,
        BY.row(),
    )
    assert status == "ok"
    return user


async def key_of(house: House, org: UUID, user: UUID, pool: asyncpg.Pool) -> str:
    key = await house.new_key(org, name="Anna's laptop")
    await pool.execute("UPDATE api_key SET user_id = $2 WHERE org_id = $1", org, user)
    return key


async def log(house: House, org: UUID, query: str = "") -> Any:
    answer = await house.operate("GET", f"/api/audit-log?organization_id={org}{query}")
    assert answer.status == 200, answer.body
    return answer.json


async def test_the_audit_log_says_who_did_what_and_why(house: House) -> None:
    org = await house.new_org()
    added = await add(house, org, "2", headers={"x-tollgate-reason": "invoice 17"})
    newest, oldest = (await log(house, org))["data"]
    assert instant(newest.pop("at"))
    after = newest.pop("after")
    assert (after["amount_ucr"], after["kind"]) == (2_000_000, "prepaid")
    assert newest.pop("id")
    assert newest == {
        "actor": "operator",
        "address": "127.0.0.1",
        "action": "credits.granted",
        "object_kind": "grant",
        "object_id": added.json["id"],
        "before": None,
        "reason": "invoice 17",
        "request_id": added.headers["x-request-id"],
    }
    assert (oldest["action"], oldest["object_id"]) == ("org.created", str(org))


async def test_the_audit_log_is_narrowed_and_walked(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    grants = [(await add(house, org, n)).json["id"] for n in range(1, 4)]
    await pool.execute(
        "SELECT write_audit_log($1, $2, 'key.revoked', 'key', $3, NULL, NULL)", org, BY.row(), uuid.UUID(int=9)
    )

    async def found(query: str) -> list[str]:
        return [entry["action"] for entry in (await log(house, org, query))["data"]]

    assert (
        await found("&actor=anna")
        == await found("&object_kind=key")
        == await found("&action=key.revoked")
        == ["key.revoked"]
    )
    assert await found(f"&object={grants[0]}") == ["credits.granted"]
    assert await found(f"&object={grants[0]}&actor=anna") == []
    assert await found("&to=2020-01-01T00:00:00Z") == []
    assert len(await found("&from=2020-01-01T00:00:00Z")) == 5
    walked: list[str] = []
    page = await log(house, org, "&limit=2")
    while True:
        walked += [entry["id"] for entry in page["data"]]
        if page["next_cursor"] is None:
            break
        await add(house, org, 1)  # comes before the first page, and moves no other
        page = await log(house, org, f"&limit=2&cursor={page['next_cursor']}")
    assert len(walked) == len(set(walked)) == 5


async def test_a_person_is_handed_out_whole(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    user = await new_user(pool, org)
    await key_of(house, org, user, pool)
    for scope_id in (str(user), str(uuid.uuid4())):
        await pool.execute(
            "INSERT INTO budget (org_id, budget_id, scope, scope_id, period, max_ucr)"
            " VALUES ($1, gen_random_uuid(), 'user', $2, 'month', 5000000)",
            org,
            scope_id,
        )
    answer = await house.operate("GET", f"/api/orgs/{org}/users/{user}/personal-data")
    assert answer.status == 200
    data = answer.json
    assert (data["user"]["name"], data["user"]["email"]) == ("Anna A.", "anna@example.com")
    assert (data["user"]["external_id"], data["user"]["erased_at"]) == ("anna@example.com", None)
    assert [key["name"] for key in data["keys"]] == ["Anna's laptop"]
    assert data["allocation"]["balance_ucr"] == 0
    assert [(budget["period"], budget["max"]) for budget in data["budgets"]] == [("month", "5.000000")]
    assert data["reservations"] == []
    assert [entry["action"] for entry in data["audit_log"]] == ["user.created"]
    assert (await house.operate("GET", data["transactions"])).status == 200


async def test_an_erased_person_is_nobody_and_the_amounts_stay(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    user = await new_user(pool, org)
    key = await key_of(house, org, user, pool)
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200
    [stored] = (await house.operate("GET", f"/api/orgs/{org}/keys")).json["data"]
    path = f"/api/orgs/{org}/keys/{stored['id']}"
    seen = (await house.operate("GET", path)).headers["etag"]
    answer = await house.operate("POST", f"/api/orgs/{org}/users/{user}/erase")
    assert (await house.operate("GET", path)).headers["etag"] != seen
    assert answer.status == 200
    erased = answer.json
    assert instant(erased["erased_at"])
    assert (erased["id"], erased["name"], erased["email"]) == (str(user), "erased", None)
    assert (erased["external_id"], erased["status"]) == (f"erased:{user}", "suspended")
    assert (await house.ask("GET", "/v1/key", key=key)).status == 401
    left = (await house.operate("GET", f"/api/orgs/{org}/users/{user}/personal-data")).json
    assert [(one["name"], one["revoked_at"] is None) for one in left["keys"]] == [("erased", False)]
    assert left["allocation"] is not None
    actions = [entry["action"] for entry in (await log(house, org))["data"]]
    assert actions[:2] == ["user.erased", "key.revoked"]
    entry = (await log(house, org, "&action=user.erased"))["data"][0]
    assert (entry["object_id"], entry["before"], entry["after"]) == (str(user), None, {"keys": 1})
    assert await pool.fetchval("SELECT count(*) FROM org_user WHERE external_id = 'anna@example.com'") == 0
    assert await new_user(pool, org) != user  # the external id is free again


async def test_erasing_again_or_at_the_same_time_changes_nothing_more(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    user = await new_user(pool, org)
    path = f"/api/orgs/{org}/users/{user}/erase"
    answers = await asyncio.gather(*(house.operate("POST", path) for _ in range(4)))
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert (await house.operate("POST", path)).body == answers[0].body
    assert len((await log(house, org, "&action=user.erased"))["data"]) == 1


async def test_another_organisations_person_is_not_found(house: House, pool: asyncpg.Pool) -> None:
    org, other = await house.new_org(), await house.new_org()
    user = await new_user(pool, org)
    for method, what in (("GET", "personal-data"), ("POST", "erase")):
        for whose in (other, uuid.uuid4()):
            assert (await house.operate(method, f"/api/orgs/{whose}/users/{user}/{what}")).status == 404
        assert (await house.operate(method, f"/api/orgs/{org}/users/{uuid.uuid4()}/{what}")).status == 404
        key = await house.new_key(org)
        assert (await house.ask(method, f"/api/orgs/{org}/users/{user}/{what}", key=key)).status == 403
    assert await pool.fetchval("SELECT name FROM org_user WHERE user_id = $1", user) == "Anna A."


async def test_the_chain_holds_over_what_the_api_does(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org(credits="1")
    await house.operate("POST", f"/api/orgs/{org}/users/{await new_user(pool, org)}/erase")
    await AuditLog(pool).chain()
    proof = await verify(pool)
    assert (proof.tampering, proof.waiting) == (None, 0)
    assert proof.end.position >= 4
