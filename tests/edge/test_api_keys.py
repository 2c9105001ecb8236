"""/api/orgs/{id}/keys: a key is in one answer, once; listed without itself; revoked for good, at once."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.identity.keys import hash_of
from tests.edge.conftest import Answer, House


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
        ({"name": "web", "kind": "root"}, "kind"),
        ({"name": "web", "ip_allow": []}, "ip_allow"),
        ({"name": "web", "ip_allow": ["10.0.0.0/8", "10.0.0.1/8"]}, "ip_allow[1]"),
        ({"name": "web", "ip_allow": ["localhost"]}, "ip_allow[0]"),
        ({"name": "web", "ip_allow": ["10.0.0.1"] * 101}, "ip_allow"),
        ({"name": "web", "user_id": "anna"}, "user_id"),
    ]:
        answer = await house.operate("POST", f"/api/orgs/{org}/keys", body)
        assert (answer.status, answer.field) == (400, field), body
    assert (await house.operate("GET", f"/api/orgs/{org}/keys")).json["total"] == 0


# --- kinds and users ------------------------------------------------------------------------------------------------


async def made(house: House, org: UUID, **wish: Any) -> dict[str, Any]:
    answer = await house.operate("POST", f"/api/orgs/{org}/keys", {"name": "web", **wish})
    assert answer.status == 201
    key: dict[str, Any] = answer.json
    return key


async def test_a_management_key_administers_and_its_keys_work(house: House) -> None:
    org = await house.new_org()
    manager = (await made(house, org, kind="management"))["key"]
    key = await house.ask("POST", f"/api/orgs/{org}/keys", json={"name": "web"}, key=manager)
    assert (key.status, key.json["kind"]) == (201, "inference")
    assert (await house.ask("GET", "/v1/key", key=key.json["key"])).status == 200


async def test_a_sandbox_key_reads_and_spends_nothing(house: House) -> None:
    org = await house.new_org(credits="1")
    sandbox = (await made(house, org, kind="sandbox"))["key"]
    assert (await house.ask("GET", "/api/credits/balance", key=sandbox)).status == 200
    assert (await house.ask("POST", f"/api/orgs/{org}/keys", json={"name": "web"}, key=sandbox)).status == 403


async def test_a_key_may_be_a_users(house: House) -> None:
    org, other = await house.new_org(), await house.new_org()
    user_id = await house.new_user(org, "anna")
    assert (await made(house, org, user_id=str(user_id)))["user_id"] == str(user_id)
    for stranger, where in ((user_id, other), (uuid.uuid4(), org)):
        wish = {"name": "web", "user_id": str(stranger)}
        assert (await house.operate("POST", f"/api/orgs/{where}/keys", wish)).status == 404


async def test_a_key_is_recognised_by_its_ends(house: House) -> None:
    org = await house.new_org()
    key = await made(house, org, ip_allow=["10.0.0.0/8", "2001:DB8::1"])
    assert (key["key"][:9], key["key"][-4:]) == (key["prefix"], key["last_four"])
    assert key["ip_allow"] == ["10.0.0.0/8", "2001:db8::1/128"]


# --- changes --------------------------------------------------------------------------------------------------------


async def patch(house: House, org: UUID, key: dict[str, Any], body: dict[str, Any], **headers: str) -> Answer:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.operate("PATCH", f"/api/orgs/{org}/keys/{key['id']}", body, headers=headers)


async def test_what_is_left_out_stays_and_null_takes_a_limit_away(house: House) -> None:
    org = await house.new_org()
    key = await made(house, org, models=["long"], ip_allow=["10.0.0.0/8"], expires_at="2100-01-01T00:00:00Z")
    secret = key.pop("key")
    assert (await house.ask("GET", "/v1/key", key=secret)).status == 403
    for change in (
        {"name": "other"},
        {"models": ["long", "openai/gpt-5"]},
        {"models": None},
        {"ip_allow": ["127.0.0.1/32"]},
        {"expires_at": "2101-01-01T00:00:00Z"},
        {"expires_at": None, "ip_allow": None},
        {},
    ):
        answer = await patch(house, org, key, change)
        key |= change
        assert (answer.status, answer.json) == (200, key)
    assert (await house.ask("GET", "/v1/key", key=secret)).json["data"]["label"] == "other"


async def test_a_narrower_key_is_held_to_it_at_once(house: House) -> None:
    org = await house.new_org()
    key = await made(house, org)
    assert (await house.ask("GET", "/v1/models/long", key=key["key"])).status == 200
    await patch(house, org, key, {"models": ["openai/gpt-5"]})
    assert (await house.ask("GET", "/v1/models/long", key=key["key"])).status == 404
    await patch(house, org, key, {"ip_allow": ["10.0.0.0/8"]})
    assert (await house.ask("GET", "/v1/key", key=key["key"])).status == 403


async def test_nobody_overwrites_what_they_have_not_seen(house: House) -> None:
    org = await house.new_org()
    key = await made(house, org)
    path = f"/api/orgs/{org}/keys/{key['id']}"
    seen = (await house.operate("GET", path)).headers["etag"]
    changed = await patch(house, org, key, {"name": "mine"}, if_match=seen)
    assert (changed.status, changed.headers["etag"] != seen) == (200, True)
    for stale in (seen, 'W/"2"', '"nonsense"', f'{seen}, "77"'):
        answer = await patch(house, org, key, {"name": "theirs"}, if_match=stale)
        assert (answer.status, answer.json["code"]) == (412, "precondition_failed"), stale
    assert (await patch(house, org, key, {"name": "theirs"}, if_match="2")).field == "If-Match"
    assert (await house.operate("GET", path)).json["name"] == "mine"
    for fresh in (f'"77", {changed.headers["etag"]}', "*"):
        assert (await patch(house, org, key, {"name": fresh}, if_match=fresh)).status == 200


async def test_the_description_says_that_a_change_can_be_bound(house: House) -> None:
    paths = (await house.ask("GET", "/api/openapi.json")).json["paths"]
    bound = {
        (method, path)
        for path, operations in paths.items()
        for method, operation in operations.items()
        if any(parameter["name"] == "If-Match" for parameter in operation["parameters"])
    }
    assert ("patch", "/api/orgs/{org_id}/keys/{key_id}") in bound
    assert ("post", "/api/orgs/{org_id}/keys") not in bound


async def test_of_two_who_saw_the_same_one_changes(house: House) -> None:
    org = await house.new_org()
    key = await made(house, org)
    answers = await asyncio.gather(*(patch(house, org, key, {"name": f"n{n}"}, if_match='"1"') for n in range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7


async def test_a_revoked_key_is_not_changed_and_an_unknown_one_not_found(house: House) -> None:
    org, other = await house.new_org(), await house.new_org()
    key = await made(house, org)
    assert (await patch(house, other, key, {"name": "x"})).status == 404
    await house.operate("DELETE", f"/api/orgs/{org}/keys/{key['id']}")
    answer = await patch(house, org, key, {"name": "x"})
    assert (answer.status, answer.json["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": None}, "name"),
        ({"kind": "management"}, "kind"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"ip_allow": ["10.0.0.1/8"]}, "ip_allow[0]"),
        ({"models": []}, "models"),
    ],
)
async def test_a_wrong_change_is_refused(house: House, body: dict[str, Any], field: str) -> None:
    org = await house.new_org()
    answer = await patch(house, org, await made(house, org), body)
    assert (answer.status, answer.field) == (400, field)


# --- rotation -------------------------------------------------------------------------------------------------------


async def rotate(house: House, org: UUID, id: str, **body: Any) -> Answer:
    return await house.operate("POST", f"/api/orgs/{org}/keys/{id}/rotate", body)


async def test_a_rotated_key_lives_on_beside_the_new_one(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    old = await made(house, org, models=["long"], kind="inference", ip_allow=["127.0.0.0/8"])
    new = await rotate(house, org, old["id"], overlap_seconds=3600)
    assert new.status == 201
    same = ("name", "kind", "models", "ip_allow", "user_id", "expires_at")
    assert [new.json[field] for field in same] == [old[field] for field in same]
    for key in (old["key"], new.json["key"]):
        assert (await house.ask("GET", "/v1/key", key=key)).status == 200
    left = await house.operate("GET", f"/api/orgs/{org}/keys/{old['id']}")
    assert (left.json["replaced_by"], left.json["expires_at"] is None) == (new.json["id"], False)
    await pool.execute("UPDATE api_key SET expires_at = now() WHERE key_id = $1", UUID(old["id"]))
    assert (await rotate(house, org, new.json["id"])).status == 201


async def test_without_an_overlap_the_old_key_ends_at_once(house: House) -> None:
    org = await house.new_org()
    old = await made(house, org)
    assert (await house.ask("GET", "/v1/key", key=old["key"])).status == 200
    new = await rotate(house, org, old["id"], overlap_seconds=0, expires_at="2100-01-01T00:00:00Z")
    assert new.json["expires_at"] == "2100-01-01T00:00:00Z"
    assert (await house.ask("GET", "/v1/key", key=old["key"])).status == 401
    assert (await house.ask("GET", "/v1/key", key=new.json["key"])).status == 200


async def test_an_earlier_expiry_is_not_put_off(house: House) -> None:
    org = await house.new_org()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    old = await made(house, org, expires_at=soon)
    new = await rotate(house, org, old["id"], overlap_seconds=30 * 86400)
    left = await house.operate("GET", f"/api/orgs/{org}/keys/{old['id']}")
    assert new.json["expires_at"] == left.json["expires_at"] == old["expires_at"]


async def test_a_key_is_replaced_once(house: House) -> None:
    org = await house.new_org()
    old = await made(house, org)
    answers = await asyncio.gather(*(rotate(house, org, old["id"]) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    assert (await house.operate("GET", f"/api/orgs/{org}/keys")).json["total"] == 2


async def test_what_has_ended_is_not_rotated(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    revoked, expired = await made(house, org), await made(house, org)
    await house.operate("DELETE", f"/api/orgs/{org}/keys/{revoked['id']}")
    await pool.execute("UPDATE api_key SET expires_at = now() WHERE key_id = $1", UUID(expired["id"]))
    for key in (revoked, expired):
        assert (await rotate(house, org, key["id"])).status == 409
    assert (await rotate(house, org, str(uuid.uuid4()))).status == 404
    for overlap in (-1, 30 * 86400 + 1, "1"):
        assert (await rotate(house, org, revoked["id"], overlap_seconds=overlap)).field == "overlap_seconds"


async def test_rotation_takes_the_budgets_along(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    old = await made(house, org)
    for period, most, open_most in (("day", 5_000_000, None), ("lifetime", None, 3)):
        await pool.fetchval(
            "SELECT set_budget($1, $2, 'key', $3, $4, $5, $6, '{90}', ROW('operator', '', NULL, '')::origin)",
            *(org, uuid.uuid4(), old["id"], period, most, open_most),
        )
    new = (await rotate(house, org, old["id"])).json["id"]
    budgets = await pool.fetch(
        "SELECT scope_id, period, max_ucr, open_max, alert_percents FROM budget WHERE org_id = $1", org
    )
    assert sorted(map(tuple, budgets), key=str) == sorted(
        [
            (id, *terms)
            for id in (old["id"], new)
            for terms in (("day", 5_000_000, None, [90]), ("lifetime", None, 3, [90]))
        ],
        key=str,
    )


# --- once under an idempotency key ----------------------------------------------------------------------------------


async def test_a_repetition_changes_nothing_and_never_tells_the_key_again(house: House, pool: asyncpg.Pool) -> None:
    org = await house.new_org()
    path = f"/api/orgs/{org}/keys"
    key = (await house.operate("POST", path, {"name": "web"}, headers={"idempotency-key": "make"})).json
    one = f"{path}/{key['id']}"
    bodies: list[tuple[str, str, Any, Any]] = [
        ("POST", path, {"name": "web"}, {"name": "else"}),
        ("PATCH", one, {"name": "new"}, {"name": "newer"}),
        ("POST", f"{one}/rotate", {"overlap_seconds": 60}, {"overlap_seconds": 61}),
        ("DELETE", one, None, None),
    ]
    for method, where, body, other in bodies:
        named = {"idempotency-key": "make" if where == path else f"{method} {where}".replace(" ", "-")}
        if method == "PATCH":
            named["if-match"] = '"1"'
        first = await house.operate(method, where, body, headers=named)
        again = await house.operate(method, where, body, headers=named)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json == {field: value for field, value in first.json.items() if field != "key"}
        if other is not None:
            mismatch = await house.operate(method, where, other, headers=named)
            assert (mismatch.status, mismatch.json["code"]) == (422, "idempotency_mismatch")
    assert (await house.operate("GET", path)).json["total"] == 2
    kept = await pool.fetch("SELECT answer::text FROM idempotency_key")
    assert key["key"] not in str(kept)
    actions = await pool.fetch("SELECT action FROM audit_log WHERE object_kind = 'key' ORDER BY id")
    assert [row["action"] for row in actions] == [
        "key.created",
        "key.changed",
        "key.created",
        "key.rotated",
        "key.revoked",
    ]


async def test_a_refused_change_leaves_the_idempotency_key_free(house: House) -> None:
    org = await house.new_org()
    key = await made(house, org)
    named = {"idempotency_key": "k"}
    assert (await patch(house, org, key, {"name": "x"}, if_match='"9"', **named)).status == 412
    assert (await patch(house, org, key, {"name": "x"}, **named)).status == 200
