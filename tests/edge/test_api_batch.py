"""/api/credits/batch: an answer for each item, in order; one that fails stops no other; nothing is done twice."""

from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
import pytest

from gateway.edge.api import batch as batch_
from tests.edge.conftest import Answer, House


async def send(house: House, items: list[dict[str, Any]], **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await house.operate("POST", "/api/credits/batch", {"items": items}, headers=named)


def deduct(org: UUID, amount: object, **more: Any) -> dict[str, Any]:
    return {"operation": "deduct", "body": {"organization_id": str(org), "amount": amount, "reason": "x"}, **more}


async def test_items_are_done_in_order_and_each_is_answered(house: House) -> None:
    org, other = await house.new_org(credits="1"), await house.new_org("Other")
    add = {"organization_id": str(org), "amount": 9, "transaction_type": "BONUS", "reason": "X"}
    answer = await send(
        house,
        [
            deduct(org, 5),
            {"operation": "add", "body": add},
            deduct(org, 5),
            deduct(other, 1),
            {"operation": "usage", "body": {"organization_id": str(org), "amount": -1}},
            {"operation": "validate", "body": {"organization_id": str(org), "amount": 5}},
            {"operation": "refund", "body": {"organization_id": str(org), "charge_id": str(org)}},
            deduct(UUID(int=7), 1),
            deduct(org, 2),
        ],
    )
    assert answer.status == 200
    assert [item["status"] for item in answer.json["data"]] == [402, 201, 201, 402, 400, 200, 404, 404, 201]
    assert answer.json["failed"] == 5
    first, negative = answer.json["data"][0]["body"], answer.json["data"][4]["body"]
    assert (first["code"], first["available"]) == ("insufficient_credits", "1.000000")
    assert negative["errors"][0]["field"] == "amount"
    assert await house.available_ucr(org) == 3_000_000


async def test_an_item_that_cannot_be_read_sinks_no_other(house: House) -> None:
    org = await house.new_org(credits="10")
    wrong: list[tuple[Any, str]] = [
        ({"operation": "steal", "body": {}}, "operation"),
        ({"operation": "deduct", "body": 5}, "body"),
        ({"operation": "deduct"}, "body"),
        (deduct(org, 1, colour="red"), "colour"),
        (deduct(org, 1, idempotency_key=""), "idempotency_key"),
        ("deduct", "items[5]"),
        ([deduct(org, 1)], "items[6]"),
        (None, "items[7]"),
    ]
    answer = await send(house, [*(item for item, _ in wrong), deduct(org, 1)])
    assert answer.status == 200
    *refused, done = answer.json["data"]
    assert [(item["status"], item["body"]["errors"][0]["field"]) for item in refused] == [(400, f) for _, f in wrong]
    assert (done["status"], answer.json["failed"]) == (201, len(wrong))
    assert await house.available_ucr(org) == 9_000_000


async def test_a_batch_that_is_sent_again_does_nothing_twice(house: House) -> None:
    org = await house.new_org(credits="10")
    items = [deduct(org, 1), deduct(org, 1), deduct(org, 1, idempotency_key="mine"), deduct(org, 100)]
    first = await send(house, items, idempotency_key="batch")
    again = await send(house, items, idempotency_key="batch")
    assert [item["status"] for item in again.json["data"]] == [201, 201, 201, 402]
    assert [item["replayed"] for item in first.json["data"]] == [False] * 4
    assert [item["replayed"] for item in again.json["data"]] == [True, True, True, False]
    assert [item["body"].get("id") for item in first.json["data"]] == [
        item["body"].get("id") for item in again.json["data"]
    ]
    assert await house.available_ucr(org) == 7_000_000
    other = await send(house, [deduct(org, 2)], idempotency_key="batch")
    assert other.json["data"][0]["status"] == 422


async def test_an_operation_is_recorded_once_in_whichever_batch_it_comes(house: House) -> None:
    org = await house.new_org(credits="10")
    usage = {"organization_id": str(org), "amount": 2, "operation_id": "op"}
    for batch, replayed in (("one", False), ("two", True)):
        answer = await send(house, [{"operation": "usage", "body": usage}], idempotency_key=batch)
        assert [(item["status"], item["replayed"]) for item in answer.json["data"]] == [(201, replayed)]
    alone = await house.operate("POST", "/api/credits/usage", usage)
    assert (alone.status, alone.headers["idempotent-replayed"]) == (201, "true")
    assert await house.available_ucr(org) == 8_000_000


async def test_a_batchs_key_is_of_the_operations_that_came_with_it(house: House) -> None:
    org = await house.new_org(credits="10")

    def usage(operation: str) -> dict[str, Any]:
        return {
            "operation": "usage",
            "body": {"organization_id": str(org), "amount": 2, "operation_id": operation},
        }

    await send(house, [usage("first"), usage("second")], idempotency_key="batch")
    other = await send(house, [usage("first"), usage("third")], idempotency_key="batch")
    assert [(item["status"], item["replayed"]) for item in other.json["data"]] == [(201, True), (422, False)]
    assert other.json["data"][1]["body"]["code"] == "idempotency_mismatch"
    assert await house.available_ucr(org) == 6_000_000


async def test_each_item_needs_its_own_right(house: House) -> None:
    org = await house.new_org(credits="10")
    key = await house.new_key(org)
    add = {"organization_id": str(org), "amount": 9, "transaction_type": "BONUS", "reason": "X"}
    items = [{"operation": "add", "body": add}, {"operation": "deduct", "body": {"amount": 1, "reason": "x"}}]
    answer = await house.ask("POST", "/api/credits/batch", key=key, json={"items": items})
    assert [item["status"] for item in answer.json["data"]] == [403, 201]
    assert await house.available_ucr(org) == 9_000_000


async def test_a_batch_is_bounded(house: House) -> None:
    org = await house.new_org(credits="1000")
    full = await send(house, [deduct(org, "0.5")] * batch_.ITEMS_MAX)
    assert (full.status, full.json["failed"], len(full.json["data"])) == (200, 0, 1_000)
    assert await house.available_ucr(org) == 500_000_000
    for items in ([], [deduct(org, 1)] * (batch_.ITEMS_MAX + 1)):
        assert (await send(house, items)).field == "items"
    long = BytesIO(msgspec.json.encode({"items": [deduct(org, "1" * batch_.BODY_BYTES_MAX)]}))
    assert (await house.operate("POST", "/api/credits/batch", data=long)).status == 413
    assert await house.available_ucr(org) == 500_000_000


async def test_items_beyond_the_batchs_time_are_not_begun(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    org = await house.new_org(credits="10")
    monkeypatch.setattr(batch_, "WORK_S_MAX", 0.0)
    answer = await send(house, [deduct(org, 1), deduct(org, 1)])
    assert [item["status"] for item in answer.json["data"]] == [503, 503]
    assert await house.available_ucr(org) == 10_000_000


async def test_a_batch_that_is_none_is_refused_as_a_whole(house: House) -> None:
    org = await house.new_org(credits="10")
    for body, field in (
        ({"items": {"operation": "add"}}, "items"),
        ({"items": [deduct(org, 1)], "colour": "red"}, "colour"),
        ({}, "items"),
    ):
        assert (await house.operate("POST", "/api/credits/batch", body)).field == field
    assert await house.available_ucr(org) == 10_000_000


async def test_a_key_given_twice_in_an_item_is_that_items_problem(house: House) -> None:
    org = await house.new_org(credits="10")
    item = f'{{"operation": "deduct", "body": {{"organization_id": "{org}", "amount": 1, "amount": 2, "reason": "x"}}}}'
    answer = await house.operate("POST", "/api/credits/batch", f'{{"items": [{item}]}}'.encode())
    assert answer.json["data"][0]["body"]["errors"][0]["field"] == "amount"
    assert await house.available_ucr(org) == 10_000_000
