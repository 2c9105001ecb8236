"""/api/credits: credits are added exactly and once, and the balance and its history say so."""

import asyncio
import uuid
from typing import Any

import pytest

from tests.edge.conftest import Answer, House, instant


async def add(house: House, org: object, amount: object = "1", **more: Any) -> Answer:
    headers = more.pop("headers", {})
    body = {
        "organization_id": str(org),
        "amount": amount,
        "transaction_type": "PURCHASE",
        "reason": "MANUAL_ADJUSTMENT",
    } | more
    return await house.operate("POST", "/api/credits/add", body, headers=headers)


async def balance_ucr(house: House, org: object) -> int:
    answer = await house.operate("GET", f"/api/credits/balance?organization_id={org}")
    assert answer.status == 200
    ucr = answer.json["balance_ucr"]
    assert isinstance(ucr, int)
    return ucr


async def test_an_addition_is_answered_with_the_balance_after_it(house: House) -> None:
    org = await house.new_org()
    await add(house, org, "1.5")
    answer = await add(
        house, org, "2.000001", transaction_type="BONUS", reason="WELCOME_BONUS", description="hello", priority=10
    )
    assert answer.status == 201
    assert instant(answer.json.pop("created_at")) == instant(answer.json.pop("effective_at"))
    body = answer.json
    for field in ("id", "created_at", "effective_at"):
        del body[field]
    assert body == {
        "organization_id": str(org),
        "account_id": str(org),
        "transaction_type": "BONUS",
        "reason": "WELCOME_BONUS",
        "description": "hello",
        "priority": 10,
        "amount_ucr": 2_000_001,
        "amount": "2.000001",
        "expires_at": None,
        "balance_ucr": 3_500_001,
        "held_ucr": 0,
        "available_ucr": 3_500_001,
        "receivable_ucr": 0,
        "balance": "3.500001",
        "held": "0.000000",
        "available": "3.500001",
        "receivable": "0.000000",
    }


async def test_amounts_are_taken_exactly_in_both_spellings(house: House) -> None:
    org = await house.new_org()
    for amount, ucr in [
        (b"1", 1_000_000),
        (b"1.0", 1_000_000),
        (b'"1"', 1_000_000),
        (b'"0.000001"', 1),
        (b"1e-6", 1),
        (b"0.1000000000", 100_000),
        (b'"9007199254.740991"', 2**53 - 1),
        (b"9007199254.740991", 2**53 - 1),
    ]:
        org = await house.new_org()
        body = b'{"organization_id":"%s","amount":%s,"transaction_type":"PURCHASE","reason":"X"}' % (
            str(org).encode(),
            amount,
        )
        answer = await house.operate("POST", "/api/credits/add", body)
        assert (answer.status, answer.json["amount_ucr"]) == (201, ucr), amount
        assert await balance_ucr(house, org) == ucr


async def test_what_is_no_amount_is_refused_naming_the_limit(house: House) -> None:
    org = await house.new_org()
    for amount, limit in [
        (b"0", "at least 0.000001"),
        (b'"0.0"', "at least 0.000001"),
        (b"-1", "9007199254.740991"),
        (b"1e999", "9007199254.740991"),
        (b"9007199254.740992", "9007199254.740991"),
        (b'"1e99999999"', "finite decimal"),
        (b"0.0000001", "6 decimal places"),
        (b"0.10000000000000000000000000000000000000001", "finite decimal"),
        (b'"0.1000000000000000000000000000000000001"', "6 decimal places"),
        (b'"NaN"', "finite decimal"),
        (b'"Infinity"', "finite decimal"),
        (b'"1_0"', "finite decimal"),
        (b'" 1"', "finite decimal"),
        (b'"\\u0661"', "finite decimal"),
        (b'""', "finite decimal"),
        (b"true", "decimal string or a number"),
        (b"null", "decimal string or a number"),
        (b"[1]", "decimal string or a number"),
    ]:
        body = b'{"organization_id":"%s","amount":%s,"transaction_type":"PURCHASE","reason":"X"}' % (
            str(org).encode(),
            amount,
        )
        answer = await house.operate("POST", "/api/credits/add", body)
        assert (answer.status, answer.field) == (400, "amount"), amount
        assert limit in answer.json["detail"], amount
    assert await balance_ucr(house, org) == 0


@pytest.mark.parametrize("body", [b"NaN", b'{"amount": NaN}', b"", b"[", b"[]", b'"x"', b"\xff", b"[" * 50_000])
async def test_what_is_no_json_object_is_refused(house: House, body: bytes) -> None:
    answer = await house.operate("POST", "/api/credits/add", body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_wrong_field_is_refused_by_its_name(house: House) -> None:
    org = await house.new_org()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"organization_id": "acme"}, "organization_id"),
        ({"organization_id": 7}, "organization_id"),
        ({"transaction_type": "USAGE"}, "transaction_type"),
        ({"transaction_type": "purchase"}, "transaction_type"),
        ({"transaction_type": None}, "transaction_type"),
        ({"reason": ""}, "reason"),
        ({"reason": "because"}, "reason"),
        ({"reason": "A" * 65}, "reason"),
        ({"description": "x" * 1001}, "description"),
        ({"description": "a\0b"}, "description"),
        ({"priority": -1}, "priority"),
        ({"priority": 40_000}, "priority"),
        ({"priority": 1.5}, "priority"),
        ({"priority": True}, "priority"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2100-01-01T00:00:00"}, "expires_at"),
        ({"note": "x"}, "note"),
    ]
    for wrong, field in cases:
        answer = await add(house, org, **wrong)
        assert (answer.status, answer.field) == (400, field), wrong
    assert await balance_ucr(house, org) == 0


@pytest.mark.parametrize("missing", ["organization_id", "amount", "transaction_type", "reason"])
async def test_a_missing_field_is_refused_by_its_name(house: House, missing: str) -> None:
    body = {"organization_id": str(uuid.uuid4()), "amount": 1, "transaction_type": "BONUS", "reason": "X"}
    del body[missing]
    answer = await house.operate("POST", "/api/credits/add", body)
    assert (answer.status, answer.field) == (400, missing)


async def test_an_unknown_org_is_not_found(house: House) -> None:
    nobody = uuid.uuid4()
    assert (await add(house, nobody)).status == 404
    for path in ("balance", "transactions"):
        assert (await house.operate("GET", f"/api/credits/{path}?organization_id={nobody}")).status == 404


async def test_a_sum_past_the_largest_amount_is_refused_and_changes_nothing(house: House) -> None:
    org = await house.new_org(credits="9007199254.740991")
    assert (await add(house, org, "0.000001")).status == 400
    assert await balance_ucr(house, org) == 2**53 - 1


async def test_a_body_past_its_limit_is_refused_unread(house: House) -> None:
    answer = await add(house, await house.new_org(), description="x" * 65_536)
    assert (answer.status, answer.json["code"]) == (413, "request_too_large")


async def test_a_compressed_body_is_refused(house: House) -> None:
    answer = await add(house, await house.new_org(), headers={"content-encoding": "gzip"})
    assert (answer.status, answer.json["code"]) == (415, "unsupported_encoding")


async def test_the_same_key_adds_once_and_is_answered_the_same(house: House) -> None:
    org = await house.new_org()
    first = await add(house, org, "5", headers={"Idempotency-Key": "one"})
    await add(house, org, "1")
    again = await add(house, org, 5.0, headers={"Idempotency-Key": "one"})
    assert (again.status, again.body) == (first.status, first.body)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert await balance_ucr(house, org) == 6_000_000


async def test_the_same_key_at_the_same_time_adds_once(house: House) -> None:
    org = await house.new_org()
    answers = await asyncio.gather(*(add(house, org, "5", headers={"Idempotency-Key": "one"}) for _ in range(8)))
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert await balance_ucr(house, org) == 5_000_000


@pytest.mark.parametrize("other", [{"amount": "6"}, {"reason": "OTHER"}, {"priority": 1}, {"description": "x"}])
async def test_the_same_key_with_another_body_is_refused(house: House, other: dict[str, Any]) -> None:
    org = await house.new_org()
    await add(house, org, "5", headers={"Idempotency-Key": "one"})
    answer = await add(house, org, **({"amount": "5"} | other), headers={"Idempotency-Key": "one"})
    assert (answer.status, answer.json["code"]) == (422, "idempotency_mismatch")
    assert await balance_ucr(house, org) == 5_000_000


async def test_the_same_key_of_another_org_is_another_key(house: House) -> None:
    for name in ("mine", "other"):
        org = await house.new_org(name)
        assert (await add(house, org, "5", headers={"Idempotency-Key": "one"})).status == 201
        assert await balance_ucr(house, org) == 5_000_000


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
async def test_an_idempotency_key_out_of_form_is_refused(house: House, key: str) -> None:
    answer = await add(house, await house.new_org(), headers={"Idempotency-Key": key})
    assert (answer.status, answer.field) == (400, "Idempotency-Key")


async def test_the_history_tells_what_changed_the_balance(house: House) -> None:
    org = await house.new_org()
    for amount, description in (("2", "first"), ("3", "second"), ("1", "third")):
        await add(house, org, amount, description=description)

    async def page(query: str) -> Any:
        answer = await house.operate("GET", f"/api/credits/transactions?organization_id={org}{query}")
        assert answer.status == 200
        return answer.json

    newest_first = await page("")
    assert [row["description"] for row in newest_first["data"]] == ["third", "second", "first"]
    assert {name: newest_first[name] for name in ("total", "limit", "offset")} == {"total": 3, "limit": 50, "offset": 0}
    row = newest_first["data"][0]
    assert (row["kind"], row["transaction_type"], row["reason"]) == ("GRANT", "PURCHASE", "MANUAL_ADJUSTMENT")
    assert (row["amount_ucr"], row["amount"]) == (1_000_000, "1.000000")
    assert (row["balance_after_ucr"], row["balance_after"]) == (6_000_000, "6.000000")
    by_amount = await page("&order_by=amount&order_direction=asc&limit=2&offset=1")
    assert [row["amount"] for row in by_amount["data"]] == ["2.000000", "3.000000"]
    assert by_amount["total"] == 3


async def test_a_wrong_query_is_refused_naming_the_parameter(house: House) -> None:
    org = await house.new_org()
    for query, field in [
        ("limit=0", "limit"),
        ("limit=1000", "limit"),
        ("offset=-1", "offset"),
        ("order_by=model", "order_by"),
        ("order_direction=up", "order_direction"),
        ("orderBy=amount", "orderBy"),
        ("organization_id=x", "organization_id"),
    ]:
        answer = await house.operate("GET", f"/api/credits/transactions?organization_id={org}&{query}")
        assert (answer.status, answer.field) == (400, field), query


async def test_a_query_without_an_org_is_refused(house: House) -> None:
    for path in ("balance", "transactions"):
        answer = await house.operate("GET", f"/api/credits/{path}")
        assert (answer.status, answer.field) == (400, "organization_id")


async def test_credits_that_expire_are_named_with_their_end(house: House) -> None:
    answer = await add(house, await house.new_org(), expires_at="2100-01-31T12:00:00.5+02:00")
    assert answer.json["expires_at"] == "2100-01-31T10:00:00.500000Z"


async def test_a_key_twice_is_refused_and_nothing_is_granted(house: House) -> None:
    org_id = await house.new_org()
    body = (
        f'{{"organization_id":"{org_id}","amount":1,"amount":0.5,'
        '"transaction_type":"PURCHASE","reason":"MANUAL_ADJUSTMENT"}'
    )
    answer = await house.operate("POST", "/api/credits/add", body.encode())
    assert (answer.status, answer.field) == (400, "amount")
    assert (await house.ledger.balance(org_id)).balance_ucr == 0
