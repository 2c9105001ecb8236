"""What the books of an attacked organisation must say, compared with what its callers saw."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.attack.client import TOKEN_CHARACTERS, Call, Client, Org
from gateway.attack.loss import Loss
from gateway.attack.prices import Prices

QUIET_WITHIN_S: Final = 40.0
"""Longer than an abandoned answer is read on for its usage."""
LOOK_EVERY_S: Final = 0.05
_OF_CALLS: Final = frozenset({"CHARGE", "LATE_CHARGE", "REFUND"})


async def judge(client: Client, org: Org, *, steered: bool) -> Loss:
    """Waits until nothing is open. `steered`: texts are the replay provider's, whose characters count tokens."""
    balance = await _quiet(client, org)
    rows = await client.history(org)
    loss = Loss(leaked_ucr=balance["held_ucr"])
    if balance["open_count"]:
        loss.faults.append(f"{balance['open_count']} calls never ended")
    _judge_balance(org, balance, rows, loss)
    _judge_calls(org, rows, client.prices, loss, steered=steered)
    return loss


async def _quiet(client: Client, org: Org) -> Mapping[str, Any]:
    deadline = time.monotonic() + QUIET_WITHIN_S
    while True:
        balance = await client.balance(org)
        if (not balance["open_count"] and not balance["held_ucr"]) or time.monotonic() > deadline:
            return balance
        await asyncio.sleep(LOOK_EVERY_S)


def _judge_balance(org: Org, balance: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], loss: Loss) -> None:
    loss.overspent_ucr += max(0, -balance["balance_ucr"])
    loss.lost_ucr += abs(balance["balance_ucr"] - sum(row["amount_ucr"] for row in rows))
    granted_ucr = sum(row["amount_ucr"] for row in rows if row["kind"] == "GRANT")
    loss.overspent_ucr += max(0, granted_ucr - org.granted_ucr)
    loss.lost_ucr += max(0, org.granted_ucr - granted_ucr)


def _judge_calls(org: Org, rows: Sequence[Mapping[str, Any]], prices: Prices, loss: Loss, *, steered: bool) -> None:
    paid_ucr: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        if row["kind"] in _OF_CALLS:
            paid_ucr[row.get("reference_id") or row["id"]] += (row.get("overage_ucr") or 0) - row["amount_ucr"]
    for call in org.calls:
        if call.id is None:
            continue
        paid = paid_ucr.pop(call.id, 0)
        least, most = _worth_ucr(call, prices, steered=steered)
        loss.overspent_ucr += max(0, least - paid)
        if most is not None:
            loss.double_charged_ucr += max(0, paid - most)
    # What is left was charged to calls whose callers left before they had an id, and to no more calls than those.
    unnamed = sum(call.id is None for call in org.calls)
    strange = sorted(paid_ucr.values(), reverse=True)[unnamed:]
    loss.double_charged_ucr += sum(max(0, ucr) for ucr in strange)


def _worth_ucr(call: Call, prices: Prices, *, steered: bool) -> tuple[int, int | None]:
    """The least and the most that a call may cost; None: who left in the middle cannot know."""
    if call.status != 200:
        return 0, 0
    if call.complete and call.usage and call.usage_true:
        cost_ucr = prices.of_usage(call.usage)
        return cost_ucr, cost_ucr
    return (prices.ucr(output=call.characters // TOKEN_CHARACTERS) if steered else 0), None
