"""/api/credits: begun once, changed now or at the period's end, cancelled, taken up again; nothing is given twice."""

import asyncio
from typing import Any
from uuid import UUID

from tests.edge.conftest import Answer, House


async def initialize(house: House, org: UUID, plan: str = "explorer", **headers: str) -> Answer:
    body = {"organization_id": str(org), "plan": plan}
    return await house.operate("POST", "/api/credits/initialize", body, headers=headers)


async def tier(house: House, org: UUID, plan: str | None, **more: Any) -> Answer:
    headers = more.pop("headers", {})
    return await house.operate(
        "PUT", "/api/credits/tier", {"organization_id": str(org), "plan": plan, **more}, headers=headers
    )


async def test_plans_are_listed(house: House) -> None:
    key = await house.new_key(await house.new_org())
    listed = (await house.ask("GET", "/api/plans", key=key)).json["data"]
    assert [(plan["id"], plan["credits"], plan["period"]) for plan in listed] == [
        ("explorer", "400.000000", "month"),
        ("growth", "2000.000000", "month"),
        ("pro", "7000.000000", "month"),
        ("enterprise", "20000.000000", "month"),
    ]


async def test_an_organisation_begins_once_however_often_it_is_asked(house: House) -> None:
    org = await house.new_org()
    answers = await asyncio.gather(*(initialize(house, org) for _ in range(5)))
    assert {(answer.status, answer.json["plan"]["id"]) for answer in answers} == {(201, "explorer")}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 4
    assert await house.available_ucr(org) == 400_000_000
    other = await initialize(house, org, "pro")
    assert (other.status, "PUT /api/credits/tier" in other.json["detail"]) == (409, True)
    assert await house.available_ucr(org) == 400_000_000


async def test_who_begins_again_is_told_the_plan_that_there_is(house: House) -> None:
    org = await house.new_org()
    first = (await initialize(house, org)).json
    assert (await tier(house, org, None, when="now")).json["ended_at"] is not None
    assert await house.available_ucr(org) == 0
    anew = await asyncio.gather(*(initialize(house, org) for _ in range(3)))
    assert {(answer.status, answer.json["ended_at"]) for answer in anew} == {(201, None)}
    assert {answer.json["id"] for answer in anew}.isdisjoint({first["id"]})
    assert sum("idempotent-replayed" in answer.headers for answer in anew) == 2
    assert await house.available_ucr(org) == 400_000_000
    await tier(house, org, "growth")
    assert (await initialize(house, org)).status == 409
    told = await initialize(house, org, "growth")
    assert (told.status, told.json["plan"]["id"], told.json["id"]) == (201, "growth", anew[0].json["id"])
    await tier(house, org, None)
    assert (await initialize(house, org, "growth")).json["cancels"] is True


async def test_a_plan_that_is_not_there_is_refused_by_name(house: House) -> None:
    org = await house.new_org()
    for answer in (await initialize(house, org, "gold"), await tier(house, org, "gold")):
        assert (answer.status, answer.field) == (400, "plan")
        assert "explorer, growth, pro, enterprise" in answer.json["detail"]


async def test_a_tier_is_taken_and_changed_now_with_its_whole_period(house: House) -> None:
    org = await house.new_org()
    first = await tier(house, org, "explorer")
    assert (first.status, first.json["plan"]["id"], first.json["balance"]["balance"]) == (
        200,
        "explorer",
        "400.000000",
    )
    changed = await tier(house, org, "growth", prorate=False)
    assert (changed.json["plan"]["id"], changed.json["balance"]["balance"]) == ("growth", "2000.000000")


async def test_a_change_now_is_prorated(house: House) -> None:
    org = await house.new_org()
    await tier(house, org, "explorer")
    changed = await tier(house, org, "growth")
    balance_ucr = changed.json["balance"]["balance_ucr"]
    # Of a month a moment has gone: its share of both plans, rounded down, is what is missing.
    assert 1_999_000_000 < balance_ucr <= 2_000_000_000


async def test_a_tier_waits_for_the_periods_end(house: House) -> None:
    org = await house.new_org()
    await tier(house, org, "explorer")
    waiting = await tier(house, org, "pro", when="period_end")
    assert (waiting.json["plan"]["id"], waiting.json["next_plan"]["id"]) == ("explorer", "pro")
    assert waiting.json["balance"]["balance"] == "400.000000"
    dropped = await tier(house, org, "explorer")
    assert dropped.json["next_plan"] is None


async def test_a_cancellation_is_taken_back_by_naming_the_plan_again(house: House) -> None:
    org = await house.new_org()
    await tier(house, org, "explorer")
    cancelled = await tier(house, org, None)
    assert (cancelled.json["cancels"], cancelled.json["ended_at"]) == (True, None)
    again = await tier(house, org, "explorer")
    assert (again.json["cancels"], again.json["balance"]["balance"]) == (False, "400.000000")
    ended = await tier(house, org, None, when="now")
    assert ended.json["ended_at"] is not None
    assert ended.json["balance"]["balance"] == "0.000000"
    assert (await tier(house, org, None)).status == 404


async def test_a_change_is_made_once_under_its_key(house: House) -> None:
    org = await house.new_org()
    await tier(house, org, "explorer")
    key = {"idempotency-key": "k"}
    answers = await asyncio.gather(*(tier(house, org, "growth", prorate=False, headers=key) for _ in range(4)))
    assert {answer.status for answer in answers} == {200}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
    assert (await tier(house, org, "pro", headers=key)).status == 422
    assert await house.available_ucr(org) == 2_000_000_000


async def test_the_monthly_allocation_is_not_given_twice(house: House) -> None:
    org = await house.new_org()
    body = {"organization_id": str(org)}
    assert (await house.operate("POST", "/api/credits/monthly-allocation", body)).status == 404
    await initialize(house, org)
    for _ in range(2):
        answer = await house.operate("POST", "/api/credits/monthly-allocation", body)
        assert (answer.status, answer.json["balance"]["balance"]) == (200, "400.000000")


async def test_a_tier_is_changed_by_who_saw_it(house: House) -> None:
    org = await house.new_org()
    path = f"/api/credits/tier?organization_id={org}"
    assert (await house.operate("GET", path)).status == 404
    assert (await tier(house, org, "growth", headers={"if-match": "*"})).status == 412
    begun = await tier(house, org, "growth")
    read = await house.operate("GET", path)
    assert (read.headers["etag"], read.json) == (begun.headers["etag"], begun.json)
    seen = {"if-match": read.headers["etag"]}
    both = await asyncio.gather(tier(house, org, "pro", headers=seen), tier(house, org, None, headers=seen))
    assert sorted(answer.status for answer in both) == [200, 412]
    for plan in ("enterprise", None):
        stale = await tier(house, org, plan, headers=seen)
        assert (stale.status, stale.json["code"]) == (412, "precondition_failed")
    now = {"if-match": (await house.operate("GET", path)).headers["etag"]}
    assert (await tier(house, org, None, when="now", headers=now)).json["ended_at"] is not None
    assert (await house.operate("GET", path)).status == 404
