"""What is another's: keys that were revoked, calls of another organisation, the operator's door."""

import asyncio
from typing import Final
from uuid import uuid4

from gateway.attack.field import PLENTY_UCR, Attack, Directions, Field

CALLERS: Final = 10


async def revoked_in_use(field: Field) -> None:
    """Open calls go on with what they hold; no new one begins."""
    client = field.client
    org = await client.org(credits_ucr=PLENTY_UCR)
    pace: Directions = {"output_tokens": 100, "interval_ms": 3} if field.steered else {}
    calls = asyncio.gather(*(client.call(org, client.body(max_tokens=100), **pace) for _ in range(CALLERS)))
    revoked = await client.operate("DELETE", f"/orgs/{org.id}/keys/{org.key_id}")
    field.expect(revoked.status == 200, f"the revocation was answered with {revoked.status}")
    late = await asyncio.gather(*(client.call(org, client.body(max_tokens=100)) for _ in range(CALLERS)))
    field.expect(all(call.status == 401 for call in late), "a revoked key was served")
    await calls


async def anothers_calls(field: Field) -> None:
    client = field.client
    owner, thief = await client.org(credits_ucr=PLENTY_UCR), await client.org(credits_ucr=PLENTY_UCR)
    call = await client.call(owner, client.body(stream=False, max_tokens=20))
    field.expect(call.status == 200, f"the call was answered with {call.status}")
    for id in (call.id, call.provider_id):
        answers = [
            await client.ask(
                "GET", "/v1/generation", params={"id": str(id)}, headers={"authorization": f"Bearer {key}"}
            )
            for key in (owner.key, thief.key)
        ]
        field.expect(answers[0].status == 200, f"its owner cannot find the call {id}: {answers[0].status}")
        field.expect(answers[1].status == 404, f"another organisation's call was answered with {answers[1].status}")


async def operators_door(field: Field) -> None:
    """An organisation's key reads of its own, sees no other and changes nothing; a wrong one opens nothing."""
    client = field.client
    org, other = await client.org(), await client.org()
    for key in (org.key, "", "op-", uuid4().hex):
        headers = {"authorization": f"Bearer {key}"}
        for method, path in (
            ("GET", f"/orgs/{other.id}"),
            ("GET", f"/credits/balance?organization_id={other.id}"),
            ("POST", f"/orgs/{org.id}/keys"),
            ("POST", "/orgs"),
        ):
            answer = await client.operate(method, path, headers=headers)
            field.expect(
                answer.status in (401, 403, 404, 429),
                f"{method} /api{path.partition('?')[0]} without the operator's key",
            )
        body = {
            "organization_id": org.id,
            "amount": "1",
            "transaction_type": "PURCHASE",
            "reason": "MANUAL_ADJUSTMENT",
        }
        added = await client.operate("POST", "/credits/add", json=body, headers=headers)
        field.expect(added.status in (401, 403, 429), "credits were added without the operator's key")


async def no_key(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    for key in (org.key[:-1], org.key + "x", org.key.swapcase(), "x"):
        call = await field.client.call(org, field.client.body(), key=key)
        field.expect(call.status == 401, f"a key that is none was answered with {call.status}")


ATTACKS: Final = (
    Attack("revoked in use", "go on with a key that was just revoked", revoked_in_use),
    Attack("another's calls", "look at another organisation's calls", anothers_calls),
    Attack("the operator's door", "come to /api with an organisation's key", operators_door),
    Attack("no key", "call with a key that is nearly right", no_key),
)
