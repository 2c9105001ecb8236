"""A key makes and changes only keys that may no more than itself; people and the operator are not bound by that."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from gateway.core.caller import KeyKind
from gateway.core.errors import Forbidden
from gateway.core.origin import Origin
from tests.edge.conftest import Answer, House
from tests.fakes.issuer import by_secret

OWN: dict[str, Any] = {
    "expires_at": "2100-06-01T00:00:00Z",
    "ip_allow": ["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"],
    "models": ["long", "openai/gpt-5"],
}
WIDER: list[tuple[str, dict[str, Any]]] = [
    ("expires_at", {"expires_at": None}),
    ("expires_at", {"expires_at": "2100-06-01T00:00:01Z"}),
    ("ip_allow", {"ip_allow": None}),
    ("ip_allow", {"ip_allow": ["10.1.0.0/16", "192.168.0.0/16"]}),
    ("ip_allow", {"ip_allow": ["10.0.0.0/7"]}),
    ("ip_allow", {"ip_allow": ["0.0.0.0/0"]}),
    ("ip_allow", {"ip_allow": ["2001:db8::/31"]}),
    ("ip_allow", {"ip_allow": ["::a00:0/104"]}),
    ("models", {"models": None}),
    ("models", {"models": ["long", "openai/gpt-5", "other"]}),
]
"""The field, and what is asked for beside what the asker has itself."""


class Maker:
    """A management key that may less than all."""

    def __init__(self, house: House, org: UUID, made: dict[str, Any]) -> None:
        self.house, self.org = house, org
        self.id: str = made["id"]
        self.key: str = made["key"]

    async def ask(self, method: str, path: str = "", json: Any = None, **options: Any) -> Answer:
        return await self.house.ask(method, f"/api/orgs/{self.org}/keys{path}", key=self.key, json=json, **options)


async def made(house: House, org: UUID, **wish: Any) -> dict[str, Any]:
    answer = await house.operate("POST", f"/api/orgs/{org}/keys", {"name": "web", **wish})
    assert answer.status == 201
    key: dict[str, Any] = answer.json
    return key


@pytest.fixture
async def org(house: House) -> UUID:
    return await house.new_org(credits="100")


@pytest.fixture
async def maker(house: House, org: UUID) -> Maker:
    return Maker(house, org, await made(house, org, kind="management", **OWN))


def refused(answer: Answer, field: str) -> None:
    assert (answer.status, answer.json["code"]) == (403, "forbidden"), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.field == field
    assert "nothing was changed" in answer.json["detail"]


async def total(house: House, org: UUID) -> int:
    count = (await house.operate("GET", f"/api/orgs/{org}/keys")).json["total"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize(("field", "wish"), WIDER)
async def test_it_makes_no_wider_key(house: House, org: UUID, maker: Maker, field: str, wish: dict[str, Any]) -> None:
    for kind in KeyKind:
        refused(await maker.ask("POST", json={"name": "x", "kind": kind, **OWN, **wish}), field)
    assert await total(house, org) == 1


@pytest.mark.parametrize(("field", "wish"), WIDER)
async def test_it_changes_no_key_to_a_wider_one(
    house: House, org: UUID, maker: Maker, field: str, wish: dict[str, Any]
) -> None:
    target = await made(house, org, **OWN)
    for id in (target["id"], maker.id):
        refused(await maker.ask("PATCH", f"/{id}", wish), field)
    assert (await house.operate("GET", f"/api/orgs/{org}/keys/{target['id']}")).json["models"] == OWN["models"]
    # Nor does it give a key that is wider another name; and taking that one's width away it may.
    wider = await made(house, org, **{**OWN, **wish})
    refused(await maker.ask("PATCH", f"/{wider['id']}", {"name": "mine"}), field)
    assert (await maker.ask("PATCH", f"/{wider['id']}", OWN)).status == 200


@pytest.mark.parametrize(("field", "wish"), WIDER)
async def test_it_gets_no_wider_key_by_rotating(
    house: House, org: UUID, maker: Maker, field: str, wish: dict[str, Any]
) -> None:
    wider = await made(house, org, **{**OWN, **wish})
    refused(await maker.ask("POST", f"/{wider['id']}/rotate", {}), field)
    own = await made(house, org, **OWN)
    for id in (own["id"], maker.id):
        refused(await maker.ask("POST", f"/{id}/rotate", {"expires_at": "2100-06-01T00:00:01Z"}), "expires_at")
    assert await total(house, org) == 3


async def test_as_wide_and_narrower_it_may(house: House, org: UUID, maker: Maker) -> None:
    narrow = {"expires_at": "2099-01-01T00:00:00Z", "ip_allow": ["10.1.0.0/16", "127.0.0.1/32"], "models": ["long"]}
    for kind in KeyKind:
        for wish in (OWN, narrow):
            key = await maker.ask("POST", json={"name": "x", "kind": kind, **wish})
            assert key.status == 201, key.body
            assert (await maker.ask("PATCH", f"/{key.json['id']}", narrow)).status == 200
            assert (await maker.ask("POST", f"/{key.json['id']}/rotate", {})).status == 201
    # A key that a narrower one made is bound by that in turn.
    child = Maker(house, org, (await maker.ask("POST", json={"name": "x", "kind": "management", **narrow})).json)
    refused(await child.ask("POST", json={"name": "x", **OWN}), "expires_at")
    rotated = await maker.ask("POST", f"/{maker.id}/rotate", {})
    assert (rotated.status, rotated.json["expires_at"]) == (201, OWN["expires_at"])
    # Its own time is shorter now, and so is that of what it makes.
    refused(await maker.ask("POST", json={"name": "x", **OWN}), "expires_at")


async def test_each_restriction_binds_alone(house: House, org: UUID) -> None:
    for field, own in OWN.items():
        maker = Maker(house, org, await made(house, org, kind="management", **{field: own}))
        refused(await maker.ask("POST", json={"name": "x"}), field)
        assert (await maker.ask("POST", json={"name": "x", field: own})).status == 201
    free = Maker(house, org, await made(house, org, kind="management"))
    assert (await free.ask("POST", json={"name": "x"})).status == 201


async def test_it_may_always_take_away(house: House, org: UUID, maker: Maker) -> None:
    wider = await made(house, org)
    assert (await maker.ask("DELETE", f"/{wider['id']}")).status == 200


async def test_a_refusal_leaves_the_idempotency_key_free(house: House, org: UUID, maker: Maker) -> None:
    key = {"idempotency-key": "k"}
    refused(await maker.ask("POST", json={"name": "x"}, headers=key), "expires_at")
    assert (await maker.ask("POST", json={"name": "x", **OWN}, headers=key)).status == 201


async def test_people_and_the_operator_are_not_bound(house: House, org: UUID, maker: Maker) -> None:
    await house.new_user(org, "anna")
    path = f"/api/orgs/{org}/keys"
    for credential in (by_secret(org=org, sub="anna", roles=["org_admin"]), None):
        key = await house.ask("POST", path, key=credential, json={"name": "x"}) if credential else None
        key = key or await house.operate("POST", path, {"name": "x"})
        assert (key.status, key.json["models"], key.json["ip_allow"]) == (201, None, None)


async def test_a_kind_makes_no_other_but_management(house: House, org: UUID) -> None:
    """No endpoint lets such a key ask; the rule holds all the same."""
    by, keys = Origin(actor="test"), house.api.keys
    for own in (KeyKind.INFERENCE, KeyKind.SANDBOX):
        asker = UUID((await made(house, org, kind=own))["id"])
        for kind in KeyKind:
            facts: dict[str, Any] = {"models": None, "ip_allow": None, "user_id": None, "expires_at": None}
            wish = keys.create_once(org, name="x", kind=kind, within=asker, by=by, idempotency=None, **facts)
            if kind is own:
                await wish
            else:
                with pytest.raises(Forbidden) as refusal:
                    await wish
                assert refusal.value.param == "kind"


# --- budgets of keys --------------------------------------------------------------------------------------------------


async def limit(house: House, org: UUID, id: str, who: str | None = None, **terms: Any) -> Answer:
    path, body = f"/api/orgs/{org}/budgets", {"scope": "key", "scope_id": id, "period": "day", **terms}
    return await (house.ask("PUT", path, key=who, json=body) if who else house.operate("PUT", path, body))


async def budgets_of(house: House, org: UUID, id: str) -> dict[str, tuple[Any, Any]]:
    found = (await house.operate("GET", f"/api/orgs/{org}/budgets")).json["data"]
    return {one["period"]: (one["max"], one["open_max"]) for one in found if one["scope_id"] == id}


async def test_what_a_limited_key_makes_is_limited_alike(house: House, org: UUID) -> None:
    maker = Maker(house, org, await made(house, org, kind="management"))
    await limit(house, org, maker.id, max="5")
    await limit(house, org, maker.id, period="lifetime", open_max=2)
    limits = {"day": ("5.000000", None), "lifetime": (None, 2)}
    child = (await maker.ask("POST", json={"name": "x", "kind": "management"})).json
    assert await budgets_of(house, org, child["id"]) == limits
    spent = await house.ask("POST", "/api/credits/deduct", key=child["key"], json={"amount": 6, "reason": "x"})
    assert spent.json["code"] == "budget_exceeded"
    rotated = (await maker.ask("POST", f"/{child['id']}/rotate", {})).json
    assert await budgets_of(house, org, rotated["id"]) == limits


async def test_a_limited_key_does_not_raise_limits_of_keys(house: House, org: UUID) -> None:
    maker = Maker(house, org, await made(house, org, kind="management"))
    other = (await made(house, org))["id"]
    await limit(house, org, maker.id, max="5")
    await limit(house, org, maker.id, period="lifetime", open_max=2)
    own = {one["period"]: one["id"] for one in (await house.operate("GET", f"/api/orgs/{org}/budgets")).json["data"]}
    for id in (maker.id, other):
        refused(await limit(house, org, id, maker.key, max="5.000001"), "max")
        refused(await limit(house, org, id, maker.key, period="lifetime", open_max=3), "open_max")
        refused(await limit(house, org, id, maker.key, period="lifetime", max=9), "open_max")
    refused(await house.ask("DELETE", f"/api/orgs/{org}/budgets/{own['day']}", key=maker.key), "max")
    refused(await house.ask("DELETE", f"/api/orgs/{org}/budgets/{own['lifetime']}", key=maker.key), "open_max")
    assert await budgets_of(house, org, other) == {}
    assert (await limit(house, org, maker.id, maker.key, max="4.5")).status == 200
    assert (await limit(house, org, other, maker.key, max="4.5")).status == 200
    assert (await limit(house, org, other, maker.key, period="month", max="1000")).status == 200
    assert (await limit(house, org, maker.id, max="6")).status == 200


async def test_a_limited_key_rotates_and_changes_none_that_is_limited_less(house: House, org: UUID) -> None:
    maker = Maker(house, org, await made(house, org, kind="management"))
    other = (await made(house, org))["id"]
    await limit(house, org, maker.id, max="5")
    for most in (None, "6"):
        if most is not None:
            await limit(house, org, other, max=most)
        refused(await maker.ask("POST", f"/{other}/rotate", {}), "budgets")
        refused(await maker.ask("PATCH", f"/{other}", {"name": "mine"}), "budgets")
    await limit(house, org, other, max="5")
    assert (await maker.ask("PATCH", f"/{other}", {"name": "mine"})).status == 200
    assert (await maker.ask("POST", f"/{other}/rotate", {})).status == 201


async def test_the_rule_looks_at_the_key_as_it_is_now(house: House, org: UUID) -> None:
    """What is remembered of the asker may be some moments old."""
    maker = Maker(house, org, await made(house, org, kind="management"))
    assert (await maker.ask("GET")).status == 200
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await house.operate("PATCH", f"/api/orgs/{org}/keys/{maker.id}", {"expires_at": until})
    refused(await maker.ask("POST", json={"name": "x"}), "expires_at")
