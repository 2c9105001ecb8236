"""/api/orgs/…: budgets, the policy, allocation rules, users, accounts; two administrators overwrite nothing unseen."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.core.errors import OrgSuspended, UserSuspended
from gateway.identity.key_ring import KeyRing, KeyRingSettings
from gateway.ops.clock import Clock
from tests.edge.conftest import Answer, House
from tests.edge.test_api_spending import key_of_user

DAY = {"scope": "org", "period": "day"}
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def put_budget(house: House, org: UUID, max: object, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.operate("PUT", f"/api/orgs/{org}/budgets", DAY | {"max": max}, headers=named)


# --- budgets --------------------------------------------------------------------------------------------------------


async def test_a_budget_is_made_listed_changed_and_removed(house: House) -> None:
    org = await house.new_org(credits="10")
    made = await put_budget(house, org, 5)
    assert (made.status, made.json["max"], made.json["alert_percents"]) == (200, "5.000000", [80, 100])
    await house.operate("POST", "/api/credits/deduct", {"organization_id": str(org), "amount": 2, "reason": "x"})
    listed = (await house.operate("GET", f"/api/orgs/{org}/budgets")).json
    assert (listed["total"], listed["data"][0]["used"], listed["data"][0]["etag"]) == (
        1,
        "2.000000",
        made.headers["etag"],
    )
    changed = await put_budget(house, org, 7)
    assert (changed.json["id"], changed.json["max"]) == (made.json["id"], "7.000000")
    path = f"/api/orgs/{org}/budgets/{made.json['id']}"
    assert (await house.operate("DELETE", path)).status == 204
    assert (await house.operate("DELETE", path)).status == 404
    assert (await house.operate("GET", f"/api/orgs/{org}/budgets")).json["data"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scope": "org", "period": "year", "max": 1}, "period"),
        ({"scope": "team", "period": "day", "max": 1}, "scope"),
        ({"scope": "user", "period": "day", "max": 1}, "scope_id"),
        ({"scope": "org", "scope_id": "x", "period": "day", "max": 1}, "scope_id"),
        ({"scope": "org", "period": "day"}, "max"),
        ({"scope": "org", "period": "day", "max": -1}, "max"),
        ({"scope": "org", "period": "day", "open_max": 5}, "open_max"),
        ({"scope": "org", "period": "day", "max": 1, "alert_percents": [0]}, "alert_percents[0]"),
        ({"scope": "org", "period": "day", "max": 1, "alert_percents": [1] * 11}, "alert_percents"),
    ],
)
async def test_a_wrong_budget_is_refused_naming_the_field(house: House, body: dict[str, Any], field: str) -> None:
    org = await house.new_org()
    answer = await house.operate("PUT", f"/api/orgs/{org}/budgets", body)
    assert (answer.status, answer.json["errors"][0]["field"].replace("[...]", "[0]")) == (400, field)


@pytest.mark.parametrize("what", ["budget", "policy", "user"])
async def test_of_two_who_change_the_same_thing_one_is_told(house: House, owner: asyncpg.Connection, what: str) -> None:
    """Both wait for the lock with the same tag: only under it is a tag compared."""
    org = await house.new_org()
    anna = await house.new_user(org)
    changes: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
        "budget": ("PUT", f"/api/orgs/{org}/budgets", [DAY | {"max": max} for max in (5, 6, 7)]),
        "policy": (
            "PUT",
            f"/api/orgs/{org}/policy",
            [{"payment_order": "pool_first", "time_zone": f"Etc/GMT+{hours}"} for hours in (1, 2, 3)],
        ),
        "user": (
            "PATCH",
            f"/api/orgs/{org}/users/{anna}",
            [{"role": role} for role in ("viewer", "billing", "member")],
        ),
    }
    method, path, bodies = changes[what]
    tag = (await house.operate(method, path, bodies[0])).headers["etag"]
    async with owner.transaction():
        await owner.execute("SELECT FROM account WHERE org_id = $1 FOR UPDATE", org)
        await owner.execute("SELECT FROM org_user WHERE org_id = $1 FOR UPDATE", org)
        asked = [
            asyncio.ensure_future(house.operate(method, path, body, headers={"if-match": tag})) for body in bodies[1:]
        ]
        async with asyncio.timeout(10):
            while await owner.fetchval(WAITING) < 2:
                await asyncio.sleep(0)
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status for answer in answers) == [200, 412]
    stale = next(answer for answer in answers if answer.status == 412)
    assert (stale.json["code"], "nothing was changed" in stale.json["detail"]) == ("precondition_failed", True)
    kept = next(answer for answer in answers if answer.status == 200)
    assert kept.headers["etag"] != tag


async def test_a_budget_is_removed_by_who_saw_it(house: House) -> None:
    org = await house.new_org()
    tag = (await put_budget(house, org, 5)).headers["etag"]
    kept = await put_budget(house, org, 6, if_match=tag)
    path = f"/api/orgs/{org}/budgets/{kept.json['id']}"
    assert (await house.operate("DELETE", path, headers={"if-match": tag})).status == 412
    assert (await house.operate("DELETE", path, headers={"if-match": kept.headers["etag"]})).status == 204


async def test_an_empty_if_match_is_no_leave_to_overwrite(house: House) -> None:
    org = await house.new_org()
    key = (await house.operate("POST", f"/api/orgs/{org}/keys", {"name": "web"})).json
    for method, path, body in (
        ("PUT", f"/api/orgs/{org}/policy", {"payment_order": "pool_first", "time_zone": "UTC"}),
        ("PUT", f"/api/credits/markups/orgs/{org}", {"basis_points": 5}),
        ("PATCH", f"/api/orgs/{org}/keys/{key['id']}", {"name": "other"}),
    ):
        for tag, status in (("", 400), ("1", 400), ('"another"', 412), ('W/"1"', 412)):
            answer = await house.operate(method, path, body, headers={"if-match": tag})
            assert answer.status == status, (path, tag)


async def test_if_match_knows_the_star_and_several_tags_and_refuses_what_is_no_tag(house: House) -> None:
    org = await house.new_org()
    assert (await put_budget(house, org, 5, if_match="*")).status == 412
    tag = (await put_budget(house, org, 5)).headers["etag"]
    assert (await put_budget(house, org, 6, if_match="*")).status == 200
    assert (await put_budget(house, org, 5, if_match=f'"x", {tag}')).status == 412
    assert (await put_budget(house, org, 5)).headers["etag"] == tag
    assert (await put_budget(house, org, 5, if_match=f'"x", {tag}')).status == 200
    assert (await put_budget(house, org, 6, if_match=f"W/{tag}")).status == 412
    assert (await put_budget(house, org, 6, if_match="5")).field == "If-Match"


async def test_a_repeated_change_is_not_stale(house: House) -> None:
    org = await house.new_org()
    tag = (await put_budget(house, org, 5)).headers["etag"]
    first = await put_budget(house, org, 6, if_match=tag, idempotency_key="k")
    again = await put_budget(house, org, 6, if_match=tag, idempotency_key="k")
    assert (again.status, again.json, again.headers["idempotent-replayed"]) == (200, first.json, "true")
    assert (await put_budget(house, org, 7, if_match=tag, idempotency_key="k")).status == 422


# --- the policy and the rules ---------------------------------------------------------------------------------------


async def test_the_policy_is_chosen_and_its_tag_guards_it(house: House) -> None:
    org = await house.new_org()
    path = f"/api/orgs/{org}/policy"
    first = await house.operate("GET", path)
    assert (first.json["payment_order"], first.json["time_zone"]) == ("allocation_first", "UTC")
    mine = {"payment_order": "pool_first", "time_zone": "Europe/Berlin"}
    tag = {"if-match": first.headers["etag"]}
    changed = await house.operate("PUT", path, mine, headers=tag)
    assert changed.status == 200
    assert changed.json["unsupported_fields"] == "default"
    assert (await house.operate("GET", path)).headers["etag"] == changed.headers["etag"]
    stale = await house.operate("PUT", path, mine | {"payment_order": "allocation_only"}, headers=tag)
    assert stale.status == 412
    assert (await house.operate("GET", path)).json == changed.json
    for wrong, field in (
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"payment_order": "mine_first"}, "payment_order"),
        ({"unsupported_fields": "keep"}, "unsupported_fields"),
    ):
        assert (await house.operate("PUT", path, mine | wrong)).field == field
    assert (await house.operate("PUT", path, mine | {"unsupported_fields": "drop"})).json[
        "unsupported_fields"
    ] == "drop"
    assert (await house.operate("PUT", path, mine)).json["unsupported_fields"] == "drop", "what is absent stays"


async def test_rules_say_what_new_users_begin_with(house: House) -> None:
    org = await house.new_org(credits="10")
    path = f"/api/orgs/{org}/allocation-rules"
    rule = await house.operate("PUT", f"{path}/member", {"kind": "transfer", "amount": 4})
    assert (rule.status, rule.json["amount"], rule.json["period"]) == (200, "4.000000", None)
    anna = await house.new_user(org)
    charged = await house.operate(
        "POST", "/api/credits/deduct", {"organization_id": str(org), "user_id": str(anna), "amount": 4, "reason": "x"}
    )
    assert charged.json["account_id"] == str(anna)
    await house.operate("PUT", f"{path}/member", {"kind": "transfer", "amount": 7})
    refused = await house.operate("POST", f"/api/orgs/{org}/users", {"external_id": "ben", "name": "Ben"})
    assert (refused.status, refused.json["code"]) == (402, "insufficient_credits")
    assert [each["role"] for each in (await house.operate("GET", path)).json["data"]] == ["member"]
    for _ in range(2):
        assert (await house.operate("DELETE", f"{path}/member")).status == 204
    assert (await house.operate("GET", path)).json["data"] == []
    assert (await house.operate("PUT", f"{path}/member", {"kind": "quota", "amount": 1})).field == "period"
    assert (await house.operate("PUT", f"{path}/boss", {"kind": "transfer", "amount": 1})).field == "role"


# --- users and accounts ---------------------------------------------------------------------------------------------


async def test_a_user_is_made_once_found_and_changed_by_who_saw_them(house: House) -> None:
    org, other = await house.new_org(), await house.new_org("Other")
    path = f"/api/orgs/{org}/users"
    wish = {"external_id": "anna", "name": "Anna", "email": "anna@example.org"}
    made = await asyncio.gather(*(house.operate("POST", path, wish) for _ in range(3)))
    assert {(answer.status, answer.json["role"]) for answer in made} == {(201, "member")}
    [id] = {answer.json["id"] for answer in made}
    assert (await house.operate("POST", path, wish | {"name": "Anne"})).status == 409
    assert (await house.operate("GET", f"{path}/{id}")).headers["etag"] == made[0].headers["etag"]
    assert (await house.operate("GET", f"/api/orgs/{other}/users/{id}")).status == 404
    assert (await house.operate("GET", path)).json["total"] == 1
    tag = {"if-match": made[0].headers["etag"]}
    changes = [house.operate("PATCH", f"{path}/{id}", {"role": role}, headers=tag) for role in ("viewer", "billing")]
    assert sorted(answer.status for answer in await asyncio.gather(*changes)) == [200, 412]
    assert (await house.operate("PATCH", f"{path}/{id}", {"role": "boss"})).field == "role"
    assert (await house.operate("POST", path, {"external_id": "b", "name": "B", "email": "b"})).field == "email"


async def test_a_suspended_users_key_is_refused_until_they_are_resumed(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    key = await key_of_user(pool, org, anna)
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200
    suspended = await house.operate("POST", f"/api/orgs/{org}/users/{anna}/suspend")
    assert (suspended.status, suspended.json["status"]) == (200, "suspended")
    assert (await house.ask("GET", "/v1/key", key=key)).status == 403
    assert (await house.operate("POST", f"/api/orgs/{org}/users/{anna}/resume")).json["status"] == "active"
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200


async def test_an_account_is_suspended_resumed_and_closed(house: House) -> None:
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    path = f"/api/orgs/{org}/accounts"
    wish = {"organization_id": str(org), "amount": 1, "reason": "x"}
    await house.operate(
        "POST",
        "/api/credits/transfers",
        {"organization_id": str(org), "from_account_id": str(org), "to_account_id": str(anna), "amount": 4},
    )
    assert (await house.operate("POST", f"{path}/{org}/suspend")).json["balance"] == "6.000000"
    assert (await house.operate("POST", "/api/credits/deduct", wish)).json["code"] == "org_suspended"
    assert (await house.operate("POST", f"{path}/{org}/resume")).status == 200
    assert (await house.operate("POST", "/api/credits/deduct", wish)).status == 201
    assert (await house.operate("POST", f"{path}/{org}/unpark")).status == 200
    assert (await house.operate("POST", f"{path}/{anna}/close", {})).json == {"closed": [str(anna)]}
    assert await house.available_ucr(org) == 9_000_000
    refused = await house.operate("POST", f"{path}/{org}/close", {})
    assert (refused.status, await house.available_ucr(org)) == (409, 9_000_000)
    assert (await house.operate("POST", f"{path}/{org}/close", {"forfeit": True})).status == 200
    assert (await house.operate("POST", f"{path}/{UUID(int=7)}/suspend")).status == 404


async def test_an_organisations_key_may_change_no_limits_users_or_accounts(house: House) -> None:
    org = await house.new_org()
    key = await house.new_key(org)
    for method, path in (
        ("PUT", "budgets"),
        ("DELETE", f"budgets/{org}"),
        ("PUT", "policy"),
        ("PUT", "allocation-rules/member"),
        ("DELETE", "allocation-rules/member"),
        ("POST", "users"),
        ("PATCH", f"users/{org}"),
        ("POST", f"users/{org}/suspend"),
        ("POST", f"accounts/{org}/suspend"),
        ("POST", f"accounts/{org}/close"),
    ):
        answer = await house.ask(method, f"/api/orgs/{org}/{path}", key=key, json={})
        assert (answer.status, answer.json["code"]) == (403, "forbidden"), path


# --- other processes ------------------------------------------------------------------------------------------------


async def test_what_changes_here_is_known_in_every_process(house: House, pool: asyncpg.Pool, dsn: str) -> None:
    """A second key ring that would believe what it knows for an hour hears each change from the database."""
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    key = await key_of_user(pool, org, anna)
    elsewhere = KeyRing(pool, dsn=dsn, clock=Clock(), settings=KeyRingSettings(ttl_s=3600))
    await elsewhere.start()

    async def payers() -> tuple[UUID, ...] | str:
        try:
            return (await elsewhere.caller(key)).payers(model="m")
        except (OrgSuspended, UserSuspended) as error:
            return type(error).__name__

    async def until(expected: tuple[UUID, ...] | str) -> None:
        async with asyncio.timeout(5):
            while await payers() != expected:
                await asyncio.sleep(0)

    try:
        await asyncio.wait_for(elsewhere.listening(), 5)
        assert await payers() == (anna, org)
        policy = {"payment_order": "pool_first", "time_zone": "UTC"}
        await house.operate("PUT", f"/api/orgs/{org}/policy", policy)
        await until((org, anna))
        await house.operate("POST", f"/api/orgs/{org}/users/{anna}/suspend")
        await until("UserSuspended")
        await house.operate("POST", f"/api/orgs/{org}/users/{anna}/resume")
        await until((org, anna))
        await house.operate("POST", f"/api/orgs/{org}/accounts/{anna}/close", {})
        await until((org,))
        made = await house.operate("POST", f"/api/orgs/{org}/accounts", {"name": "m", "models": ["m"]})
        await until((UUID(made.json["id"]), org))
        await house.operate("PATCH", f"/api/orgs/{org}/accounts/{made.json['id']}", {"models": ["other"]})
        await until((org,))
        await house.operate("POST", f"/api/orgs/{org}/suspend")
        await until("OrgSuspended")
    finally:
        await elsewhere.stop()


async def test_a_rule_is_changed_and_dropped_by_who_saw_it(house: House) -> None:
    org = await house.new_org()
    path = f"/api/orgs/{org}/allocation-rules/member"

    def rule(amount: int) -> dict[str, Any]:
        return {"kind": "transfer", "amount": amount}

    assert (await house.operate("PUT", path, rule(1), headers={"if-match": "*"})).status == 412
    first = await house.operate("PUT", path, rule(1))
    [listed] = (await house.operate("GET", f"/api/orgs/{org}/allocation-rules")).json["data"]
    assert listed["etag"] == first.json["etag"] == first.headers["etag"]
    seen = {"if-match": listed["etag"]}
    both = await asyncio.gather(*(house.operate("PUT", path, rule(n), headers=seen) for n in (2, 3)))
    assert sorted(answer.status for answer in both) == [200, 412]
    assert (await house.operate("DELETE", path, headers=seen)).status == 412
    [kept] = (await house.operate("GET", f"/api/orgs/{org}/allocation-rules")).json["data"]
    assert (await house.operate("DELETE", path, headers={"if-match": kept["etag"]})).status == 204
    assert (await house.operate("DELETE", path, headers={"if-match": kept["etag"]})).status == 412


async def test_an_if_match_that_would_not_be_heeded_is_refused(house: House) -> None:
    org = await house.new_org()
    anna = await house.new_user(org)
    tag = {"if-match": "*"}
    for method, path, body in (
        ("GET", f"/api/orgs/{org}/policy", None),
        ("POST", f"/api/orgs/{org}/users/{anna}/suspend", None),
        ("POST", "/api/orgs", {"name": "new"}),
    ):
        answer = await house.operate(method, path, body, headers=tag)
        assert (answer.status, answer.field) == (400, "If-Match"), path
    assert (await house.operate("GET", f"/api/orgs/{org}/users/{anna}")).json["status"] == "active"
    assert (await house.operate("GET", "/api/orgs")).json["total"] == 1
