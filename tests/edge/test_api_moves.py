"""/api/credits: transfers, refunds and voids, each exact and once."""

import asyncio
from typing import Any
from uuid import UUID

from tests.edge.conftest import Answer, House


async def ask(house: House, what: str, org: UUID, **body: Any) -> Answer:
    headers = body.pop("headers", {})
    return await house.operate("POST", f"/api/credits/{what}", {"organization_id": str(org), **body}, headers=headers)


async def test_credits_go_from_the_pool_to_a_user_and_back(house: House) -> None:
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    there = await ask(house, "transfers", org, from_account_id=str(org), to_account_id=str(anna), amount="2.5")
    assert (there.status, there.json["amount"]) == (201, "2.500000")
    assert (there.json["source"]["balance"], there.json["target"]["balance"]) == ("7.500000", "2.500000")
    back = await ask(house, "transfers", org, from_account_id=str(anna), to_account_id=str(org), amount=3)
    assert (back.status, back.json["code"], back.json["available"]) == (402, "insufficient_credits", "2.500000")
    back = await ask(house, "transfers", org, from_account_id=str(anna), to_account_id=str(org), amount="2.5")
    assert back.json["target"]["balance"] == "10.000000"


async def test_many_at_once_with_one_key_transfer_once(house: House) -> None:
    org = await house.new_org(credits="10")
    anna = await house.new_user(org)
    move = {"from_account_id": str(org), "to_account_id": str(anna), "amount": 4, "headers": {"idempotency-key": "k"}}
    answers = await asyncio.gather(*(ask(house, "transfers", org, **dict(move)) for _ in range(5)))
    assert len({answer.json["id"] for answer in answers}) == 1
    assert answers[0].json["source"]["balance"] == "6.000000"


async def test_credits_never_leave_their_organisation(house: House) -> None:
    org, other = await house.new_org(credits="10"), await house.new_org("Other", credits="10")
    for source, target in ((org, other), (other, org)):
        answer = await ask(house, "transfers", org, from_account_id=str(source), to_account_id=str(target), amount=1)
        assert answer.status == 404
    assert await house.available_ucr(org) == await house.available_ucr(other) == 10_000_000
    same = await ask(house, "transfers", org, from_account_id=str(org), to_account_id=str(org), amount=1)
    assert same.status == 400


async def test_a_charge_is_refunded_in_parts_and_never_above_it(house: House) -> None:
    org = await house.new_org(credits="10")
    charge = (await ask(house, "deduct", org, amount=6, reason="x")).json["id"]
    part = await ask(house, "refunds", org, charge_id=charge, amount=2, reason="it failed")
    assert (part.status, part.json["amount"], part.json["refundable"]) == (201, "2.000000", "4.000000")
    too_much = await ask(house, "refunds", org, charge_id=charge, amount=5)
    assert (too_much.status, too_much.field) == (400, "amount")
    answers = await asyncio.gather(*(ask(house, "refunds", org, charge_id=charge) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [201, 400, 400]
    assert await house.available_ucr(org) == 10_000_000


async def test_another_organisations_charge_and_grant_are_not_found(house: House) -> None:
    org, other = await house.new_org(credits="10"), await house.new_org("Other", credits="10")
    charge = (await ask(house, "deduct", other, amount=6, reason="x")).json["id"]
    grant = (await ask(house, "add", other, amount=1, transaction_type="BONUS", reason="X")).json["id"]
    assert (await ask(house, "refunds", org, charge_id=charge)).status == 404
    assert (await ask(house, "void", org, grant_id=grant)).status == 404
    assert await house.available_ucr(other) == 5_000_000


async def test_a_grant_is_voided_once_but_for_what_is_held_of_it(house: House) -> None:
    org = await house.new_org()
    grant = (await ask(house, "add", org, amount=10, transaction_type="BONUS", reason="X")).json["id"]
    await ask(house, "reservations", org, amount=4)
    made = await ask(house, "void", org, grant_id=grant, description="by mistake")
    assert (made.status, made.json["taken"], made.json["protected"]) == (200, "6.000000", "4.000000")
    again = await ask(house, "void", org, grant_id=grant)
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert (await house.ledger.balance(org)).balance_ucr == 4_000_000


async def test_credits_are_added_to_a_users_allocation(house: House) -> None:
    org, other = await house.new_org(), await house.new_org("Other")
    anna = await house.new_user(org)
    wish = {"amount": 3, "transaction_type": "BONUS", "reason": "X", "user_id": str(anna)}
    made = await ask(house, "add", org, **wish)
    assert (made.status, made.json["balance"]) == (201, "3.000000")
    assert (await ask(house, "add", other, **wish)).status == 404


async def test_an_organisations_key_may_neither_give_nor_move(house: House) -> None:
    org = await house.new_org(credits="10")
    key = await house.new_key(org)
    for what, body in (
        ("refunds", {"charge_id": str(org)}),
        ("void", {"grant_id": str(org)}),
        ("transfers", {"from_account_id": str(org), "to_account_id": str(org), "amount": 1}),
        ("add", {}),
        ("initialize", {}),
        ("monthly-allocation", {}),
    ):
        answer = await house.ask("POST", f"/api/credits/{what}", key=key, json=body)
        assert (answer.status, answer.json["code"]) == (403, "forbidden"), what
