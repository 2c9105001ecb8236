"""/api/credits/jobs, and reservations that a job owns: held as long as it lives, ended with it, nobody else's."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from gateway.ledger import jobs as jobs_
from tests.edge.conftest import Answer, House, instant
from tests.edge.test_api_spending import key_of_user

JOBS = "/api/credits/jobs"
HELD = "/api/credits/reservations"


@pytest.fixture
async def org(house: House) -> UUID:
    return await house.new_org(credits="100")


async def opened(house: House, org: UUID, **wish: Any) -> dict[str, Any]:
    answer = await house.operate("POST", JOBS, {"organization_id": str(org), "kind": "batch", **wish})
    assert answer.status == 201, answer.body
    job: dict[str, Any] = answer.json
    return job


async def hold(house: House, org: UUID, job: str | None, amount: object = 5, **more: Any) -> Answer:
    wish = {"organization_id": str(org), "amount": amount, **more} | ({} if job is None else {"job_id": job})
    return await house.operate("POST", HELD, wish)


async def do(house: House, org: UUID, id: str, what: str, job: str | None, **body: Any) -> Answer:
    if what == "release":
        query = f"?organization_id={org}" + ("" if job is None else f"&job_id={job}")
        return await house.operate("POST", f"{HELD}/{id}/release{query}")
    wish = {"organization_id": str(org), **body} | ({} if job is None else {"job_id": job})
    return await house.operate("POST", f"{HELD}/{id}/{what}", wish)


async def test_a_job_is_opened_found_listed_and_ended(house: House, org: UUID, pool: asyncpg.Pool) -> None:
    job = await opened(house, org, expires_in_s=3_600)
    assert (job["kind"], job["ended_at"]) == ("batch", None)
    assert (instant(job["expires_at"]) - instant(job["created_at"])).total_seconds() == 3_600
    path = f"{JOBS}/{job['id']}"
    assert (await house.operate("GET", f"{path}?organization_id={org}")).json == job
    later = [(await opened(house, org))["id"] for _ in range(2)]
    first = (await house.operate("GET", f"{JOBS}?organization_id={org}&limit=2")).json
    assert ([one["id"] for one in first["data"]], first["limit"]) == ([job["id"], later[0]], 2)
    rest = (await house.operate("GET", f"{JOBS}?organization_id={org}&cursor={first['next_cursor']}")).json
    assert ([one["id"] for one in rest["data"]], rest["next_cursor"]) == (later[1:], None)
    answers = [await house.operate("POST", f"{path}/end?organization_id={org}") for _ in range(2)]
    assert answers[0].json == answers[1].json == job | {"ended_at": answers[0].json["ended_at"]}
    assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, True]
    assert (await house.operate("GET", f"{path}?organization_id={org}")).json["ended_at"] is not None
    assert [one["id"] for one in (await house.operate("GET", f"{JOBS}?organization_id={org}")).json["data"]] == later
    actions = "SELECT action FROM audit_log WHERE org_id = $1 AND object_id = $2 ORDER BY id"
    assert [row["action"] for row in await pool.fetch(actions, org, UUID(job["id"]))] == ["job.opened", "job.ended"]


async def test_its_reservations_live_as_long_as_it_does_and_end_with_it(house: House, org: UUID) -> None:
    job = await opened(house, org, expires_in_s=500_000)
    made = await hold(house, org, job["id"])
    assert (made.status, made.json["owner"], made.json["job_id"]) == (201, "job", job["id"])
    assert made.json["expires_at"] == job["expires_at"]
    short = (await hold(house, org, job["id"], expires_in_s=60)).json
    assert instant(short["expires_at"]) < instant(job["expires_at"])
    query = f"organization_id={org}&job_id={job['id']}"
    assert (await house.operate("GET", f"{HELD}/{made.json['id']}?{query}")).json == made.json
    assert (await house.operate("GET", f"{HELD}?{query}")).json["data"] == [made.json, short]
    more = await do(house, org, short["id"], "extend", job["id"], amount=6, spent="2.5", expires_in_s=600_000)
    assert (more.status, more.json["held"]) == (200, "6.000000")
    assert abs((instant(more.json["expires_at"]) - instant(job["expires_at"])).total_seconds()) < 1
    settled = await do(house, org, made.json["id"], "settle", job["id"], amount=3)
    assert (settled.status, settled.json["cost"]) == (200, "3.000000")
    await house.operate("POST", f"{JOBS}/{job['id']}/end?organization_id={org}")
    balance = await house.ledger.balance(org)
    assert (balance.balance_ucr, balance.held_ucr) == (94_500_000, 0)  # what was told as spent
    assert (await hold(house, org, job["id"])).status == 404
    assert (await house.ledger.balance(org)).held_ucr == 0
    # Its real cost still comes, once.
    for _ in range(2):
        assert (await do(house, org, short["id"], "settle", job["id"], amount=4)).status == 200
    assert (await house.ledger.balance(org)).balance_ucr == 93_000_000


async def test_only_the_job_extends_settles_or_releases_one(house: House, org: UUID) -> None:
    one, other = (await opened(house, org))["id"], (await opened(house, org))["id"]
    jobs, ours = (await hold(house, org, one)).json["id"], (await hold(house, org, None)).json["id"]
    for id, owners in ((jobs, (None, other, str(uuid4()))), (ours, (one,))):
        for owner in owners:
            for what, body in (("extend", {"amount": 9}), ("settle", {"amount": 1}), ("release", {})):
                assert (await do(house, org, id, what, owner, **body)).status == 404, (id, owner, what)
            query = f"organization_id={org}" + ("" if owner is None else f"&job_id={owner}")
            assert (await house.operate("GET", f"{HELD}/{id}?{query}")).status == 404
    plain = (await house.operate("GET", f"{HELD}?organization_id={org}")).json["data"]
    assert [(one["id"], one["owner"], one["job_id"]) for one in plain] == [(ours, "api", None)]
    assert (await do(house, org, jobs, "release", one)).json["cost_ucr"] == 0
    assert (await do(house, org, ours, "release", None)).json["cost_ucr"] == 0


async def test_a_members_job_is_their_own(house: House, org: UUID, pool: asyncpg.Pool) -> None:
    anna, ben = await house.new_user(org, "anna"), await house.new_user(org, "ben")
    annas, bens = await key_of_user(pool, org, anna), await key_of_user(pool, org, ben)
    ours = await house.new_key(org)
    theirs = await house.new_key(await house.new_org("Other"))
    job = (await house.ask("POST", JOBS, key=annas, json={"kind": "report"})).json["id"]
    for who in (bens, ours, theirs):
        assert (await house.ask("GET", f"{JOBS}/{job}", key=who)).status == 404
        assert (await house.ask("POST", f"{JOBS}/{job}/end", key=who)).status == 404
        assert (await house.ask("POST", HELD, key=who, json={"amount": 1, "job_id": job})).status == 404
        assert (await house.ask("GET", f"{HELD}?job_id={job}", key=who)).status == 404
        assert (await house.ask("GET", JOBS, key=who)).json["data"] == []
    made = await house.ask("POST", HELD, key=annas, json={"amount": 1, "job_id": job})
    assert (made.status, made.json["user_id"], made.json["owner"]) == (201, str(anna), "job")
    assert (await house.ask("POST", f"{JOBS}/{job}/end", key=annas)).status == 200
    assert (await house.ledger.balance(org)).held_ucr == 0


async def test_a_job_that_makes_no_sense_is_refused(house: House, org: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    for wish, field in (
        ({"kind": ""}, "kind"),
        ({"kind": "x" * 65}, "kind"),
        ({"kind": "x", "expires_in_s": 0}, "expires_in_s"),
        ({"kind": "x", "expires_in_s": 5e-324}, "expires_in_s"),
        ({"kind": "x", "expires_in_s": 691_201}, "expires_in_s"),
        ({}, "kind"),
    ):
        answer = await house.operate("POST", JOBS, {"organization_id": str(org), **wish})
        assert (answer.status, answer.field) == (400, field), wish
    assert (await house.operate("POST", JOBS, {"organization_id": str(uuid4()), "kind": "x"})).status == 404
    monkeypatch.setattr(jobs_, "OPEN_MAX", 2)
    first, _ = await opened(house, org), await opened(house, org)
    refused = await house.operate("POST", JOBS, {"organization_id": str(org), "kind": "x"})
    assert (refused.status, "retry-after" in refused.headers) == (429, True)
    await house.operate("POST", f"{JOBS}/{first['id']}/end?organization_id={org}")
    await opened(house, org)


async def test_many_at_once_with_one_key_open_one(house: House, org: UUID) -> None:
    wish, key = {"organization_id": str(org), "kind": "x"}, {"idempotency-key": "k"}
    answers = await asyncio.gather(*(house.operate("POST", JOBS, wish, headers=key) for _ in range(5)))
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 4
    assert (await house.operate("POST", JOBS, {**wish, "kind": "y"}, headers=key)).status == 422


async def test_a_batch_reserves_extends_settles_and_releases(house: House, org: UUID) -> None:
    job = (await opened(house, org))["id"]
    base = {"organization_id": str(org)}

    async def send(*items: tuple[str, dict[str, Any]], key: str) -> list[dict[str, Any]]:
        body = {"items": [{"operation": name, "body": {**base, **body}} for name, body in items]}
        answer = await house.operate("POST", "/api/credits/batch", body, headers={"idempotency-key": key})
        assert answer.status == 200
        done: list[dict[str, Any]] = answer.json["data"]
        return done

    wishes = [("reserve", {"amount": 5, "job_id": job}), ("reserve", {"amount": 7}), ("reserve", {"amount": 1_000})]
    made = await send(*wishes, key="hold")
    assert [one["status"] for one in made] == [201, 201, 402]
    jobs, ours = made[0]["body"], made[1]["body"]
    assert (jobs["owner"], ours["owner"]) == ("job", "api")
    again = await send(*wishes, key="hold")
    assert [(one["replayed"], one["body"].get("id")) for one in again[:2]] == [(True, jobs["id"]), (True, ours["id"])]
    rest = (
        ("extend", {"reservation_id": jobs["id"], "amount": 8}),  # the job's, and it does not say so
        ("extend", {"reservation_id": jobs["id"], "job_id": job, "amount": 8}),
        ("settle", {"reservation_id": jobs["id"], "job_id": job, "amount": 6}),
        ("release", {"reservation_id": ours["id"]}),
        ("release", {"reservation_id": ours["id"], "amount": 1}),
        ("settle", {"amount": 1}),
    )
    done = await send(*rest, key="end")
    assert [one["status"] for one in done] == [404, 200, 200, 200, 400, 400]
    assert [one["body"].get("cost", one["body"].get("held")) for one in done[1:4]] == [
        *("8.000000", "6.000000", "0.000000")
    ]
    assert [one["replayed"] for one in await send(*rest, key="end")] == [False, True, True, True, False, False]
    balance = await house.ledger.balance(org)
    assert (balance.balance_ucr, balance.held_ucr) == (94_000_000, 0)
