"""What must be so when everything has come to rest after an accident."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import asyncpg

from gateway.ledger.audit import find_violations
from gateway.postgres.pool import open_pool
from tests.e2e.prices import charge_ucr
from tests.simulation.books import EndingRow, ended_more_than_once
from tests.simulation.clerk import Done
from tests.simulation.crowd import Seen
from tests.simulation.history import differences
from tests.simulation.judging import faults_of, with_corrections
from tests.simulation.patience import until
from tests.simulation.reader import MODEL, output_ucr
from tests.simulation.world import World

NEVER_SAID: Final = re.compile(
    r"request\.failed|ledger\.(conflict|ending_odd|ending_stuck|ending_quarantined|violation)"
    r"|never (awaited|retrieved)|^Traceback"
)
QUIET_WITHIN_S: Final = 60.0


@dataclass
class Verdict:
    calls: int
    statuses: Counter[int]
    ends: Counter[str]
    late: int
    """Corrections of what had been swept."""
    left: int
    """Calls that a killed process left."""
    violations: int
    wrong: list[str] = field(default_factory=list)


async def judge(world: World, seen: list[Seen], log: Iterable[Done]) -> Verdict:
    """`seen` are the calls since the provider's books were last emptied, which is done here; `log` is the clerk's."""
    async with world.books() as books:

        async def nothing_is_open() -> bool:
            return await books.open_rows() == {}

        await until(nothing_is_open, "the end of every call", within_s=QUIET_WITHIN_S)
        rows = await books.endings()
    calls = with_corrections(rows)
    recovered = {row.id for row in rows if row.ended == "recovered"}
    left = {each.id for each in seen if each.id and each.id in recovered and each.served_by in world.killed}
    ids = {each.id for each in seen if each.id is not None}
    verdict = Verdict(
        calls=len(seen),
        statuses=Counter(each.status for each in seen),
        ends=Counter(row.ended for row in rows if row.id in ids),
        late=sum(row.ref_id in ids for row in rows),
        left=len(left),
        violations=0,
    )
    wrong = verdict.wrong
    wrong += [f"{id} ended more than once" for id in ended_more_than_once(rows)]
    wrong += [fault for each in seen for fault in faults_of(each, calls, left)]
    wrong += _received(seen, calls, left)
    wrong += [
        f"{id} was left at {world.written[id]} µcr: {calls[id]}"
        for id in left & world.written.keys()
        if calls[id].charged_ucr < world.written[id]
    ]
    wrong += [text for gateway in world.crowd.gateways for text in gateway.said.errors if NEVER_SAID.search(text)]
    wrong += _sent(await _provider_calls(world), seen, calls)
    violations = await _violations(world.postgres.dsn)
    verdict.violations = len(violations)
    wrong += violations
    connection = await asyncpg.connect(world.postgres.dsn)
    try:
        wrong += await differences(connection, log)
    finally:
        await connection.close(timeout=10)
    return verdict


def _received(seen: Iterable[Seen], calls: Mapping[UUID, EndingRow], left: set[UUID]) -> list[str]:
    """Together: charged is at least what clients received."""
    known = [each for each in seen if each.id in calls and each.id not in left]
    received_ucr = sum(output_ucr(each.tokens) for each in known)
    paid_ucr = sum(calls[each.id].charged_ucr + calls[each.id].overage_ucr for each in known if each.id)
    return [f"received {received_ucr} µcr, charged {paid_ucr}"] if paid_ucr < received_ucr else []


def _sent(sent: Mapping[str, Mapping[str, Any]], seen: Iterable[Seen], calls: Mapping[UUID, EndingRow]) -> list[str]:
    """A call that ended normally costs what the provider's own books say of it."""
    wrong = []
    for each in seen:
        row = calls.get(each.id) if each.id else None
        call = sent.get(str(each.plan.asked.get("id")))
        if row is None or call is None or row.ended != "ok" or call["end"] != "complete" or not call["usage_sent"]:
            continue
        cost_ucr = charge_ucr(MODEL, call["tokens"])
        if each.plan.asked.get("usage") != "absurd" and row.cost_ucr != cost_ucr:
            wrong.append(f"{each.id} cost {row.cost_ucr} µcr and the provider sent {cost_ucr}: {row}, {call}")
    return wrong


async def _provider_calls(world: World) -> dict[str, Mapping[str, Any]]:
    """By the label that the caller gave each call."""
    session = world.crowd.gateways[0].session
    async with session.get(f"{world.replay.url}/_sent") as response:
        page = await response.json()
    assert page["calls_dropped"] == 0, "the provider's books are too short for a phase"
    async with session.post(f"{world.replay.url}/_sent/reset") as response:
        assert response.status == 204
    return {call["replay_id"]: call for call in page["calls"]}


async def _violations(dsn: str) -> list[str]:
    pool = await open_pool(dsn, min_size=1, max_size=1, statement_timeout_s=60, connect_timeout_s=10)
    try:
        return [
            f"invariant {each.invariant}: {each}"
            async for page in find_violations(pool, full=True, accounts_at_once=200)
            for each in page
        ]
    finally:
        pool.terminate()
