"""/api/audit-log, and what is stored of a person: read, handed out, erased."""

import asyncio
import uuid
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.origin import Origin
from gateway.ledger.audit_log import AuditLog, verify
from gateway.ledger.owned import OwnedWish, Owner
from tests.edge.conftest import House, instant
from tests.edge.test_api_credits import add
from tests.edge.test_api_pricing import GPT_4, PRICING
from tests.fakes.issuer import by_secret

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


async def open_job(house: House, org: UUID, user: UUID, n: int) -> UUID:
    id = house.api.ids.next()
    await house.ledger.jobs.open(org, id, kind=f"job {n}", life_s=3_600, opened_for=user)
    return id


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
    made = await house.new_key(org, name="Anna's laptop", user_id=str(user), ip_allow=["198.51.100.7"])
    [key] = (await house.operate("GET", f"/api/orgs/{org}/keys")).json["data"]
    for scope, scope_id in (("user", str(user)), ("user", str(uuid.uuid4())), ("key", key["id"])):
        limit = {"scope": scope, "scope_id": scope_id, "period": "month", "max": 5}
        assert (await house.operate("PUT", f"/api/orgs/{org}/budgets", limit)).status == 200
    await pool.execute(
        "SELECT write_audit_log($1, $2, 'job.opened', 'job', $1, NULL, NULL)",
        org,
        Origin(actor=f"key:{key['id']}").row(),
    )
    jobs = [await open_job(house, org, user, n) for n in range(2)]
    await house.ledger.jobs.end(org, jobs[0])
    answer = await house.operate("GET", f"/api/orgs/{org}/users/{user}/personal-data")
    assert answer.status == 200
    data = answer.json
    assert (data["user"]["name"], data["user"]["email"]) == ("Anna A.", "anna@example.com")
    assert (data["user"]["external_id"], data["user"]["erased_at"]) == ("anna@example.com", None)
    [shown] = data["keys"]
    assert (shown["name"], shown["last_four"], shown["ip_allow"]) == ("Anna's laptop", made[-4:], ["198.51.100.7/32"])
    assert [(UUID(job["id"]), job["ended_at"] is None) for job in data["jobs"]] == [(jobs[1], True), (jobs[0], False)]
    assert data["allocation"]["balance_ucr"] == 0
    assert [(budget["period"], budget["max"]) for budget in data["budgets"]] == [("month", "5.000000")]
    assert data["reservations"] == []
    assert [entry["action"] for entry in data["audit_log"]] == [
        "job.opened",
        "budget.set",
        "budget.set",
        "key.created",
        "user.created",
    ]
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


async def test_no_entry_tells_who_an_erased_person_was(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    wish = {"external_id": "ann-x7", "name": "Ann X.", "email": "ann@example.com"}
    user = (await house.operate("POST", f"/api/orgs/{org}/users", wish)).json["id"]
    keys = f"/api/orgs/{org}/keys"
    named = {"name": "Ann's phone", "ip_allow": ["198.51.100.7"]}
    key = (await house.operate("POST", keys, named | {"user_id": user})).json
    await house.operate("PATCH", f"{keys}/{key['id']}", {"name": "Ann's tablet", "ip_allow": ["198.51.100.8"]})
    [changed] = (await log(house, org, "&action=key.changed"))["data"]
    assert (changed["after"]["name_changed"], changed["after"]["ip_allow_changed"]) == (True, True)
    assert (await house.operate("POST", keys, named)).status == 201  # nobody's, whose name stays in the log
    theirs = [UUID(user), UUID(key["id"])]
    told = str(await pool.fetch("SELECT before::text, after::text FROM audit_log WHERE object_id = ANY($1)", theirs))
    assert not [word for word in ("ann-x7", "Ann", "ann@example.com", "198.51.100") if word in told]
    # Entries of an earlier version did tell.
    for kind, id in (("user", user), ("key", key["id"])):
        await pool.execute(
            "SELECT write_audit_log($1, $2, $3, $4, $5, NULL, $6)",
            org,
            BY.row(),
            f"{kind}.created",
            kind,
            UUID(id),
            msgspec.json.encode(wish | named | {"role": "member"}).decode(),
        )
    assert len((await log(house, org, "&action=user.created"))["data"][0]["after"]["external_id"]) == 6
    await house.operate("POST", f"/api/orgs/{org}/users/{user}/erase")
    entries = (await log(house, org))["data"]
    assert next(one for one in entries if one["action"] == "user.created")["after"] == {
        **dict.fromkeys(("external_id", "name", "email", "ip_allow"), "erased"),
        "role": "member",
    }
    handed_out = (await house.operate("GET", f"/api/orgs/{org}/users/{user}/personal-data")).body.decode()
    for text in (handed_out, str([one for one in entries if one["object_id"] in (user, key["id"])])):
        assert not [word for word in ("ann-x7", "Ann", "ann@example.com", "198.51.100") if word in text]
    assert "Ann's phone" in str(entries)


async def test_the_names_of_the_erased_are_theirs_alone(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    users = f"/api/orgs/{org}/users"
    anna, bert = await new_user(pool, org), await new_user(pool, org, "bert")
    wish = {"external_id": f"erased:{anna}", "name": "Not erased"}
    refused = await house.operate("POST", users, wish)
    assert (refused.status, refused.field) == (400, "external_id")
    # Of a time when the name was free.
    await pool.execute("UPDATE org_user SET external_id = $1 WHERE user_id = $2", wish["external_id"], bert)
    erased = await house.operate("POST", f"{users}/{anna}/erase")
    assert erased.status == 200
    assert erased.json["external_id"].startswith(f"erased:{anna}:")
    assert (await house.operate("GET", f"{users}/{bert}")).json["external_id"] == wish["external_id"]


async def test_nobody_is_an_erased_person_again(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    user = await new_user(pool, org)
    users = f"/api/orgs/{org}/users"
    await house.operate("POST", f"{users}/{user}/erase")
    for method, path, body in (
        ("POST", f"{users}/{user}/resume", None),
        ("POST", f"{users}/{user}/suspend", None),
        ("PATCH", f"{users}/{user}", {"role": "org_admin"}),
        ("POST", f"/api/orgs/{org}/keys", {"name": "theirs", "user_id": str(user)}),
    ):
        answer = await house.operate(method, path, body)
        assert (answer.status, answer.json["code"]) == (409, "conflict"), path
        assert "erased" in answer.json["detail"]
    assert (await house.operate("GET", f"{users}/{user}")).json["status"] == "suspended"
    await pool.execute("UPDATE org_user SET status = 'active' WHERE user_id = $1", user)
    for subject in (str(user), f"erased:{user}", "erased:somebody"):
        answer = await house.ask(
            "GET", "/api/credits/balance", key=by_secret(org=org, sub=subject, roles=["org_admin"])
        )
        assert (answer.status, answer.json["code"]) == (401, "invalid_token"), subject


async def test_erasing_ends_the_quota_and_the_jobs(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org(credits="10")
    rules = f"/api/orgs/{org}/allocation-rules/member"
    await house.operate("PUT", rules, {"kind": "quota", "amount": 5, "period": "month"})
    user, other = await house.new_user(org), await house.new_user(org, "bert")
    jobs = [await open_job(house, org, whose, n) for n, whose in enumerate((user, user, other))]
    held = OwnedWish(id=house.api.ids.next(), account_ids=(org,), amount_ucr=2_000_000)
    await house.ledger.owned.reserve(Owner.job(org, jobs[0]), [held], by=BY)
    assert (await house.ledger.balance(org)).held_ucr == 2_000_000
    for _ in range(2):
        assert (await house.operate("POST", f"/api/orgs/{org}/users/{user}/erase")).status == 200
    assert (await house.ledger.balance(org)).held_ucr == 0
    ended = await pool.fetch("SELECT id FROM job WHERE ended_at IS NOT NULL")
    assert {row["id"] for row in ended} == set(jobs[:2])
    live = await pool.fetch("SELECT account_id FROM subscription WHERE ended_at IS NULL")
    assert [row["account_id"] for row in live] == [other]
    account = await house.ledger.account(org, user)
    assert account is not None
    assert account.balance_ucr == 0
    actions = [entry["action"] for entry in (await log(house, org))["data"]]
    assert (actions.count("subscription.cancelled"), actions.count("job.ended")) == (1, 2)


async def test_markups_are_in_nobodys_audit_log_but_the_operators(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    for place in (f"orgs/{org}", "plans/growth", "all"):
        assert (await house.operate("PUT", f"/api/credits/markups/{place}", {"basis_points": 1_500})).status == 200
    # Of an earlier version, which wrote them under the organisation.
    older = '{"scope": "org", "basis_points": 700}'
    await pool.execute("SELECT write_audit_log($1, $2, 'markup.set', 'markup', $1, NULL, $3)", org, BY.row(), older)
    for role in ("org_admin", "billing"):
        token = by_secret(org=org, sub=str(await house.new_user(org, role)), roles=[role])
        for query in ("", "?object_kind=markup", f"?object={org}", "?actor=operator"):
            answer = await house.ask("GET", f"/api/audit-log{query}", key=token)
            assert (answer.status, b"basis_points" in answer.body) == (200, False), query
            assert b"markup" not in answer.body
    assert [one["after"]["basis_points"] for one in (await log(house, org, "&object_kind=markup"))["data"]] == [700]
    [entry] = (await house.operate("GET", f"/api/audit-log?object={org}")).json["data"]
    assert (entry["object_kind"], entry["after"]["basis_points"]) == ("markup", 1_500)


async def test_the_operator_reads_what_was_changed_of_the_gateway(house: House) -> None:
    org = await house.new_org()
    assert (await house.operate("POST", PRICING, GPT_4)).status == 201
    for place in ("plans/growth", "all"):
        await house.operate("PUT", f"/api/credits/markups/{place}", {"basis_points": 1_500})
    first = (await house.operate("GET", "/api/audit-log?limit=2")).json
    assert [one["after"]["scope"] for one in first["data"]] == ["all", "plan"]
    rest = (await house.operate("GET", f"/api/audit-log?limit=2&cursor={first['next_cursor']}")).json
    assert ([one["action"] for one in rest["data"]], rest["next_cursor"]) == (["price.set"], None)
    assert (await house.operate("GET", f"/api/audit-log?organization_id={UUID(int=0)}")).status == 404
    token = by_secret(org=org, sub=str(await house.new_user(org)), roles=["org_admin"])
    own = (await house.ask("GET", "/api/audit-log", key=token)).json["data"]
    assert [one["action"] for one in own] == ["user.created", "org.created"]
    assert (await house.ask("GET", f"/api/audit-log?organization_id={UUID(int=0)}", key=token)).status == 404


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
