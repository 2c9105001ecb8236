"""/api/orgs/{id}/keys: a key is in one answer, once; listed without itself; revoked for good, at once."""

import uuid

from gateway.identity.keys import hash_of
from tests.edge.conftest import House


async def test_a_key_is_shown_once_and_works(house: House) -> None:
    org = await house.new_org()
    made = await house.operate("POST", f"/api/orgs/{org}/keys", {"name": "web"})
    assert made.status == 201
    key = made.json["key"]
    assert hash_of(key) is not None
    assert (await house.ask("GET", "/v1/key", key=key)).json["data"]["label"] == "web"
    listed = await house.operate("GET", f"/api/orgs/{org}/keys")
    assert key.encode() not in listed.body
    assert listed.json["data"] == [{field: value for field, value in made.json.items() if field != "key"}]
    assert key.startswith(listed.json["data"][0]["prefix"])


async def test_a_key_keeps_its_models_and_expiry(house: House) -> None:
    org = await house.new_org()
    wish = {"name": "web", "models": ["openai/gpt-5", "long"], "expires_at": "2100-01-31T12:00:00+02:00"}
    made = await house.operate("POST", f"/api/orgs/{org}/keys", wish)
    assert (made.json["models"], made.json["expires_at"]) == (wish["models"], "2100-01-31T10:00:00Z")


async def test_a_revoked_key_is_refused_at_once(house: House) -> None:
    org = await house.new_org()
    key = await house.new_key(org)
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200
    (listed,) = (await house.operate("GET", f"/api/orgs/{org}/keys")).json["data"]
    for _ in range(2):
        revoked = await house.operate("DELETE", f"/api/orgs/{org}/keys/{listed['id']}")
        assert (revoked.status, revoked.json["revoked_at"] is None) == (200, False)
    refusal = await house.ask("GET", "/v1/key", key=key)
    assert (refusal.status, refusal.json["error"]["code"]) == (401, "invalid_api_key")


async def test_a_key_of_another_org_is_not_found(house: House) -> None:
    mine, other = await house.new_org("mine"), await house.new_org("other")
    key = await house.new_key(mine)
    (listed,) = (await house.operate("GET", f"/api/orgs/{mine}/keys")).json["data"]
    for org, id in ((other, listed["id"]), (mine, uuid.uuid4()), (mine, "web"), (uuid.uuid4(), listed["id"])):
        assert (await house.operate("DELETE", f"/api/orgs/{org}/keys/{id}")).status == 404
    assert (await house.ask("GET", "/v1/key", key=key)).status == 200


async def test_a_wrong_body_is_refused_naming_the_field(house: House) -> None:
    org = await house.new_org()
    for body, field in [
        ({}, "name"),
        ({"name": "web", "models": []}, "models"),
        ({"name": "web", "models": ["ok", ""]}, "models[1]"),
        ({"name": "web", "models": "gpt-5"}, "models"),
        ({"name": "web", "models": ["x"] * 1001}, "models"),
        ({"name": "web", "expires_at": "2100-01-31"}, "expires_at"),
        ({"name": "web", "expires_at": "2100-01-31T12:00:00"}, "expires_at"),
        ({"name": "web", "expires_at": "2001-01-31T12:00:00Z"}, "expires_at"),
        ({"name": "web", "key": "tg-mine"}, "key"),
    ]:
        answer = await house.operate("POST", f"/api/orgs/{org}/keys", body)
        assert (answer.status, answer.field) == (400, field), body
    assert (await house.operate("GET", f"/api/orgs/{org}/keys")).json["total"] == 0
