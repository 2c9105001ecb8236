"""A member is shown the organisation's balance and their own rows; who reads for everybody is shown everybody's."""

import csv
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.core.access import Role
from gateway.edge.api.table import ENDPOINTS
from gateway.identity.tokens import TokenSettings
from tests.edge.conftest import OPERATOR, TOKENS, House
from tests.edge.test_api_credits import add
from tests.edge.test_api_spending import key_of_user
from tests.edge.test_api_transactions import call
from tests.fakes.issuer import by_secret

SEEING_ALL = ("operator", "org_admin", "billing", "viewer", "manager", "application", "annas manager", "both roles")
SEEING_OWN = ("member", "annas application", "annas sandbox")
SEEING_NONE = ("stranger",)
"""A member whom only a token knows: nothing here is in their name."""


@pytest.fixture
def token_settings() -> TokenSettings:
    return msgspec.structs.replace(TOKENS, users="claimed")


class Scene:
    """Anna, ben and the organisation have credits, a call that has ended, one that is open, and a budget each."""

    def __init__(self, house: House, org: UUID, anna: UUID, ben: UUID) -> None:
        self.house, self.org, self.anna, self.ben = house, org, anna, ben
        self.credentials: dict[str, str] = {"operator": OPERATOR}
        self.grants: dict[str, str] = {}
        self.calls: dict[str, str] = {}
        self.open: dict[str, str] = {}
        self.budgets: dict[str, str] = {}

    async def ask(self, who: str, path: str, query: str = "") -> Any:
        answer = await self.house.ask(
            "GET", f"{path}?organization_id={self.org}{query}", key=self.credentials[who], json=None
        )
        assert answer.status == 200, (who, path, answer.body)
        return answer

    async def status(self, who: str, path: str, query: str) -> int:
        path = f"{path}?organization_id={self.org}{query}"
        return (await self.house.ask("GET", path, key=self.credentials[who])).status


@pytest.fixture
async def scene(house: House, pool: asyncpg.Pool) -> Scene:
    org = await house.new_org()
    anna, ben = await house.new_user(org, "anna"), await house.new_user(org, "ben")
    scene = Scene(house, org, anna, ben)
    for who, wish in (("org", {}), ("anna", {"user_id": str(anna)}), ("ben", {"user_id": str(ben)})):
        scene.grants[who] = (await add(house, org, amount="10", **wish)).json["id"]
    for role in ("org_admin", "billing", "viewer", "member"):
        scene.credentials[role] = by_secret(org=org, sub="anna", roles=[role])
    scene.credentials["both roles"] = by_secret(org=org, sub="anna", roles=["member", "billing"])
    scene.credentials["stranger"] = by_secret(org=org, sub="cleo", roles=["member"])
    for role, kind in (("manager", "management"), ("application", "inference"), ("sandbox", "sandbox")):
        scene.credentials[role] = await house.new_key(org, kind=kind)
        scene.credentials[f"annas {role}"] = await house.new_key(org, kind=kind, user_id=str(anna))
    await key_of_user(pool, org, ben)
    for who, user in (("org", None), ("anna", anna), ("ben", ben)):
        scene.calls[who] = str(await call(house, org, 5, user_id=user))
        scene.open[who] = str(await call(house, org, None, user_id=user))
        place = {"scope": "org"} if user is None else {"scope": "user", "scope_id": str(user)}
        terms = {**place, "period": "month", "max": "1000"}
        scene.budgets[who] = (await house.operate("PUT", f"/api/orgs/{org}/budgets", terms)).json["id"]
    found = (await house.operate("GET", f"/api/orgs/{org}/keys?limit=200")).json["data"]
    for who, user in (("annas key", anna), ("bens key", ben)):
        id = next(one["id"] for one in found if one["user_id"] == str(user))
        terms = {"scope": "key", "scope_id": id, "period": "day", "max": "1000"}
        scene.budgets[who] = (await house.operate("PUT", f"/api/orgs/{org}/budgets", terms)).json["id"]
    return scene


def test_the_page_says_on_which_routes() -> None:
    own = {endpoint.path for endpoint in ENDPOINTS if endpoint.own_without is not None}
    assert {f"/api/credits/{name}" for name in ("balance", "transactions", "history", "statistics", "export")} < own
    assert "/api/orgs/{org_id}/budgets" in own
    assert Role.MEMBER not in SEEING_ALL


def meant(scene: Scene, who: str, of: dict[str, str]) -> set[str]:
    if who in SEEING_ALL:
        return set(of.values())
    return {id for name, id in of.items() if name.startswith("anna")} if who in SEEING_OWN else set()


WHO = (*SEEING_ALL, *SEEING_OWN, *SEEING_NONE)


@pytest.mark.parametrize("who", WHO)
async def test_transactions(scene: Scene, who: str) -> None:
    rows = (await scene.ask(who, "/api/credits/transactions", "&include=reservations")).json
    assert {row["id"] for row in rows["data"]} == meant(scene, who, scene.calls) | meant(scene, who, scene.grants)
    assert rows["total"] == len(rows["data"])
    assert {one["id"] for one in rows["reservations"]} == meant(scene, who, scene.open)


@pytest.mark.parametrize("who", WHO)
async def test_history(scene: Scene, who: str) -> None:
    rows = (await scene.ask(who, "/api/credits/history")).json["data"]
    assert {row["id"] for row in rows} == meant(scene, who, scene.calls) | meant(scene, who, scene.grants)


@pytest.mark.parametrize("who", WHO)
async def test_export(scene: Scene, who: str) -> None:
    rows = csv.DictReader((await scene.ask(who, "/api/credits/export")).body.decode().splitlines())
    assert {row["id"] for row in rows} == meant(scene, who, scene.calls) | meant(scene, who, scene.grants)


@pytest.mark.parametrize("who", WHO)
async def test_statistics(scene: Scene, who: str) -> None:
    calls = len(meant(scene, who, scene.calls))
    for group in ("user", "day", "key", "model"):
        found = (await scene.ask(who, "/api/credits/statistics", f"&group_by={group}")).json
        assert (found["total"]["calls"], sum(one["calls"] for one in found["data"])) == (calls, calls)


@pytest.mark.parametrize("who", WHO)
async def test_the_balance_is_the_organisations_and_its_grants_no_colleagues(scene: Scene, who: str) -> None:
    found = (await scene.ask(who, "/api/credits/balance")).json
    assert (found["granted"], found["open_count"]) == ("30.000000", 3)
    assert {one["id"] for one in found["grants"]} == meant(scene, who, scene.grants) | {scene.grants["org"]}


@pytest.mark.parametrize("who", WHO)
async def test_budgets(scene: Scene, who: str) -> None:
    found = await scene.house.ask("GET", f"/api/orgs/{scene.org}/budgets", key=scene.credentials[who])
    assert {one["id"] for one in found.json["data"]} == meant(scene, who, scene.budgets) | {scene.budgets["org"]}
    assert found.json["total"] == len(found.json["data"])


async def test_a_colleagues_are_asked_for_in_vain(scene: Scene) -> None:
    paths = [("balance", "user_id"), ("history", "user_id")]
    paths += [(name, "user") for name in ("transactions", "statistics", "export")]
    for path, name in paths:
        for who in WHO:
            status = 200 if who in SEEING_ALL else 403
            assert await scene.status(who, f"/api/credits/{path}", f"&{name}={scene.ben}") == status, (who, path)
            status = 200 if who not in SEEING_NONE else 403
            assert await scene.status(who, f"/api/credits/{path}", f"&{name}={scene.anna}") == status, (who, path)
