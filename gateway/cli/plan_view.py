"""How commands show plans."""

from collections.abc import Iterable
from typing import Any

from rich.markup import escape
from rich.table import Table

from gateway.cli.show import credits as credits_
from gateway.cli.show import table
from gateway.core.units import credits_text
from gateway.ledger.plans import Plan


def plan_view(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "name": plan.name,
        "credits": credits_text(plan.amount_ucr),
        "period": plan.period,
        "rollover_min": credits_text(plan.rollover_min_ucr),
        "rollover_max": credits_text(plan.rollover_max_ucr),
        "priority": plan.priority,
        "credit_line": credits_text(plan.credit_line_ucr),
    }


def plan_table(plans: Iterable[Plan]) -> Table:
    rows = table(
        "plan", "name", "credits", "each", "goes over", "credit line", right=("credits", "goes over", "credit line")
    )
    for plan in plans:
        rows.add_row(
            plan.id,
            escape(plan.name),
            credits_(plan.amount_ucr),
            plan.period,
            credits_(plan.rollover_max_ucr),
            credits_(plan.credit_line_ucr),
        )
    return rows
