"""Budgets: caps on what an organisation, user, key, model or feature may cost in a calendar period, or have open.

They are checked with the reservation, in its own commit; a changed maximum counts from the next reservation on.
"""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Forbidden, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.units import UCR_MAX
from gateway.ledger.accounts import Executor, lock_pool
from gateway.postgres.once import Guard, Removed, once
from gateway.postgres.queries import load

_SQL = load("budgets")

Scope = Literal["org", "user", "key", "model", "feature"]
Period = Literal["day", "week", "month", "lifetime"]
OPEN_MAX: Final = 1_000_000
ALERTS_MAX: Final = 10
SCOPE_ID_CHARS_MAX: Final = 256


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """One cap. A scope has one budget for each period; setting it again changes it."""

    budget_id: UUID
    org_id: UUID
    scope: Scope
    scope_id: str = ""
    """The user's or key's id, the model's or feature's name; empty for the organisation."""
    period: Period
    """Calendar periods of the organisation's time zone; weeks begin on Monday."""
    max_ucr: int | None = None
    open_max: int | None = None
    """Calls open at one time; with period `lifetime` only."""
    alert_percents: tuple[int, ...] = (80, 100)
    """Shares of `max_ucr` at which the outbox speaks."""


class BudgetSet(Budget, frozen=True, kw_only=True):
    repeated: bool = False


class BudgetState(Budget, frozen=True, kw_only=True):
    """With what the period of now has seen; zeros where nothing fell into it yet."""

    used_ucr: int
    held_ucr: int
    open_count: int
    period_start: datetime | None
    """None: nothing fell into the period of now yet, or the budget is for a lifetime."""
    resets_at: datetime | None


async def set_budget(
    connection: Executor,
    budget: Budget,
    *,
    by: Origin,
    within: UUID | None = None,
    idempotency: Idempotency | None = None,
    guard: Guard[Budget] | None = None,
) -> BudgetSet:
    """Makes or changes it; its id stays the first one.

    `within` is the API key that asks, where one does: what limits it is limited for all keys that it sets budgets for,
    itself among them. Raises InvalidRequest, NotFound (no such organisation), Forbidden or what `guard` raises; then
    nothing changed.
    """
    _check(budget)
    place = (budget.org_id, budget.scope, budget.scope_id, budget.period)

    async def change(connection: Executor) -> BudgetSet:
        await lock_pool(connection, budget.org_id)
        if guard is not None:
            guard(_budget(await connection.fetchrow(_SQL.budget_at, *place)))
        await _check_within(connection, budget, within, max_ucr=budget.max_ucr, open_max=budget.open_max)
        id = await connection.fetchval(
            _SQL.set_budget,
            budget.org_id,
            budget.budget_id,
            budget.scope,
            budget.scope_id,
            budget.period,
            budget.max_ucr,
            budget.open_max,
            list(budget.alert_percents),
            by.row(),
        )
        return BudgetSet(**msgspec.structs.asdict(msgspec.structs.replace(budget, budget_id=id)))

    return await once(connection, budget.org_id, idempotency, change, answer=BudgetSet)


async def remove_budget(
    connection: Executor,
    org_id: UUID,
    budget_id: UUID,
    *,
    by: Origin,
    within: UUID | None = None,
    idempotency: Idempotency | None = None,
    guard: Guard[Budget] | None = None,
) -> Removed:
    """Open calls are no longer counted in it. `within` as in `set_budget`.

    Raises NotFound, Forbidden or what `guard` raises.
    """

    async def change(connection: Executor) -> Removed:
        await lock_pool(connection, org_id)
        current = _budget(await connection.fetchrow(_SQL.budget_of_id, org_id, budget_id))
        if current is None:
            raise NotFound("There is no such budget in this organisation; nothing was changed.")
        if guard is not None:
            guard(current)
        await _check_within(connection, current, within, max_ucr=None, open_max=None)
        await connection.execute(_SQL.remove_budget, org_id, budget_id, by.row())
        return Removed()

    return await once(connection, org_id, idempotency, change, answer=Removed)


async def _check_within(
    connection: Executor, budget: Budget, within: UUID | None, *, max_ucr: int | None, open_max: int | None
) -> None:
    """Of keys alone: `max_ucr` and `open_max` are what limits it afterwards. Raises Forbidden."""
    if within is None or budget.scope != "key":
        return
    own = _budget(await connection.fetchrow(_SQL.budget_at, budget.org_id, "key", str(within), budget.period))
    if own is None:
        return
    for field, most, asked in (("max", own.max_ucr, max_ucr), ("open_max", own.open_max, open_max)):
        if most is not None and (asked is None or asked > most):
            raise Forbidden(
                f"The key that asks is limited itself: it sets no key's `{field}` above its own, and takes none away; "
                "nothing was changed.",
                param=field,
            )


def _budget(row: asyncpg.Record | None) -> Budget | None:
    return None if row is None else Budget(**{**dict(row.items()), "alert_percents": tuple(row["alert_percents"])})


async def count_budgets(connection: Executor, org_id: UUID, *, seen_by: UUID | None = None) -> int:
    count: int = await connection.fetchval(_SQL.count_budgets, org_id, seen_by)
    return count


async def read_budgets(
    connection: Executor, org_id: UUID, *, limit: int, offset: int, seen_by: UUID | None = None
) -> list[BudgetState]:
    """By scope, then by period. `seen_by`: none of another user's, nor of a key that is not this one's."""
    rows = await connection.fetch(_SQL.list_budgets, org_id, limit, offset, seen_by)
    return [BudgetState(**{**dict(row.items()), "alert_percents": tuple(row["alert_percents"])}) for row in rows]


def _check(budget: Budget) -> None:
    if (budget.scope == "org") != (budget.scope_id == ""):
        raise InvalidRequest(
            "scope_id names the user, key, model or feature, and is empty for `org`.", param="scope_id"
        )
    if len(budget.scope_id) > SCOPE_ID_CHARS_MAX or "\x00" in budget.scope_id:
        raise InvalidRequest(f"scope_id must have at most {SCOPE_ID_CHARS_MAX} characters, no NUL.", param="scope_id")
    if budget.max_ucr is None and budget.open_max is None:
        raise InvalidRequest("A budget limits credits, open calls or both; nothing was changed.", param="max")
    if budget.max_ucr is not None and not 0 <= budget.max_ucr <= UCR_MAX:
        raise InvalidRequest("The maximum must not be below zero or above the largest amount.", param="max")
    if budget.open_max is not None and not (0 <= budget.open_max <= OPEN_MAX and budget.period == "lifetime"):
        raise InvalidRequest(
            f"open_max must be 0 to {OPEN_MAX}, with the period `lifetime`: calls are open now, not in a month.",
            param="open_max",
        )
    percents = budget.alert_percents
    if len(percents) > ALERTS_MAX or not all(0 < percent <= 1000 for percent in percents):
        raise InvalidRequest(f"alert_percents holds at most {ALERTS_MAX} shares of 1 to 1000.", param="alert_percents")
