"""Days and instants on /api: those near a calendar's ends, where an offset leads out of it, are refused by name."""

from typing import Any

import pytest

from tests.edge.conftest import House

EARLY = ("0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z")
LATE = ("9999-12-31T23:59:59-12:00", "9000-01-01T00:00:00Z")
RANGE = "must be of the years 1970 to 8999"
PRICE = {"provider": "openai", "model": "gpt-5", "input_per_million": "1"}
ADDITION = {"amount": "1", "transaction_type": "PURCHASE", "reason": "MANUAL_ADJUSTMENT"}


@pytest.mark.parametrize("instant", [*EARLY, *LATE])
async def test_an_instant_in_a_body_is_of_years_that_can_be_counted(house: House, instant: str) -> None:
    org = str(await house.new_org())
    key = (await house.operate("POST", f"/api/orgs/{org}/keys", {"name": "k"})).json["id"]
    addition = ADDITION | {"organization_id": org, "expires_at": instant}
    asked: list[tuple[str, str, dict[str, Any], str]] = [
        ("POST", "/api/credits/pricing", PRICE | {"effective_from": instant}, "effective_from"),
        ("POST", "/api/credits/pricing", PRICE | {"effective_until": instant}, "effective_until"),
        ("POST", f"/api/orgs/{org}/keys", {"name": "web", "expires_at": instant}, "expires_at"),
        ("PATCH", f"/api/orgs/{org}/keys/{key}", {"expires_at": instant}, "expires_at"),
        ("POST", f"/api/orgs/{org}/keys/{key}/rotate", {"expires_at": instant}, "expires_at"),
        ("POST", "/api/credits/add", addition, "expires_at"),
    ]
    for method, path, body, field in asked:
        answer = await house.operate(method, path, body)
        assert (answer.status, answer.field) == (400, field), path
        assert RANGE in answer.json["detail"]
    batch = await house.operate("POST", "/api/credits/batch", {"items": [{"operation": "add", "body": addition}]})
    (item,) = batch.json["data"]
    assert (item["status"], item["body"]["errors"][0]["field"]) == (400, "expires_at")


@pytest.mark.parametrize("instant", [*EARLY, *LATE])
async def test_so_is_one_in_a_query(house: House, instant: str) -> None:
    org = str(await house.new_org())
    gpt_5 = "/api/credits/pricing/openai/gpt-5"
    for method, path, field, said in (
        ("GET", "/api/credits/pricing", "at", instant),
        ("GET", gpt_5, "at", instant),
        ("DELETE", gpt_5, "at", instant),
        ("GET", "/api/credits/transactions", "from", instant),
        ("GET", "/api/credits/statistics", "from", instant[:10]),
        ("GET", "/api/credits/statistics", "to", instant[:10]),
    ):
        named = {"organization_id": org} if method == "GET" else {}
        answer = await house.operate(method, path, params={field: said, **named})
        assert (answer.status, answer.field) == (400, field), path
        assert RANGE in answer.json["detail"]


async def test_the_document_says_which_years(house: House) -> None:
    document = (await house.ask("GET", "/api/openapi.json")).json
    schema = document["components"]["schemas"]["NewKey"]["properties"]["expires_at"]["anyOf"]
    (instant,) = [one for one in schema if one.get("format") == "date-time"]
    assert "1970 to 8999" in instant["description"]
    assert instant["pattern"].startswith("^(19[7-9][0-9]|[2-8][0-9]{3})-")


async def test_an_offset_is_one_that_the_database_can_read(house: House) -> None:
    path = f"/api/orgs/{await house.new_org()}/keys"
    key = (await house.operate("POST", path, {"name": "k"})).json["id"]
    far = await house.operate("PATCH", f"{path}/{key}", {"expires_at": "2099-01-01T00:00:00-21:28"})
    assert (far.status, far.field) == (400, "expires_at")
    assert "16 hours" in far.json["detail"]
    near = await house.operate("PATCH", f"{path}/{key}", {"expires_at": "2099-01-01T00:00:00-15:59"})
    assert near.status == 200
