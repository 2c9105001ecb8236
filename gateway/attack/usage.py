"""Usage that is missing, impossible or multiplied, and limits that are none."""

import json
from typing import Final

from gateway.attack.field import PLENTY_UCR, Attack, Directions, Field

ODD_LIMITS: Final = ("0", "-1", "9223372036854775808", "1e30", '"5"', "1.5", "true", "null", "[]")
"""As they stand in the JSON."""
_FIELDS: Final = ("max_tokens", "max_completion_tokens")


async def no_usage(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    for stream in (True, False):
        await field.client.call(org, field.client.body(stream=stream), usage="no", output_tokens=50)


async def absurd_usage(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    for stream in (True, False):
        body = field.client.body(stream=stream, max_tokens=60)
        call = await field.client.call(org, body, usage="absurd", output_tokens=50, usage_true=False)
        field.expect(call.status == 200, f"the answer became a {call.status}")
    balance = await field.client.balance(org)
    dearest_ucr = 2 * field.client.prices.ucr(prompt=4096, output=60)
    field.loss.double_charged_ucr += max(0, PLENTY_UCR - dearest_ucr - balance["available_ucr"])


async def cached_above_prompt(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    for stream in (True, False):
        body = field.client.body(stream=stream)
        said: Directions = {"prompt_tokens": 10, "cached_tokens": 100_000, "output_tokens": 50}
        await field.client.call(org, body, usage_true=False, **said)


async def many_choices(field: Field) -> None:
    client = field.client
    rich, poor = (
        await client.org(credits_ucr=PLENTY_UCR),
        await client.org(credits_ucr=client.prices.ucr(prompt=512, output=120)),
    )
    said: Directions = {"output_tokens": 100} if field.steered else {}
    for stream in (True, False):
        body = client.body(stream=stream, n=4, max_tokens=100)
        await client.call(rich, body, **said)
        await client.call(poor, body, **said)
    for count in (0, -1, 129, 10**6, 2**63):
        call = await client.call(rich, client.body(stream=False, n=count, max_tokens=1))
        field.expect(400 <= call.status < 500, f"n = {count} was answered with {call.status}")


async def odd_limits(field: Field) -> None:
    client = field.client
    org = await client.org(credits_ucr=PLENTY_UCR)
    said: Directions = {"output_tokens": 30} if field.steered else {}
    plain = json.dumps(client.body(stream=False))[:-1]
    bodies = [f'{plain}, "{name}": {limit}}}' for name in _FIELDS for limit in ODD_LIMITS]
    bodies += [f'{plain}, "max_tokens": {one}, "max_completion_tokens": {other}}}' for one, other in ((1, 99), (99, 1))]
    for body in bodies:
        call = await client.call(org, body.encode(), **said)
        field.expect(call.status < 500, f"…{body[len(plain) :]} was answered with {call.status}")


async def two_readings(field: Field) -> None:
    """What the gateway prices must be what the provider reads."""
    client = field.client
    org = await client.org(credits_ucr=PLENTY_UCR)
    plain = json.dumps(client.body(stream=False))[:-1]
    for more in (
        f'"model": "{client.model}"',
        f'"Model": "{client.model}"',
        '"max_tokens": 1, "max_tokens": 100000',
        '"n": 1, "N": 100',
        '"n": 1, "\\u006e": 100',
        '"models": ["another"]',
        '"stream": true',
    ):
        call = await client.call(org, f"{plain}, {more}}}".encode())
        field.expect(400 <= call.status < 500, f"…, {more} was answered with {call.status}")


ATTACKS: Final = (
    Attack("no usage", "answers that report no usage", no_usage, needs_steering=True),
    Attack("absurd usage", "answers that report more tokens than there are", absurd_usage, needs_steering=True),
    Attack("cached above prompt", "more cached tokens than prompt tokens", cached_above_prompt, needs_steering=True),
    Attack("many choices", "n above 1, and n that is none", many_choices),
    Attack("odd limits", "max_tokens 0, negative, beyond 64 bits, twice", odd_limits),
    Attack("two readings", "a body that can be read in two ways", two_readings),
)
