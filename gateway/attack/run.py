"""The attacks one after another, each with organisations of its own, and what each of them got."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Final

import aiohttp

from gateway.attack import amounts, crowds, streams, tenants, usage
from gateway.attack.client import TOKEN_CHARACTERS, AttackImpossible, Client
from gateway.attack.field import PLENTY_UCR, Attack, Field
from gateway.attack.judge import judge
from gateway.attack.loss import Loss
from gateway.attack.prices import Prices

ATTACKS: Final = (*crowds.ATTACKS, *amounts.ATTACKS, *streams.ATTACKS, *usage.ATTACKS, *tenants.ATTACKS)
_PROBE_TOKENS: Final = 3


@dataclass(frozen=True)
class Outcome:
    attack: Attack
    loss: Loss | None
    """None: skipped, because the upstream is a real one and does not go wrong when it is told to."""


async def attack_gateway(
    *, url: str, operator_key: str, model: str, only: Collection[str] = ()
) -> AsyncIterator[Outcome]:
    """Each outcome as soon as it is known. Raises AttackImpossible where the gateway does not answer as documented."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        client = Client(session, url=url, operator_key=operator_key, model=model, prices=Prices.none())
        client.prices = await _prices(client)
        steered = await _is_steered(client)
        for attack in ATTACKS:
            if only and attack.name not in only:
                continue
            runs = steered or not attack.needs_steering
            yield Outcome(attack, await _outcome(client, attack, steered=steered) if runs else None)


async def _outcome(client: Client, attack: Attack, *, steered: bool) -> Loss:
    client.orgs.clear()
    field = Field(client, steered)
    await attack.run(field)
    for org in client.orgs:
        field.loss.add(await judge(client, org, steered=steered))
    return field.loss


async def _prices(client: Client) -> Prices:
    org = await client.org()
    answer = await client.ask("GET", f"/v1/models/{client.model}", headers={"authorization": f"Bearer {org.key}"})
    if answer.status != 200:
        raise AttackImpossible(f"The gateway does not serve {client.model}: GET /v1/models/… answered {answer.status}.")
    return Prices.of(answer.body["pricing"])


async def _is_steered(client: Client) -> bool:
    """The replay provider says as many tokens as it is told to."""
    org = await client.org(credits_ucr=PLENTY_UCR)
    call = await client.call(org, client.body(stream=False, max_tokens=20), output_tokens=_PROBE_TOKENS)
    if call.status != 200:
        raise AttackImpossible(f"A plain call was answered with {call.status} {call.error or ''}.")
    return call.characters == _PROBE_TOKENS * TOKEN_CHARACTERS
