"""The ledger's specification: one account, one operation after another, in plain Python.

It knows no batch, lock or retry: whatever Postgres does with many at once must look as if it had happened here, in some
order. Time is a counter. Amounts are ucr.
"""

from dataclasses import dataclass, field, replace
from uuid import UUID

INFINITY = 1 << 62
Answer = tuple[str, int, int, int]
"""Of a settlement: status, charged, overage, waived."""


@dataclass
class Grant:
    id: UUID
    amount: int
    priority: int
    paid: bool
    effective_at: int
    expires_at: int
    active: bool = False
    remaining: int = 0
    expired: bool = False
    """Its end was posted; what remains is for calls older than it."""
    voided_at: int = INFINITY

    @property
    def end(self) -> int:
        return min(self.expires_at, self.voided_at)


@dataclass
class Open:
    amount: int
    prompt: int
    made_at: int
    owned: bool = False
    """By an outside caller: no sweep ends it, but its time does."""
    spent: int = 0


@dataclass
class Ended:
    kind: str
    cost: int
    charged: int
    overage: int
    waived: int
    held: int
    swept: bool
    burned: list[tuple[Grant, int]]
    """What no refund has returned yet."""


@dataclass
class Account:
    receivable_max: int
    now: int = 0
    balance: int = 0
    held: int = 0
    receivable: int = 0
    grants: list[Grant] = field(default_factory=list)
    open: dict[UUID, Open] = field(default_factory=dict)
    ended: dict[UUID, Ended] = field(default_factory=dict)
    late: dict[UUID, int] = field(default_factory=dict)
    """The difference in cost that was posted for a call after its sweep."""
    rows: list[tuple[str, int]] = field(default_factory=list)

    @property
    def available(self) -> int:
        return self.balance - self.held

    # --- operations: each begins by bringing the account up to now --------------------------------------------------

    def grant(self, grant: Grant) -> None:
        self._bring_up_to_now()
        self.grants.append(grant)
        if grant.effective_at <= self.now:
            self._activate(grant)
        self._repay()

    def reserve(self, id: UUID, amount: int, learned: int, prompt: int) -> tuple[str, int]:
        self._bring_up_to_now()
        ucr = learned if self.available >= 20 * amount else amount
        if id in self.ended:
            return "ended", 0
        if id in self.open:
            return "exists", self.open[id].amount
        if self.receivable:
            return "receivable", 0
        if ucr > self.balance:
            return "insufficient", 0
        if ucr > self.available:
            return "busy", 0
        self.open[id] = Open(ucr, prompt, self.now)
        self.held += ucr
        return "ok", ucr

    def extend(self, id: UUID, at_least: int) -> tuple[str, int]:
        self._bring_up_to_now()
        call = self.open.get(id)
        if call is None:
            return "ended", 0
        more = at_least - call.amount
        if more <= 0:
            return "exists", call.amount
        if self.receivable:
            return "receivable", call.amount
        if at_least > self.balance:
            return "insufficient", call.amount
        if more > self.available:
            return "busy", call.amount
        self.held += more
        call.amount = at_least
        return "ok", at_least

    def settle(self, id: UUID, *, delivered: bool, cost: int, waive: bool, swept: bool = False) -> Answer:
        self._bring_up_to_now()
        kind = "CHARGE" if delivered else "RELEASE"
        call = self.open.pop(id, None)
        if call is None:
            before = self.ended.get(id)
            if before is None:
                self.rows.append((kind, 0))
                self.ended[id] = Ended(kind, cost, 0, 0, cost, 0, False, [])
                return "tombstone", 0, 0, cost
            if before.swept:
                return self._settle_late(id, before, cost, waive)
            return ("same" if (before.cost, before.kind) == (cost, kind) else "conflict"), 0, 0, 0
        self.held -= call.amount
        most = min(cost, call.amount) if waive else cost
        charged = min(most, self.available)
        overage = min(most - charged, max(0, self.receivable_max - self.receivable))
        burned = self._burn(charged, made_at=call.made_at)
        self.balance -= charged
        self.receivable += overage
        self.rows.append((kind, -charged))
        waived = cost - charged - overage
        self.ended[id] = Ended(kind, cost, charged, overage, waived, call.amount, swept, burned)
        self._trim_expired()
        self._repay()
        return "settled", charged, overage, waived

    def sweep(self) -> None:
        """The owner died; it had reported nothing."""
        for id in sorted(id for id, call in self.open.items() if not call.owned):
            self.settle(id, delivered=True, cost=self.open[id].prompt, waive=True, swept=True)

    # --- operations beside calls ------------------------------------------------------------------------------------

    def expire(self, id: UUID) -> None:
        """The time of an owned reservation is over."""
        spent = self.open[id].spent
        self.settle(id, delivered=spent > 0, cost=spent, waive=True, swept=True)

    def settle_owned(self, id: UUID, cost: int) -> str:
        before = self.ended.get(id)
        if id not in self.open and before is None:
            return "unknown"
        status, *_ = self.settle(id, delivered=cost > 0, cost=cost, waive=False)
        return {"settled": "ok", "late": "ok", "same": "exists"}.get(status, status)

    def deduct(self, id: UUID, ucr: int) -> str:
        status, _ = self.reserve(id, ucr, ucr, 0)
        if status == "ok":
            self.settle(id, delivered=True, cost=ucr, waive=False)
        return status

    def take(self, ucr: int) -> str:
        self._bring_up_to_now()
        if ucr > self.available:
            return "insufficient"
        self._burn(ucr, made_at=INFINITY)
        self.balance -= ucr
        self.rows.append(("ADJUSTMENT", -ucr))
        return "ok"

    def void(self, grant: Grant) -> str:
        self._bring_up_to_now()
        if grant.voided_at < INFINITY:
            return "exists"
        if not grant.active:
            self._activate(grant)
        leave = 0 if grant.expired else min(grant.remaining, self.available)
        grant.voided_at = self.now
        grant.expired = True
        self._take_expired(grant, leave)
        return "ok"

    def refund(self, id: UUID, ucr: int) -> str:
        charge = self.ended.get(id)
        if charge is None or charge.kind != "CHARGE":
            return "no_charge"
        self._bring_up_to_now()
        if charge.swept and id not in self.late:
            return "provisional"
        if ucr > sum(took for _, took in charge.burned):
            return "too_much"
        self.balance += ucr
        self.rows.append(("REFUND", ucr))
        self._unburn(charge, ucr)
        self._repay()
        return "ok"

    def send(self, target: "Account", ucr: int, ids: list[UUID]) -> str:
        """A transfer; `ids` are those of the grants that it makes, one for each that it burns."""
        self._bring_up_to_now()
        target._bring_up_to_now()
        if ucr > self.available:
            return "insufficient"
        burned = self._burn(ucr, made_at=INFINITY)
        self.balance -= ucr
        self.rows.append(("TRANSFER_OUT", -ucr))
        for id, (grant, took) in zip(ids, burned, strict=True):
            target.grants.append(
                replace(grant, id=id, amount=took, remaining=took, active=True, expired=False, voided_at=INFINITY)
            )
        target.balance += ucr
        target.rows.append(("TRANSFER_IN", ucr))
        target._repay()
        return "ok"

    # --- what they share --------------------------------------------------------------------------------------------

    def _settle_late(self, id: UUID, before: Ended, cost: int, waive: bool) -> Answer:
        more = cost - before.cost
        if id in self.late:
            return ("same" if self.late[id] == more else "conflict"), 0, 0, 0
        self.late[id] = more
        if more >= 0:
            most = max(0, min(cost, before.held) - before.cost) if waive else more
            charged = min(most, self.available)
            overage = min(most - charged, max(0, self.receivable_max - self.receivable))
            waived = more - charged - overage
            self._burn(charged, made_at=INFINITY)
            self.balance -= charged
            self.receivable += overage
            self.rows.append(("LATE_CHARGE", -charged))
        else:
            waived, overage = min(-more, before.waived), 0
            charged = -more - waived
            self.balance += charged
            self.rows.append(("REFUND", charged))
            self._unburn(before, charged)
        self._repay()
        return "late", charged, overage, waived

    def _activate(self, grant: Grant) -> None:
        grant.active = True
        grant.remaining = grant.amount
        self.balance += grant.amount
        self.rows.append(("GRANT", grant.amount))

    def _bring_up_to_now(self) -> None:
        for grant in sorted(self.grants, key=lambda g: (g.effective_at, g.id)):
            if not grant.active and grant.effective_at <= self.now:
                self._activate(grant)
        for grant in sorted(self.grants, key=lambda g: (g.expires_at, g.id)):
            if grant.active and grant.remaining and not grant.expired and grant.expires_at <= self.now:
                grant.expired = True
                self._take_expired(grant, min(grant.remaining, self.available))
        self._repay()

    def _take_expired(self, grant: Grant, leave: int) -> None:
        grant.remaining -= leave
        self.balance -= leave
        if leave:
            self.rows.append(("EXPIRY" if grant.voided_at == INFINITY else "VOID", -leave))

    def _trim_expired(self) -> None:
        kept = 0
        for grant in sorted(self.grants, key=lambda g: (g.end, g.id)):
            if grant.expired and grant.remaining:
                protected = sum(call.amount for call in self.open.values() if call.made_at < grant.end)
                stays = min(grant.remaining, max(0, protected - kept))
                kept += stays
                self._take_expired(grant, grant.remaining - stays)

    def _repay(self) -> None:
        ucr = min(self.receivable, self.available)
        if ucr > 0:
            self._burn(ucr, made_at=INFINITY)
            self.balance -= ucr
            self.receivable -= ucr
            self.rows.append(("REPAYMENT", -ucr))

    def _burn(self, ucr: int, *, made_at: int) -> list[tuple[Grant, int]]:
        burned = []
        order = sorted(
            self.grants,
            key=lambda g: (
                not g.expired,
                g.expires_at if g.expired else 0,
                g.priority,
                g.expires_at,
                g.paid,
                g.effective_at,
                g.id,
            ),
        )
        for grant in order:
            take = min(ucr, grant.remaining)
            if take and (not grant.expired or made_at < grant.end):
                grant.remaining -= take
                ucr -= take
                burned.append((grant, take))
        assert ucr == 0, "available was more than the grants"
        return burned

    def _unburn(self, charge: Ended, ucr: int) -> None:
        kept = []
        for grant, took in reversed(charge.burned):
            back = min(ucr, took)
            ucr -= back
            grant.remaining += back
            kept.append((grant, took - back))
            if grant.end <= self.now:
                self._take_expired(grant, back)
        charge.burned = [(grant, took) for grant, took in reversed(kept) if took]
