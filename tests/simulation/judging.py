"""One call: what its caller saw, against what the ledger says of it."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.e2e.prices import charge_ucr
from tests.simulation.books import EndingRow
from tests.simulation.crowd import Seen
from tests.simulation.reader import MODEL, output_ucr


def faults_of(seen: Seen, by_id: Mapping[UUID, EndingRow], left: Container[UUID]) -> list[str]:
    """What is wrong with one call; empty where nothing is. Calls in `left` died with their process."""
    row = by_id.get(seen.id) if seen.id is not None else None
    if seen.id is None or seen.id in left:
        return []
    wrong = []
    if seen.status == 200:
        if row is None:
            wrong.append("was answered and has no ending")
        elif row.charged_ucr + row.overage_ucr < output_ucr(seen.tokens):
            wrong.append("more was received than charged")
        elif seen.end == "done" and seen.usage and seen.plan.asked.get("usage") != "absurd":
            expected_ucr = charge_ucr(MODEL, tokens_of(seen.usage))
            if (row.ended, row.cost_ucr) != ("ok", expected_ucr):
                wrong.append(f"its usage costs {expected_ucr} µcr")
    elif row is not None and (row.kind, row.charged_ucr) != ("RELEASE", 0):
        wrong.append("was refused and charged")
    return [f"{seen.id} {each}: {row}, {seen}" for each in wrong]


def tokens_of(usage: Mapping[str, Any]) -> dict[str, int]:
    return {
        "prompt_tokens": usage["prompt_tokens"],
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": usage["completion_tokens"],
    }


def with_corrections(rows: Iterable[EndingRow]) -> dict[UUID, EndingRow]:
    """Each call with all that was posted for it: what was swept, and the difference that came late."""
    calls: dict[UUID, EndingRow] = {}
    for row in rows:
        if row.ref_id is None:
            calls[row.id] = row
            continue
        sign = -1 if row.kind == "REFUND" else 1
        swept = calls[row.ref_id]
        charged_ucr = swept.charged_ucr + sign * row.charged_ucr
        calls[row.ref_id] = replace(
            swept,
            kind="CHARGE" if charged_ucr else "RELEASE",
            ended=row.ended,
            cost_ucr=swept.cost_ucr + sign * row.cost_ucr,
            charged_ucr=charged_ucr,
            overage_ucr=swept.overage_ucr + sign * row.overage_ucr,
            waived_ucr=swept.waived_ucr + sign * row.waived_ucr,
            output_tokens=row.output_tokens,
        )
    return calls
