"""Plans: what an organisation can subscribe to, as the operator's file tells it.

A subscription keeps the terms it was made with, so that a changed file changes no contract.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec

from gateway.core.strict_toml import StrictToml
from gateway.core.units import AmountInvalid, ucr_from_credits, ucr_from_text
from gateway.ledger.grants import PRIORITY_MAX

Period = Literal["day", "week", "month", "year"]

_Line = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,200}\Z")]
_Credits = str | int
"""A decimal in a string, exact, or a whole number. TOML's own decimals are refused: most readers make them inexact."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What each period brings. Amounts in µcr."""

    id: str
    name: str
    amount_ucr: int
    period: Period = "month"
    rollover_min_ucr: int = 0
    rollover_max_ucr: int = 0
    """What is left at a period's end goes over into the next one, up to this."""
    priority: int = 50
    credit_line_ucr: int = 0
    """What may be used beyond all other credits in a period, to be billed after it."""


DEFAULT_PLANS: Final = (
    Plan(id="explorer", name="Explorer", amount_ucr=400_000_000),
    Plan(id="growth", name="Growth", amount_ucr=2_000_000_000),
    Plan(id="pro", name="Pro", amount_ucr=7_000_000_000),
    Plan(id="enterprise", name="Enterprise", amount_ucr=20_000_000_000),
)


class PlanTable(msgspec.Struct, frozen=True, kw_only=True):
    id: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,63}\Z")]
    name: _Line
    credits: _Credits
    period: Period = "month"
    rollover_min_credits: _Credits = 0
    rollover_max_credits: _Credits = 0
    priority: Annotated[int, msgspec.Meta(ge=0, le=PRIORITY_MAX)] = 50
    credit_line_credits: _Credits = 0


class PlansFile(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a file of plans."""

    plans: tuple[PlanTable, ...]


def read_plans(text: str, *, name: str) -> tuple[Plan, ...]:
    """The plans of a TOML text, in its order. Raises SettingsError with the file's name, the line and the key."""
    source = StrictToml(text, PlansFile, name=name)
    plans: dict[str, Plan] = {}
    for index, table in enumerate(source.value.plans):
        if table.id in plans:
            source.refuse(("plans", index, "id"), f"{table.id} is the id of another plan")
        plans[table.id] = _plan(source, index, table)
    return tuple(plans.values())


def _plan(source: StrictToml[PlansFile], index: int, table: PlanTable) -> Plan:
    def ucr(key: str) -> int:
        credits: _Credits = getattr(table, key)
        try:
            return ucr_from_text(credits) if isinstance(credits, str) else ucr_from_credits(Decimal(credits))
        except AmountInvalid as error:
            source.refuse(("plans", index, key), str(error))

    plan = Plan(
        id=table.id,
        name=table.name,
        amount_ucr=ucr("credits"),
        period=table.period,
        rollover_min_ucr=ucr("rollover_min_credits"),
        rollover_max_ucr=ucr("rollover_max_credits"),
        priority=table.priority,
        credit_line_ucr=ucr("credit_line_credits"),
    )
    if plan.rollover_min_ucr > plan.rollover_max_ucr:
        source.refuse(("plans", index, "rollover_min_credits"), "must not be more than rollover_max_credits")
    if plan.amount_ucr == plan.credit_line_ucr == 0:
        source.refuse(("plans", index, "credits"), "a plan brings credits, or a credit line")
    return plan
