"""Credits that nobody gave: amounts that are none, and one addition sent many times."""

import asyncio
from typing import Final
from uuid import uuid4

from gateway.attack.field import Attack, Field

AT_ONCE: Final = 20
GIFT_UCR: Final = 7_654_321
BAD_AMOUNTS: Final = (
    "0", "-1", '"-1"', "-0.000001", '"0.0000001"', "1e400", '"1e400"', "1e308", '"NaN"', '"Infinity"', '"-Infinity"',
    "NaN", "9007199254.740992", '"9007199254.740992"', "1000000000000000000000000", '"٣"', '""', '" "', '"0x10"',
    "true", "null", "[]", "[5]", "{}", '{"ucr": 5}', '"1,5"', '"1 000"', '"5\\u0000"', "01", "+1", ".5", "",
)  # fmt: skip
"""As they stand in the JSON."""
_REST: Final = '"transaction_type": "PURCHASE", "reason": "MANUAL_ADJUSTMENT"'


async def bad_amounts(field: Field) -> None:
    org = await field.client.org()
    for amount in BAD_AMOUNTS:
        for key in (None, uuid4().hex):
            answer = await field.client.add_raw(org, amount, idempotency_key=key)
            field.expect_refused(answer, f"the amount {amount or '(none)'}")


async def bad_bodies(field: Field) -> None:
    """A field twice, in another spelling, of another type: each could be read in two ways."""
    org = await field.client.org()
    of = f'"organization_id": "{org.id}"'
    bodies = (
        f'{{{of}, "amount": "1", "amount": "1000", {_REST}}}',
        f'{{{of}, "amount": "1", "Amount": "1000", {_REST}}}',
        f'{{{of}, "amount": "1", "org_id": "x", {_REST}}}',
        f"{{{of}, {_REST}}}",
        f'[{{{of}, "amount": "1", {_REST}}}]',
        f'{{{of}, "amount": "1", {_REST}',
        f'{{{of}, "amount": "1", "transaction_type": "GIFT", "reason": "MANUAL_ADJUSTMENT"}}',
    )
    headers = {"content-type": "application/json"}
    for body in bodies:
        answer = await field.client.operate("POST", "/credits/add", data=body.encode(), headers=headers)
        field.expect_refused(answer, f"the body {body.replace(org.id, '…')}")


async def one_key_at_once(field: Field) -> None:
    org, key = await field.client.org(), uuid4().hex
    answers = await asyncio.gather(*(field.client.add(org, GIFT_UCR, idempotency_key=key) for _ in range(AT_ONCE)))
    org.granted_ucr += GIFT_UCR
    field.expect(all(answer.status == 201 for answer in answers), "a repetition was refused")
    ids = {answer.body["id"] for answer in answers if answer.status == 201}
    field.expect(len(ids) == 1, f"one addition was answered with {len(ids)} ids")


async def one_key_two_bodies(field: Field) -> None:
    org, key = await field.client.org(), uuid4().hex
    amounts_ucr = [GIFT_UCR + number for number in range(AT_ONCE)]
    answers = await asyncio.gather(*(field.client.add(org, ucr, idempotency_key=key) for ucr in amounts_ucr))
    taken = [ucr for ucr, answer in zip(amounts_ucr, answers, strict=True) if answer.status == 201]
    org.granted_ucr += sum(taken)
    field.expect(len(taken) == 1, f"one key brought {len(taken)} different additions")
    for answer in answers:
        if answer.status != 201:
            field.expect_refused(answer, "another body under the same key")


async def without_a_key(field: Field) -> None:
    """Each is an addition of its own, and none may get lost."""
    org = await field.client.org()
    answers = await asyncio.gather(*(field.client.add(org, GIFT_UCR) for _ in range(AT_ONCE)))
    org.granted_ucr += GIFT_UCR * sum(answer.status == 201 for answer in answers)
    field.expect(all(answer.status == 201 for answer in answers), "an addition was refused")


ATTACKS: Final = (
    Attack("bad amounts", "negative, huge, tiny and malformed amounts to /api/credits/add", bad_amounts),
    Attack("ambiguous additions", "a field twice, in two spellings, or unknown", bad_bodies),
    Attack("one idempotency key", "the same addition twenty times at once", one_key_at_once),
    Attack("one key, many bodies", "twenty different additions under one key", one_key_two_bodies),
    Attack("no idempotency key", "twenty equal additions at once, each meant", without_a_key),
)
