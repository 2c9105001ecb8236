"""The audit log: an entry with each change that people make, in its transaction, and never changed."""

from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.origin import Origin
from gateway.ledger.allocations import AllocationRule, Allocations
from gateway.ledger.budgets import Budget
from gateway.ledger.policy import Policies
from tests.ledger.conftest import Bench
from tests.ledger.desk import ANNA
from tests.ledger.subscribing import LARGE, change, subscribe


async def test_an_entry_says_who_did_what_to_which_from_where_and_why(bench: Bench, pool: asyncpg.Pool) -> None:
    grant = await bench.grant(100)
    await bench.ledger.desk.void(bench.org_id, grant, by=ANNA)
    row = await pool.fetchrow(
        "SELECT * FROM audit_log WHERE org_id = $1 AND action = 'grant.voided'",
        bench.org_id,
    )
    assert row is not None
    assert (row["actor"], row["address"], row["request_id"], row["reason"]) == (
        "anna",
        "192.0.2.7",
        ANNA.request_id,
        "asked for by phone",
    )
    assert (row["object_kind"], row["object_id"]) == ("grant", grant)
    assert '"remaining_ucr": 100' in row["before"]
    assert '"remaining_ucr": 0' in row["after"]


@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
async def test_the_audit_log_is_append_only_even_for_its_owner(
    change: str, bench: Bench, owner: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await bench.grant(1)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(change)


@pytest.mark.parametrize("by", [Origin(actor="a\x00b"), Origin(actor="a", reason="x" * 1_001)])
async def test_an_origin_that_cannot_be_written_is_refused_with_its_change(by: Origin, bench: Bench) -> None:
    grant = await bench.grant(10)
    with pytest.raises(InvalidRequest):
        await bench.ledger.desk.void(bench.org_id, grant, by=by)
    assert await bench.numbers() == (10, 0, 0)


async def told(pool: asyncpg.Pool, org_id: UUID) -> list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    """Action, object, actor, and what was before and after."""
    found = await pool.fetch(
        "SELECT action, object_kind, actor, coalesce(before, '{}') AS before, coalesce(after, '{}') AS after"
        "  FROM audit_log WHERE org_id = $1 ORDER BY id",
        org_id,
    )
    return [(*row[:3], msgspec.json.decode(row[3]), msgspec.json.decode(row[4])) for row in map(tuple, found)]


async def test_what_is_done_with_a_subscription_is_told(bench: Bench, pool: asyncpg.Pool) -> None:
    made = await subscribe(bench)
    await change(bench, LARGE, when="period_end")
    subscriptions = bench.ledger.subscriptions
    for _ in range(2):  # what is so already is not told again
        await subscriptions.cancel(bench.org_id, bench.account_id, operation_id=bench.ids.next(), by=ANNA)
    await subscriptions.resume(bench.org_id, bench.account_id, operation_id=bench.ids.next(), by=ANNA)
    with pytest.raises(Conflict):
        await subscribe(bench, LARGE)
    entries = await told(pool, bench.org_id)
    assert [(action, kind, actor) for action, kind, actor, _, _ in entries] == [
        (f"subscription.{what}", "subscription", "anna") for what in ("begun", "changed", "cancelled", "resumed")
    ]
    assert [after["id"] for *_, after in entries] == [str(made.id)] * 4
    assert entries[0][3] == {}
    assert (entries[1][3]["next_plan"], entries[1][4]["next_plan"]["id"]) == (None, "large")
    assert [(before["cancels"], after["cancels"]) for *_, before, after in entries[2:]] == [
        (False, True),
        (True, False),
    ]


async def test_what_is_done_with_a_budget_is_told(bench: Bench, pool: asyncpg.Pool) -> None:
    budget = Budget(budget_id=bench.ids.next(), org_id=bench.org_id, scope="org", period="day", max_ucr=10)
    for max_ucr in (10, 20, 20):
        await bench.ledger.set_budget(msgspec.structs.replace(budget, max_ucr=max_ucr), by=ANNA)
    await bench.ledger.remove_budget(bench.org_id, budget.budget_id, by=ANNA)
    terms = {"scope": "org", "scope_id": "", "period": "day", "open_max": None, "alert_percents": [80, 100]}
    assert await told(pool, bench.org_id) == [
        ("budget.set", "budget", "anna", {}, terms | {"max_ucr": 10}),
        ("budget.set", "budget", "anna", terms | {"max_ucr": 10}, terms | {"max_ucr": 20}),
        ("budget.removed", "budget", "anna", terms | {"max_ucr": 20}, {}),
    ]
    with pytest.raises(NotFound, match="nothing was changed"):
        await bench.ledger.set_budget(msgspec.structs.replace(budget, org_id=bench.ids.next()), by=ANNA)


async def test_what_an_organisation_chooses_is_told(bench: Bench, pool: asyncpg.Pool) -> None:
    policies, allocations = Policies(pool), Allocations(pool)
    rule = AllocationRule(role="member", kind="quota", amount_ucr=5, period="day")
    for _ in range(2):
        await policies.set(bench.org_id, payment_order="pool_first", by=ANNA)
        await allocations.set_rule(bench.org_id, rule, by=ANNA)
    await policies.set(bench.org_id, time_zone="Europe/Berlin", by=ANNA)
    for _ in range(2):
        await allocations.drop_rule(bench.org_id, "member", by=ANNA)
    first = {"payment_order": "pool_first", "time_zone": "UTC", "unsupported_fields": "default"}
    given = {"role": "member", "kind": "quota", "amount_ucr": 5, "period": "day"}
    assert await told(pool, bench.org_id) == [
        ("policy.set", "credit_policy", "anna", {}, first),
        ("allocation_rule.set", "allocation_rule", "anna", {}, given),
        ("policy.set", "credit_policy", "anna", first, first | {"time_zone": "Europe/Berlin"}),
        ("allocation_rule.dropped", "allocation_rule", "anna", given, {}),
    ]
