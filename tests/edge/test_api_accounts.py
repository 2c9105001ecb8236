"""/api/orgs/{org_id}/accounts: listed, opened for some models or features, changed unseen by nobody, and closed."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from gateway.edge import rooms
from gateway.identity.tokens import TokenSettings
from gateway.ledger import restricted
from tests.edge.conftest import TOKENS, Answer, House
from tests.edge.test_api_credits import add
from tests.fakes.issuer import by_secret


@pytest.fixture
def token_settings() -> TokenSettings:
    return msgspec.structs.replace(TOKENS, users="claimed")


@pytest.fixture
async def org(house: House) -> UUID:
    return await house.new_org(credits="10")


async def ask(house: House, org: UUID, method: str, path: str = "", json: Any = None, **options: Any) -> Answer:
    return await house.operate(method, f"/api/orgs/{org}/accounts{path}", json, **options)


async def opened(house: House, org: UUID, **wish: Any) -> dict[str, Any]:
    answer = await ask(house, org, "POST", json={"name": "fast models", **wish})
    assert answer.status == 201, answer.body
    account: dict[str, Any] = answer.json
    return account


async def entries(pool: asyncpg.Pool, org: UUID, action: str) -> list[tuple[Any, Any]]:
    rows = await pool.fetch(
        "SELECT before, after FROM audit_log WHERE org_id = $1 AND action = $2 ORDER BY id", org, action
    )
    return [(read(row["before"]), read(row["after"])) for row in rows]


def read(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


async def test_one_is_opened_filled_and_pays_for_its_models_first(house: House, org: UUID) -> None:
    account = await opened(house, org, models=["openai/gpt-5"])
    facts = ("kind", "name", "models", "features", "user_id", "status", "parked", "balance", "granted")
    assert [account[name] for name in facts] == [
        *("restricted", "fast models", ["openai/gpt-5"], None, None, "active", False, "0.000000", "0.000000")
    ]
    made = await add(house, org, amount="2", account_id=account["id"])
    assert (made.json["account_id"], made.json["balance"]) == (account["id"], "2.000000")
    usage = {"organization_id": str(org), "model": "openai/gpt-5", "input_tokens": 1_000_000}
    paid = await house.operate("POST", "/api/credits/usage", usage)
    assert (paid.json["account_id"], paid.json["cost"]) == (account["id"], "1.250000")
    other = {"organization_id": str(org), "model": "long", "input_tokens": 1_000, "output_tokens": 10}
    assert (await house.operate("POST", "/api/credits/usage", other)).json["account_id"] == str(org)
    found = (await ask(house, org, "GET", f"/{account['id']}")).json
    assert (found["balance"], found["used"]) == ("0.750000", "1.250000")


async def test_one_for_features_pays_for_those_alone(house: House, org: UUID) -> None:
    account = await opened(house, org, features=["simple_ai_insight"])
    moved = {"organization_id": str(org), "from_account_id": str(org), "to_account_id": account["id"], "amount": 10}
    assert (await house.operate("POST", "/api/credits/transfers", moved)).status == 201
    wish = {"organization_id": str(org), "feature": "simple_ai_insight"}
    assert (await house.operate("POST", "/api/credits/deduct", wish)).json["account_id"] == account["id"]
    plain = {"organization_id": str(org), "amount": "0.5", "reason": "x"}
    assert (await house.operate("POST", "/api/credits/deduct", plain)).json["code"] == "insufficient_credits"


async def test_a_change_counts_at_once_and_is_audited(house: House, org: UUID, pool: asyncpg.Pool) -> None:
    key = await house.new_key(org)
    account = await opened(house, org, models=["long"])
    ring = house.app[rooms.KEY_RING]
    assert (await ring.caller(key)).payers(model="long") == (UUID(account["id"]), org)
    path = f"/{account['id']}"
    changed = await ask(house, org, "PATCH", path, {"models": ["openai/gpt-5", "a", "a"], "features": ["x"]})
    assert (changed.status, changed.json["models"], changed.json["features"]) == (200, ["a", "openai/gpt-5"], ["x"])
    caller = await ring.caller(key)
    assert (caller.payers(model="long"), caller.payers(model="a")) == ((org,), (UUID(account["id"]), org))
    assert (await ask(house, org, "PATCH", path, {"models": None})).json["models"] is None
    assert (await ask(house, org, "PATCH", path, {"name": "images"})).json["name"] == "images"
    await ask(house, org, "PATCH", path, {"name": "images"})
    terms = {"name": "fast models", "models": ["long"], "features": None}
    assert await entries(pool, org, "account.opened") == [(None, terms)]
    second = terms | {"models": ["a", "openai/gpt-5"], "features": ["x"]}
    third = second | {"models": None}
    assert await entries(pool, org, "account.changed") == [
        (terms, second),
        (second, third),
        (third, third | {"name": "images"}),
    ]


async def test_two_administrators_overwrite_nothing_unseen(house: House, org: UUID) -> None:
    made = await ask(house, org, "POST", json={"name": "a", "models": ["long"]})
    path = f"/{made.json['id']}"
    tag = (await ask(house, org, "GET", path)).headers["etag"]
    assert tag == made.headers["etag"]
    await add(house, org, amount="1", account_id=made.json["id"])
    assert (await ask(house, org, "GET", path)).headers["etag"] == tag  # credits are not what is changed
    changes = [ask(house, org, "PATCH", path, {"name": name}, headers={"if-match": tag}) for name in ("b", "c")]
    answers = await asyncio.gather(*changes)
    assert sorted(answer.status for answer in answers) == [200, 412]
    (won,) = (answer for answer in answers if answer.status == 200)
    found = await ask(house, org, "GET", path)
    assert (found.headers["etag"], found.json) == (won.headers["etag"], won.json)
    assert (await ask(house, org, "PATCH", path, {"name": "d"}, headers={"if-match": "*"})).status == 200
    assert (await ask(house, org, "PATCH", f"/{uuid4()}", {"name": "d"}, headers={"if-match": "*"})).status == 404


async def test_what_makes_no_sense_is_refused_naming_the_field(house: House, org: UUID) -> None:
    for body, field in (
        ({"models": ["a"]}, "name"),
        ({"name": "x"}, "models"),
        ({"name": "x", "models": []}, "models"),
        ({"name": "x", "models": ["a"] * 201}, "models"),
        ({"name": "x", "models": [""]}, "models[0]"),
        ({"name": "x", "features": ["x" * 257]}, "features[0]"),
        ({"name": "x" * 201, "models": ["a"]}, "name"),
        ({"name": "x", "models": ["a"], "user_id": str(org)}, "user_id"),
    ):
        answer = await ask(house, org, "POST", json=body)
        assert (answer.status, answer.field) == (400, field), body
    account = await opened(house, org, models=["a"])
    assert (await ask(house, org, "PATCH", f"/{account['id']}", {"models": None})).field == "models"
    for id, status in ((org, 409), (uuid4(), 404)):
        assert (await ask(house, org, "PATCH", f"/{id}", {"name": "x"})).status == status
    both = await add(house, org, account_id=account["id"], user_id=account["id"])
    assert (both.status, both.field) == (400, "account_id")
    assert (await add(house, org, account_id=str(uuid4()))).status == 404
    other = await house.new_org("Other")
    assert (await add(house, other, account_id=account["id"])).status == 404
    assert (await ask(house, other, "GET", f"/{account['id']}")).status == 404
    assert (await ask(house, other, "PATCH", f"/{account['id']}", {"name": "x"})).status == 404


async def test_there_are_only_so_many(house: House, org: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted, "RESTRICTED_MAX", 3)
    answers = await asyncio.gather(*(ask(house, org, "POST", json={"name": "x", "models": ["a"]}) for _ in range(6)))
    assert sorted(answer.status for answer in answers) == [201] * 3 + [409] * 3
    id = next(answer.json["id"] for answer in answers if answer.status == 201)
    assert (await ask(house, org, "DELETE", f"/{id}")).status == 200
    await opened(house, org, models=["a"])


async def test_an_empty_one_is_closed_by_whoever_opens_them(house: House, org: UUID) -> None:
    admin = by_secret(org=org, sub="cleo", roles=["org_admin"])
    path = f"/api/orgs/{org}/accounts"
    made = await house.ask("POST", path, key=admin, json={"name": "x", "models": ["a"]})
    assert made.status == 201
    one = f"{path}/{made.json['id']}"
    await add(house, org, amount="1", account_id=made.json["id"])
    refused = await house.ask("DELETE", one, key=admin)
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert (await house.ask("POST", f"{one}/close", key=admin, json={"forfeit": True})).status == 403
    assert (await house.ask("DELETE", f"{path}/{org}", key=admin)).status == 409
    assert (await house.operate("POST", f"{one}/close", {"forfeit": True})).status == 200
    empty = (await house.ask("POST", path, key=admin, json={"name": "y", "models": ["a"]})).json["id"]
    for expected in ([empty], []):
        assert (await house.ask("DELETE", f"{path}/{empty}", key=admin)).json == {"closed": expected}
    assert (await house.ask("GET", f"{path}/{empty}", key=admin)).json["status"] == "closed"
    assert (await house.ask("PATCH", f"{path}/{empty}", key=admin, json={"name": "z"})).status == 409
    assert (await add(house, org, account_id=empty)).status == 409


async def test_opened_and_changed_once_under_an_idempotency_key(house: House, org: UUID) -> None:
    key = {"idempotency-key": "k"}
    wish = {"name": "x", "models": ["a"]}
    answers = await asyncio.gather(*(ask(house, org, "POST", json=wish, headers=key) for _ in range(4)))
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
    assert (await ask(house, org, "POST", json={**wish, "name": "y"}, headers=key)).status == 422
    path, again = f"/{answers[0].json['id']}", {"idempotency-key": "change"}
    first = await ask(house, org, "PATCH", path, {"name": "y"}, headers=again)
    await ask(house, org, "PATCH", path, {"name": "z"})
    repeated = await ask(house, org, "PATCH", path, {"name": "y"}, headers=again)
    assert (repeated.json["name"], repeated.headers["idempotent-replayed"]) == ("y", "true")
    assert repeated.headers["etag"] == first.headers["etag"]
    assert (await ask(house, org, "GET", path)).json["name"] == "z"


async def test_the_list_has_every_account_and_a_member_sees_no_colleagues(house: House, org: UUID) -> None:
    anna, ben = await house.new_user(org, "anna"), await house.new_user(org, "ben")
    account = await opened(house, org, models=["a"])
    path = f"/api/orgs/{org}/accounts"
    everything = [str(org), str(anna), str(ben), account["id"]]
    for role, expected in (("member", [str(org), str(anna), account["id"]]), ("viewer", everything)):
        token = by_secret(org=org, sub="anna", roles=[role])
        listed = (await house.ask("GET", path, key=token)).json
        assert ([one["id"] for one in listed["data"]], listed["total"]) == (expected, len(expected))
        status = 200 if str(ben) in expected else 404
        assert (await house.ask("GET", f"{path}/{ben}", key=token)).status == status
        assert (await house.ask("POST", path, key=token, json={"name": "x", "models": ["a"]})).status == 403
    page = (await ask(house, org, "GET", "?limit=2&offset=1")).json
    assert ([one["id"] for one in page["data"]], page["total"]) == (everything[1:3], 4)
    kinds = [one["kind"] for one in (await ask(house, org, "GET")).json["data"]]
    assert kinds == ["pool", "user", "user", "restricted"]
    assert [one["id"] for one in (await ask(house, org, "GET", "?kind=user")).json["data"]] == everything[1:3]
    await ask(house, org, "DELETE", f"/{account['id']}")
    assert [one["id"] for one in (await ask(house, org, "GET", "?status=closed")).json["data"]] == everything[3:]
    assert (await ask(house, org, "GET", "?kind=pile")).field == "kind"
