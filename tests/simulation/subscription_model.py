"""What a subscription does to an account; the ledger's specification goes on: periods, plans, what is earned and owed.

Instants are whole microseconds; periods follow each other on the clocks of a time zone, by Python's own rules for them.
"""

import calendar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import count
from uuid import UUID
from zoneinfo import ZoneInfo

from gateway.ledger.plans import Plan
from tests.simulation.model import Account, Grant

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LINE_PRIORITY = 32_767


def us(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def instant(us: int) -> datetime:
    return EPOCH + us * MICROSECOND


def boundary(anchor: datetime, period: str, n: int, zone: ZoneInfo) -> datetime:
    """The n-th period after the anchor, a time of that zone's clocks, begins at this instant."""
    if period in ("month", "year"):
        months = anchor.year * 12 + anchor.month - 1 + n * (12 if period == "year" else 1)
        year, month = months // 12, months % 12 + 1
        wall = anchor.replace(year=year, month=month, day=min(anchor.day, calendar.monthrange(year, month)[1]))
    else:
        wall = anchor + timedelta(days=n * (7 if period == "week" else 1))
    # A time that a zone skips is meant as before the change, one that it has twice as after it.
    offset = min(wall.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return (wall - offset).replace(tzinfo=UTC)


@dataclass
class PlanGrant(Grant):
    line: bool = False
    made_for: int = 0
    """Number of its subscription."""


@dataclass
class Subscription:
    plan: Plan
    number: int
    anchor: datetime
    periods: int = 0
    start: int = 0
    end: int = 0
    next_plan: Plan | None = None
    owed: int = 0
    line_owed: int = 0
    cancels: bool = False
    earned: Fraction = Fraction(0)
    """Exactly; what was given less what is owed is at most this, and misses it by rounding alone."""
    changes: int = 0


@dataclass
class Subscriber(Account):
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    sub: Subscription | None = None
    numbers: count = field(default_factory=lambda: count(1))  # type: ignore[type-arg]

    # --- operations -------------------------------------------------------------------------------------------------

    def look(self) -> None:
        self._bring_up_to_now()

    def subscribe(self, plan: Plan) -> str:
        self._bring_up_to_now()
        if self.sub:
            return "subscribed"
        self.sub = s = Subscription(plan, next(self.numbers), self._wall(self.now), start=self.now)
        self._set_end(s, past=self.now)
        self._begin(s, self.now)
        self._repay()
        return "ok"

    def change(self, plan: Plan, *, at_end: bool, prorate: bool) -> str:
        self._bring_up_to_now()
        s = self.sub
        if not s:
            return "no_subscription"
        if at_end:
            s.next_plan = None if plan == s.plan else plan
            return "ok"
        old = replace(s)
        s.plan, s.next_plan = plan, None
        if plan == old.plan:
            return "ok"
        s.changes += 1
        left = Fraction(s.end - self.now, s.end - s.start) if prorate else Fraction(1)
        come_left = left
        line_back = old.plan.credit_line_ucr + old.line_owed
        if plan.period != old.plan.period:
            s.anchor, s.periods, s.start = self._wall(self.now), 0, self.now
            self._set_end(s, past=self.now)
            come_left = Fraction(1)
            line_back = sum(grant.remaining for grant in self._of(old, line=True))
        back = -(-old.plan.amount_ucr * left // 1)
        come = plan.amount_ucr * come_left // 1
        s.earned += plan.amount_ucr * come_left - old.plan.amount_ucr * left
        s.owed = self._exchange(old, s, int(back) + old.owed, int(come), line=False)
        s.line_owed = self._exchange(old, s, line_back, plan.credit_line_ucr, line=True)
        self._repay()
        return "ok"

    def cancel(self, *, at_end: bool) -> str:
        self._bring_up_to_now()
        s = self.sub
        if not s:
            return "no_subscription"
        s.cancels = True
        if not at_end:
            for grant in self.grants:
                if (
                    isinstance(grant, PlanGrant)
                    and grant.made_for == s.number
                    and grant.remaining
                    and not grant.expired
                ):
                    grant.expires_at = self.now
            s.end = self.now
            self._end_period(s)
            self.sub = None
            self._repay()
        return "ok"

    def resume(self) -> str:
        self._bring_up_to_now()
        if not self.sub:
            return "no_subscription"
        if not self.sub.cancels:
            return "not_cancelled"
        self.sub.cancels = False
        return "ok"

    # --- what they share --------------------------------------------------------------------------------------------

    def _bring_up_to_now(self) -> None:
        while self.sub and self.sub.end <= self.now:
            self._renew(self.sub)
        super()._bring_up_to_now()

    def _renew(self, s: Subscription) -> None:
        if s.cancels:
            self._end_period(s)
            self.sub = None
            return
        old = replace(s)
        s.start = s.end
        if s.next_plan:
            if s.next_plan.period != s.plan.period:
                s.anchor, s.periods = self._wall(s.start), 0
            s.plan, s.next_plan = s.next_plan, None
        self._set_end(s, past=s.start)
        self._roll_over(old, s.end)
        self._end_period(old)
        self._begin(s, s.start)

    def _begin(self, s: Subscription, effective_at: int) -> None:
        s.earned += s.plan.amount_ucr
        self._give(s, max(0, s.plan.amount_ucr - s.owed), effective_at, line=False)
        s.owed = max(0, s.owed - s.plan.amount_ucr)
        self._give(s, s.plan.credit_line_ucr, effective_at, line=True)
        s.line_owed = 0

    def _end_period(self, s: Subscription) -> None:
        for line in (True, False):
            for grant in self._of(s, line=line):
                grant.expired = True
                self._take_expired(grant, min(grant.remaining, self.available))

    def _roll_over(self, s: Subscription, expires_at: int) -> None:
        parts = self._of(s, line=False)
        left = sum(grant.remaining for grant in parts)
        carried = min(s.plan.rollover_max_ucr, max(s.plan.rollover_min_ucr, left), left)
        if carried:
            self.rows += [("TRANSFER_OUT", -carried), ("TRANSFER_IN", carried)]
            carry = self._grant(s, carried, parts[0].effective_at, expires_at, line=False)
            for grant in parts:
                take = min(carried, grant.remaining)
                grant.remaining -= take
                carried -= take
            self.grants.append(carry)

    def _exchange(self, old: Subscription, new: Subscription, back: int, come: int, *, line: bool) -> int:
        parts = [grant for grant in self._of(old, line=line) if grant.effective_at >= old.start]
        unused = sum(grant.remaining for grant in parts)
        out = min(back - come, unused, self.available)
        taken = min(back, unused)
        self._give(new, taken - out, self.now, line=line)
        for grant in parts:
            take = min(taken, grant.remaining)
            if take:
                grant.remaining -= take
                taken -= take
                self.balance -= take
                self.rows.append(("VOID", -take))
        return back - come - out

    def _give(self, s: Subscription, ucr: int, effective_at: int, *, line: bool) -> None:
        if ucr:
            grant = self._grant(s, ucr, effective_at, s.end, line=line)
            self.grants.append(grant)
            self.balance += ucr
            self.rows.append(("GRANT", ucr))

    def _grant(self, s: Subscription, ucr: int, effective_at: int, expires_at: int, *, line: bool) -> PlanGrant:
        return PlanGrant(
            id=UUID(int=0),
            amount=ucr,
            priority=LINE_PRIORITY if line else s.plan.priority,
            paid=True,
            effective_at=effective_at,
            expires_at=expires_at,
            active=True,
            remaining=ucr,
            line=line,
            made_for=s.number,
        )

    def _of(self, s: Subscription, *, line: bool) -> list[PlanGrant]:
        """Its grants that end with its period, the oldest first."""
        found = [
            grant
            for grant in self.grants
            if isinstance(grant, PlanGrant)
            and (grant.made_for, grant.line, grant.expires_at) == (s.number, line, s.end)
            and grant.remaining
            and not grant.expired
        ]
        return sorted(found, key=lambda grant: grant.effective_at)

    def _wall(self, at: int) -> datetime:
        return instant(at).astimezone(self.zone).replace(tzinfo=None)

    def _set_end(self, s: Subscription, *, past: int) -> None:
        while True:
            s.periods += 1
            s.end = us(boundary(s.anchor, s.plan.period, s.periods, self.zone))
            if s.end > past:
                return
