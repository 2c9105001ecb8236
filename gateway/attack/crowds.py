"""Many at once: on credits for one, on no credits at all, small ones against a large one."""

import asyncio
import time
from typing import Final

from gateway.attack.client import Call
from gateway.attack.field import PLENTY_UCR, Attack, Directions, Field

CROWD: Final = 50
LIMIT_TOKENS: Final = 500
PROMPT_TOKENS_MOST: Final = 512
"""More than any gateway takes the question for."""
FLOOD: Final = 200
NEIGHBOUR_CALLS: Final = 20
NEIGHBOUR_WITHIN_S: Final = 30.0
SMALL_CALLERS: Final = 20
LARGE_WITHIN_S: Final = 60.0


async def fifty_at_once(field: Field) -> None:
    client = field.client
    one_ucr = client.prices.ucr(prompt=PROMPT_TOKENS_MOST, output=LIMIT_TOKENS)
    org = await client.org(credits_ucr=one_ucr)
    body = client.body(stream=False, max_tokens=LIMIT_TOKENS)
    said: Directions = {"output_tokens": LIMIT_TOKENS} if field.steered else {}
    calls = await asyncio.gather(*(client.call(org, body, **said) for _ in range(CROWD)))
    served = sum(call.status == 200 for call in calls)
    field.expect(served >= 1, "nobody was served")
    field.expect(not field.steered or served <= 1, f"{served} were served")
    expect_orderly(field, calls)


async def flood_of_the_broke(field: Field) -> None:
    client = field.client
    broke, neighbour = await client.org(), await client.org(credits_ucr=PLENTY_UCR)
    body = client.body(stream=False, max_tokens=20)

    async def pays() -> list[Call]:
        return [await client.call(neighbour, body) for _ in range(NEIGHBOUR_CALLS)]

    began = time.monotonic()
    flood = asyncio.gather(*(client.call(broke, body) for _ in range(FLOOD)))
    paid = await pays()
    took_s = time.monotonic() - began
    refused = await flood
    field.expect(all(call.status in (402, 429) for call in refused), "a call without credits was not refused for it")
    field.expect(all(call.status == 200 for call in paid), "the neighbour was refused")
    field.expect(took_s < NEIGHBOUR_WITHIN_S, f"the neighbour waited {took_s:.0f} s")


async def small_against_large(field: Field) -> None:
    """Held at once fits either the large call or the small ones; the large one must have its turn."""
    client = field.client
    large_tokens = 20 * LIMIT_TOKENS
    org = await client.org(credits_ucr=3 * client.prices.ucr(prompt=PROMPT_TOKENS_MOST, output=large_tokens) // 2)
    large, small = (client.body(stream=False, max_tokens=limit) for limit in (large_tokens, large_tokens // 10))
    said: Directions = {"output_tokens": 5, "latency_ms": 20} if field.steered else {}
    over = asyncio.Event()

    async def small_caller() -> None:
        while not over.is_set():
            await client.call(org, small, **said)

    async def large_caller() -> None:
        deadline = time.monotonic() + LARGE_WITHIN_S
        while (call := await client.call(org, large, **said)).status != 200 and time.monotonic() < deadline:
            continue
        field.expect(call.status == 200, "the large call never had its turn")
        over.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(SMALL_CALLERS):
            group.create_task(small_caller())
        group.create_task(large_caller())


def expect_orderly(field: Field, calls: list[Call]) -> None:
    """Nobody met a mistake of the gateway's, or a connection that was simply gone."""
    odd = {call.status for call in calls if call.status not in (200, 402, 429)}
    field.expect(not odd, f"calls were answered with {', '.join(map(str, sorted(odd)))}")


ATTACKS: Final = (
    Attack("fifty at once", "fifty calls at once on credits for one", fifty_at_once),
    Attack("flood of the broke", "two hundred calls without credits, to slow a neighbour down", flood_of_the_broke),
    Attack("small against large", "many small calls, to starve a large one", small_against_large, needs_steering=True),
)
