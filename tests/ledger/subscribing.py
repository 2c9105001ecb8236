"""The shortest words for what tests do with subscriptions, and the plans that they subscribe to."""

from datetime import timedelta

import asyncpg

from gateway.ledger.plans import Plan
from gateway.ledger.subscriptions import Subscription
from tests.ledger.conftest import Bench
from tests.ledger.desk import ANNA

SMALL = Plan(id="small", name="Small", amount_ucr=100)
LARGE = Plan(id="large", name="Large", amount_ucr=1_000)
ROLLING = Plan(id="rolling", name="Rolling", amount_ucr=100, rollover_max_ucr=30)
LINE = Plan(id="line", name="Line", amount_ucr=0, credit_line_ucr=50)


async def subscribe(bench: Bench, plan: Plan = SMALL, **options: object) -> Subscription:
    return await bench.ledger.subscriptions.subscribe(
        bench.org_id,
        bench.account_id,
        plan,
        operation_id=bench.ids.next(),
        **{"by": ANNA} | options,  # type: ignore[arg-type]
    )


async def change(bench: Bench, plan: Plan, **options: object) -> Subscription:
    return await bench.ledger.subscriptions.change(
        bench.org_id,
        bench.account_id,
        plan,
        operation_id=bench.ids.next(),
        **{"by": ANNA} | options,  # type: ignore[arg-type]
    )


async def age(owner: asyncpg.Connection, bench: Bench, by: timedelta) -> None:
    """As if all that the organisation has had happened so much earlier."""
    for table, columns in {
        "subscription": ("anchor", "period_start", "period_end"),
        "credit_grant": ("effective_at", "expires_at", "period_start"),
        "reservation": ("created_at",),
        "account": ("next_change_at",),
    }.items():
        moved = ", ".join(f"{column} = {column} - $2::interval" for column in columns)
        await owner.execute(f"UPDATE {table} SET {moved} WHERE org_id = $1", bench.org_id, by)


async def end_period(owner: asyncpg.Connection, bench: Bench) -> None:
    """The current period ends at this moment."""
    left = await owner.fetchval("SELECT max(period_end) FROM subscription WHERE org_id = $1", bench.org_id)
    await age(owner, bench, left - await owner.fetchval("SELECT clock_timestamp()"))


async def rows(bench: Bench) -> list[tuple[str, int]]:
    found, _ = await bench.ledger.transactions(bench.org_id, limit=1_000, order_direction="asc")
    return [(row.kind, row.amount_ucr) for row in found]


async def middle(owner: asyncpg.Connection, bench: Bench) -> None:
    """Half of the period is left, but for the moments that the test takes."""
    await owner.execute(
        "UPDATE subscription SET period_start = clock_timestamp() - interval '15 days',"
        " period_end = clock_timestamp() + interval '15 days' WHERE org_id = $1",
        bench.org_id,
    )
    await owner.execute(
        "UPDATE credit_grant g SET expires_at = s.period_end, period_start = s.period_start,"
        " effective_at = s.period_start"
        "  FROM subscription s WHERE s.subscription_id = g.subscription_id AND g.org_id = $1",
        bench.org_id,
    )
