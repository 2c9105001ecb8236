"""Callers who leave, dawdle or run out, and providers that break off: what was delivered is charged, and no more."""

import asyncio
from typing import Final

from gateway.attack.field import PLENTY_UCR, Attack, Directions, Field

TIMES: Final = 10
SLOW_PAUSE_S: Final = 0.05
POOR_TOKENS: Final = 300
"""Output that the poor caller's credits are for; the provider says ten times as much."""
_BREAKS: Final[tuple[Directions, ...]] = (
    {"break": 7},
    {"break": 3, "break_by": "reset"},
    {"break": 9, "break_by": "end"},
    {"garbage": "json"},
    {"garbage": "sse"},
    {"garbage": "html"},
    {"length": 5},
    {"status": 500},
    {"status": 429, "retry_after": 1},
)


def _pace(field: Field) -> Directions:
    """Slow enough to be left in the middle."""
    return {"output_tokens": 200, "interval_ms": 5, "latency_ms": 50} if field.steered else {}


async def gone_before(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    pace = _pace(field)
    for stream in (True, False):
        body = field.client.body(stream=stream, max_tokens=200)
        waits_s = [0.001 * (number + 1) for number in range(TIMES)]
        await asyncio.gather(*(field.client.call(org, body, leave_after_s=wait, **pace) for wait in waits_s))


async def gone_in_the_middle(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    body = field.client.body(max_tokens=200)
    pace = _pace(field)
    await asyncio.gather(
        *(field.client.call(org, body, leave_at_characters=number * 40, **pace) for number in range(TIMES))
    )


async def gone_from_a_whole_answer(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    body = field.client.body(stream=False, max_tokens=200)
    slow: Directions = {"output_tokens": 200, "latency_ms": 500} if field.steered else {}
    waits_s = [0.02 * (number + 1) for number in range(TIMES)]
    await asyncio.gather(*(field.client.call(org, body, leave_after_s=wait, **slow) for wait in waits_s))


async def slow_reader(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    body = field.client.body(max_tokens=200)
    said: Directions = {"output_tokens": 200} if field.steered else {}
    calls = await asyncio.gather(*(field.client.call(org, body, pause_s=SLOW_PAUSE_S, **said) for _ in range(TIMES)))
    field.expect(all(call.complete for call in calls), "a slow reader did not get his whole answer")


async def error_event(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    for after in (0, 1, 5):
        call = await field.client.call(org, field.client.body(), output_tokens=50, error_event=after)
        field.expect(not call.complete, "an answer that ended with an error looked whole")


async def broken_answers(field: Field) -> None:
    org = await field.client.org(credits_ucr=PLENTY_UCR)
    for broken in _BREAKS:
        for stream in (True, False):
            body = field.client.body(stream=stream)
            await field.client.call(org, body, usage_true=False, output_tokens=50, **broken)


async def runs_dry(field: Field) -> None:
    """The limit is the caller's own, so that the gateway cannot lower it to what fits."""
    client = field.client
    credits_ucr = client.prices.ucr(prompt=512, output=POOR_TOKENS)
    org = await client.org(credits_ucr=credits_ucr)
    body = client.body(max_tokens=10 * POOR_TOKENS)
    said: Directions = {"output_tokens": 10 * POOR_TOKENS, "interval_ms": 1}
    calls = await asyncio.gather(*(client.call(org, body, **said) for _ in range(5)))
    received_ucr = client.prices.ucr(output=sum(call.characters for call in calls) // 4)
    field.loss.overspent_ucr += max(0, received_ucr - credits_ucr)
    field.expect(not any(call.complete for call in calls), "more was said than the credits are for")


ATTACKS: Final = (
    Attack("gone before the answer", "leave before the first byte", gone_before),
    Attack("gone in the stream", "leave in the middle of the stream", gone_in_the_middle),
    Attack("gone from a whole answer", "leave before an answer in one piece", gone_from_a_whole_answer),
    Attack("slow reader", "read slowly", slow_reader),
    Attack("error after 200", "an error event in a stream that had begun", error_event, needs_steering=True),
    Attack("broken answers", "answers that break off or are no answers", broken_answers, needs_steering=True),
    Attack("running dry", "five streams together on credits for a part of one", runs_dry, needs_steering=True),
)
