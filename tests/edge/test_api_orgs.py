"""/api/orgs: an operator makes, finds, lists, suspends and resumes organisations."""

from uuid import UUID

import asyncpg
import pytest

from tests.edge.conftest import House, instant


async def test_an_org_is_made_and_found(house: House) -> None:
    made = await house.operate("POST", "/api/orgs", {"name": "Acmé 東京"})
    assert made.status == 201
    assert made.json.keys() == {"id", "name", "status", "created_at"}
    assert (made.json["name"], made.json["status"]) == ("Acmé 東京", "active")
    assert instant(made.json["created_at"]).tzinfo is not None
    found = await house.operate("GET", f"/api/orgs/{made.json['id']}")
    assert (found.status, found.json) == (200, made.json)


async def test_orgs_are_listed_in_pages(house: House) -> None:
    ids = [str(await house.new_org(f"org {number}")) for number in range(3)]
    everything = (await house.operate("GET", "/api/orgs")).json
    assert ([org["id"] for org in everything["data"]], everything["total"]) == (ids, 3)
    page = (await house.operate("GET", "/api/orgs?limit=1&offset=1")).json
    assert [org["id"] for org in page["data"]] == ids[1:2]
    assert (page["total"], page["limit"], page["offset"]) == (3, 1, 1)


async def test_a_suspended_org_is_refused_at_once_and_let_in_again(house: House) -> None:
    org = await house.new_org()
    key = await house.new_key(org)
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200
    suspended = await house.operate("POST", f"/api/orgs/{org}/suspend")
    assert (suspended.status, suspended.json["status"]) == (200, "suspended")
    refusal = await house.ask("GET", "/v1/key", key=key)
    assert (refusal.status, refusal.json["error"]["code"]) == (403, "org_suspended")
    resumed = await house.operate("POST", f"/api/orgs/{org}/resume")
    assert (resumed.status, resumed.json["status"]) == (200, "active")
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200


@pytest.mark.parametrize("id", ["018f3b1c-5d2e-7a44-9c0b-6f1e2d3c4b5a", "acme", "%00", "1"])
async def test_what_is_no_org_is_not_found(house: House, id: str) -> None:
    for method, path in (
        ("GET", f"/api/orgs/{id}"),
        ("POST", f"/api/orgs/{id}/suspend"),
        ("POST", f"/api/orgs/{id}/resume"),
        ("GET", f"/api/orgs/{id}/keys"),
    ):
        answer = await house.operate(method, path)
        assert (answer.status, answer.json["code"]) == (404, "not_found")
    answer = await house.operate("POST", f"/api/orgs/{id}/keys", {"name": "web"})
    assert answer.status == 404


async def test_a_wrong_body_is_refused_naming_the_field(house: House) -> None:
    org = await house.new_org()
    for body, field in [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "Acme", "plan": "pro"}, "plan"),
        ({"name": "Acme", "x" * 100: 1}, "x" * 64),
    ]:
        answer = await house.operate("POST", "/api/orgs", body)
        assert (answer.status, answer.field) == (400, field), body
    assert [each["id"] for each in (await house.operate("GET", "/api/orgs")).json["data"]] == [str(org)]


async def test_a_wrong_query_is_refused_naming_the_parameter(house: House) -> None:
    for query, field in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("offset=-1", "offset"),
        ("offset=1000001", "offset"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
    ]:
        answer = await house.operate("GET", f"/api/orgs?{query}")
        assert (answer.status, answer.field) == (400, field), query


async def test_the_audit_log_knows_the_request_and_its_address(house: House, pool: asyncpg.Pool) -> None:
    made = await house.operate("POST", "/api/orgs", {"name": "Acme"})
    entry = await pool.fetchrow("SELECT actor, address, request_id FROM audit_log WHERE action = 'org.created'")
    assert entry is not None
    assert tuple(entry) == ("operator", "127.0.0.1", UUID(made.headers["x-request-id"]))
