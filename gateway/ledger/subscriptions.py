"""Subscriptions: what an account is given again and again, and what people change about that.

Each change is one statement and is made once per operation id. Periods follow each other by themselves, when somebody
looks at the account after a period's end, and at the latest in the periodic round.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NoReturn
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import Conflict, InvalidRequest, NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.units import UCR_MAX
from gateway.ledger.accounts import Executor, bring_up_to_date, lock_pool
from gateway.ledger.grants import PRIORITY_MAX
from gateway.ledger.plans import Plan
from gateway.postgres.once import Guard, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("subscriptions")
ANCHOR_AWAY_MAX: Final = timedelta(days=366)

When = Literal["now", "period_end"]
Kind = Literal["subscription", "quota"]
"""Of the grants that a subscription makes: a plan's, or what a user may spend without drawing on the pool."""


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """As the change left it; `repeated` where the operation had been done before, and this is its first answer."""

    id: UUID
    account_id: UUID
    kind: Kind
    plan: Plan
    """The terms as they were when they were agreed."""
    next_plan: Plan | None
    """The terms from the next period on, where they are others."""
    period_start: datetime
    period_end: datetime
    owed_ucr: int
    """Used under a larger plan than the time was earned on; taken off what comes next."""
    cancels: bool
    """It ends with the period."""
    ended_at: datetime | None
    created_at: datetime
    repeated: bool = False


class CreditLineUse(msgspec.Struct, frozen=True, kw_only=True):
    """What of a period's credit line was used: what is to be billed."""

    period_start: datetime
    period_end: datetime
    used_ucr: int
    final: bool
    """The period is over, and no call of it is open any more. A refund may still lower it."""


class Subscriptions:
    """`moved` hears of accounts whose credits changed."""

    def __init__(self, pool: Executor, *, moved: Callable[[UUID], None]) -> None:
        self._pool = pool
        self._moved = moved

    async def subscribe(
        self,
        org_id: UUID,
        account_id: UUID,
        plan: Plan,
        *,
        operation_id: UUID,
        by: Origin,
        kind: Kind = "subscription",
        anchor_at: datetime | None = None,
        idempotency: Idempotency | None = None,
    ) -> Subscription:
        """Begins now, with the whole amount. With `anchor_at` periods begin there and whole periods from there, and
        what is left of the current one brings its share.

        Raises InvalidRequest, NotFound or Conflict; then nothing changed.
        """
        if anchor_at is not None and abs(anchor_at - datetime.now(UTC)) > ANCHOR_AWAY_MAX:
            raise InvalidRequest("The anchor must be at most a year away; nothing was changed.", param="anchor_at")
        return await self._change(
            org_id,
            account_id,
            operation_id,
            "subscribe",
            kind=kind,
            plan=plan,
            anchor_at=anchor_at,
            by=by,
            idempotency=idempotency,
        )

    async def change(
        self,
        org_id: UUID,
        account_id: UUID,
        plan: Plan,
        *,
        operation_id: UUID,
        by: Origin,
        when: When = "now",
        prorate: bool = True,
        idempotency: Idempotency | None = None,
    ) -> Subscription:
        """To other terms. At the period's end nothing moves before. Now and prorated, what the old plan gave for the
        time that is left is exchanged for what the new one gives for it; not prorated, for the whole period. What was
        used already is taken off what comes. To the plan that it has: only a change that waits is dropped.

        Raises InvalidRequest, NotFound or Conflict; then nothing changed.
        """
        what = "change" if when == "now" else "change_at_end"
        return await self._change(
            org_id, account_id, operation_id, what, plan=plan, prorate=prorate, by=by, idempotency=idempotency
        )

    @unavailable_in_outage
    async def begin(
        self,
        org_id: UUID,
        account_id: UUID,
        plan: Plan,
        *,
        new_id: Callable[[], UUID],
        by: Origin,
        idempotency: Idempotency | None = None,
    ) -> Subscription:
        """Subscribes where nothing is subscribed to, also after a cancellation that has come to its end. Where this
        plan is, nothing changes and the subscription is told as it is, `repeated`.

        Raises InvalidRequest, NotFound, or Conflict where there is another plan; then nothing changed.
        """

        async def change(connection: Executor) -> Subscription:
            await lock_pool(connection, org_id)
            inside = Subscriptions(connection, moved=lambda _: None)
            current = await inside.current(org_id, account_id)
            if current is None:
                return await inside.subscribe(org_id, account_id, plan, operation_id=new_id(), by=by)
            if current.plan.id != plan.id:
                _refuse("subscribed")
            return msgspec.structs.replace(current, repeated=True)

        made = await once(self._pool, org_id, idempotency, change, answer=Subscription)
        self._moved(account_id)
        return made

    @unavailable_in_outage
    async def set_plan(
        self,
        org_id: UUID,
        account_id: UUID,
        plan: Plan,
        *,
        new_id: Callable[[], UUID],
        by: Origin,
        when: When = "now",
        prorate: bool = True,
        idempotency: Idempotency | None = None,
        guard: Guard[Subscription] | None = None,
    ) -> Subscription:
        """This is its plan from now, or from the period's end, on, whatever was before: subscribes, changes, takes back
        a cancellation. Raises like `change`, and what `guard` raises of the one that there is.
        """

        async def change(connection: Executor) -> Subscription:
            await lock_pool(connection, org_id)
            inside = Subscriptions(connection, moved=lambda _: None)
            current = await inside.current(org_id, account_id)
            if guard is not None:
                guard(current)
            if current is None:
                return await inside.subscribe(org_id, account_id, plan, operation_id=new_id(), by=by)
            if current.cancels:
                await inside.resume(org_id, account_id, operation_id=new_id(), by=by)
            return await inside.change(
                org_id, account_id, plan, operation_id=new_id(), when=when, prorate=prorate, by=by
            )

        made = await once(self._pool, org_id, idempotency, change, answer=Subscription)
        self._moved(account_id)
        return made

    async def cancel(
        self,
        org_id: UUID,
        account_id: UUID,
        *,
        operation_id: UUID,
        by: Origin,
        when: When = "period_end",
        idempotency: Idempotency | None = None,
        guard: Guard[Subscription] | None = None,
    ) -> Subscription:
        """At the period's end, or now: what is left expires, but for what open calls hold. Raises like `set_plan`."""
        what = "cancel" if when == "now" else "cancel_at_end"
        return await self._change(org_id, account_id, operation_id, what, by=by, idempotency=idempotency, guard=guard)

    async def resume(self, org_id: UUID, account_id: UUID, *, operation_id: UUID, by: Origin) -> Subscription:
        """Takes back a cancellation before the period's end. Raises like `change`."""
        return await self._change(org_id, account_id, operation_id, "resume", by=by)

    @unavailable_in_outage
    async def current(self, org_id: UUID, account_id: UUID) -> Subscription | None:
        """The one that has not ended. Periods that are due are posted first."""
        await bring_up_to_date(self._pool, org_id)
        row = await self._pool.fetchrow(_SQL.current, org_id, account_id)
        return None if row is None else msgspec.json.decode(row["answer"], type=Subscription)

    @unavailable_in_outage
    async def credit_line_used(self, org_id: UUID, account_id: UUID, *, periods: int = 12) -> list[CreditLineUse]:
        """Latest period first."""
        await bring_up_to_date(self._pool, org_id)
        rows = await self._pool.fetch(_SQL.credit_line_used, org_id, account_id, periods)
        return [CreditLineUse(**dict(row.items())) for row in rows]

    @unavailable_in_outage
    async def _change(
        self,
        org_id: UUID,
        account_id: UUID,
        operation_id: UUID,
        what: str,
        *,
        kind: Kind | None = None,
        plan: Plan | None = None,
        anchor_at: datetime | None = None,
        prorate: bool = False,
        by: Origin,
        idempotency: Idempotency | None = None,
        guard: Guard[Subscription] | None = None,
    ) -> Subscription:
        if plan is not None:
            _check(plan)
        terms = None if plan is None else terms_row(plan)

        async def change(connection: Executor) -> Subscription:
            if guard is not None:
                await lock_pool(connection, org_id)
                guard(await Subscriptions(connection, moved=lambda _: None).current(org_id, account_id))
            row = await connection.fetchrow(
                _SQL.change, org_id, account_id, operation_id, what, kind, terms, anchor_at, prorate, by.row()
            )
            assert row is not None
            if row["status"] not in ("ok", "exists"):
                _refuse(row["status"])
            answer = msgspec.json.decode(row["answer"], type=Subscription)
            return msgspec.structs.replace(answer, repeated=row["status"] == "exists")

        try:
            made = await once(self._pool, org_id, idempotency, change, answer=Subscription)
        except asyncpg.CheckViolationError as error:
            if error.constraint_name == "ucr_within_bounds":
                raise InvalidRequest("The balance would pass the largest amount; nothing was changed.") from None
            raise
        except asyncpg.UniqueViolationError:
            raise _mismatch() from None  # at the same moment, for another account
        self._moved(account_id)
        return made


def terms_row(plan: Plan) -> tuple[object, ...]:
    """As Postgres takes it: the type plan_terms."""
    return (
        plan.id,
        plan.name,
        plan.period,
        plan.amount_ucr,
        plan.rollover_min_ucr,
        plan.rollover_max_ucr,
        plan.priority,
        plan.credit_line_ucr,
    )


def _check(plan: Plan) -> None:
    amounts = (plan.amount_ucr, plan.credit_line_ucr, plan.rollover_min_ucr, plan.rollover_max_ucr)
    if not all(0 <= ucr <= UCR_MAX for ucr in amounts) or plan.amount_ucr == plan.credit_line_ucr == 0:
        raise InvalidRequest(
            "A plan brings credits or a credit line, none of them negative or too large.", param="plan"
        )
    if plan.rollover_min_ucr > plan.rollover_max_ucr:
        raise InvalidRequest("rollover_min must not be more than rollover_max.", param="plan")
    if not 0 <= plan.priority <= PRIORITY_MAX:
        raise InvalidRequest(f"The priority must be between 0 and {PRIORITY_MAX}.", param="plan")


def _refuse(status: str) -> NoReturn:
    match status:
        case "mismatch":
            raise _mismatch()
        case "closed":
            raise Conflict("The account is closed; nothing was changed.")
        case "subscribed":
            raise Conflict("The account has a subscription already; nothing was changed. Change its plan instead.")
        case "no_subscription":
            raise NotFound("The account has no subscription, or it has ended; nothing was changed.")
        case "not_cancelled":
            raise Conflict("The subscription is not cancelled; nothing was changed.")
    raise NotFound("There is no such account; nothing was changed.")


def _mismatch() -> Conflict:
    return Conflict("This operation's id came before with another request; nothing was changed.")
