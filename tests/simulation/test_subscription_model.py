"""Postgres against the model of subscriptions: plans change back and forth, periods pass, calls are open across."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.core.origin import ITSELF
from gateway.ledger.calls import End, Ending, Wish
from gateway.ledger.items import ending_row, wish_row
from gateway.ledger.plans import Plan
from gateway.ledger.subscriptions import terms_row
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.postgres.queries import load
from tests.simulation.subscription_model import MICROSECOND, PlanGrant, Subscriber, instant, us
from tests.simulation.test_ledger_model import RECEIVABLE_MAX

_LEDGER, _INSTANCES, _ACCOUNTS = load("ledger"), load("instances"), load("accounts")
_LOOK = "SELECT save_account(bring_up_to(a, $2)) FROM account a WHERE org_id = $1"
_CHANGE = "SELECT status, answer FROM change_subscription($1, $1, $2, $3, $4, $5, NULL, $6, $8, $7)"

BEGINS = [
    datetime(2031, 1, 31, 12, tzinfo=UTC),
    datetime(2032, 3, 27, 1, 30, tzinfo=UTC),
    datetime(2031, 10, 25, tzinfo=UTC),
]
"""In the future, so that the clock makes nothing due: a month's end, and the days on which Berlin's clocks change."""
PLANS = [
    Plan(id="tiny", name="Tiny", amount_ucr=7),
    Plan(id="small", name="Small", amount_ucr=40, rollover_min_ucr=3, rollover_max_ucr=25),
    Plan(id="large", name="Large", amount_ucr=1_000, rollover_max_ucr=100, priority=10, credit_line_ucr=30),
    Plan(id="weekly", name="Weekly", amount_ucr=100, period="week", credit_line_ucr=5),
    Plan(id="line", name="Line", amount_ucr=0, credit_line_ucr=80),
]


class SubscriptionsAgainstModel(RuleBasedStateMachine):
    pool: asyncpg.Pool
    loop: asyncio.AbstractEventLoop

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    @initialize(zone=st.sampled_from(["UTC", "Europe/Berlin"]), begins=st.sampled_from(BEGINS))
    def open(self, zone: str, begins: datetime) -> None:
        self.ids = IdSource(Clock())
        self.org, self.instance = self.ids.next(), self.ids.next()
        self.model = Subscriber(RECEIVABLE_MAX, now=us(begins), zone=ZoneInfo(zone))
        self.calls: dict[UUID, int] = {}
        self.last: tuple[Any, ...] = ()
        self.run(self.pool.execute(_INSTANCES.register, self.instance, "model"))
        self.run(self.pool.execute(_ACCOUNTS.open_account, self.org, self.org))
        policy = "INSERT INTO credit_policy (org_id, time_zone) VALUES ($1, $2)"
        self.run(self.pool.execute(policy, self.org, zone))

    # --- what people do ---------------------------------------------------------------------------------------------

    @rule(plan=st.sampled_from(PLANS))
    def subscribe(self, plan: Plan) -> None:
        self._tick()
        assert self._do("subscribe", plan) == self.model.subscribe(plan)

    @rule(plan=st.sampled_from(PLANS), at_end=st.booleans(), prorate=st.booleans())
    def change(self, plan: Plan, at_end: bool, prorate: bool) -> None:
        self._tick()
        status = self._do("change_at_end" if at_end else "change", plan, prorate=prorate)
        assert status == self.model.change(plan, at_end=at_end, prorate=prorate)

    @precondition(lambda self: self.model.sub is not None)
    @rule(data=st.data(), plans=st.lists(st.sampled_from(PLANS), min_size=2, max_size=5))
    def flip(self, data: st.DataObject, plans: list[Plan]) -> None:
        for plan in plans:
            self.change(plan, at_end=False, prorate=True)
            if data.draw(st.booleans(), label="and use it up") and self.model.available:
                self.hold(self.model.available)
                self.settle(data)

    @rule(at_end=st.booleans())
    def cancel(self, at_end: bool) -> None:
        self._tick()
        assert self._do("cancel_at_end" if at_end else "cancel") == self.model.cancel(at_end=at_end)

    @rule()
    def resume(self) -> None:
        self._tick()
        assert self._do("resume") == self.model.resume()

    @precondition(lambda self: self.last and self.last[1] == "ok")  # what was refused may be right another time
    @rule()
    def the_last_change_again(self) -> None:
        arguments, _, answer = self.last
        again = self.run(self.pool.fetchrow(_CHANGE, *arguments))
        assert (again["status"], again["answer"]) == ("exists", answer)

    def _do(self, what: str, plan: Plan | None = None, *, prorate: bool = False) -> str:
        kind = "subscription" if what == "subscribe" else None
        terms = terms_row(plan) if plan else None
        arguments = (self.org, self.ids.next(), what, kind, terms, prorate, instant(self.model.now), ITSELF.row())
        row = self.run(self.pool.fetchrow(_CHANGE, *arguments))
        self.last = (arguments, row["status"], row["answer"])
        return str(row["status"])

    # --- what calls do ----------------------------------------------------------------------------------------------

    @rule(amount=st.integers(1, 60))
    def hold(self, amount: int) -> None:
        self._look()
        id = self.ids.next()
        wish = Wish(
            id=id,
            org_id=self.org,
            account_ids=(self.org,),
            key_id=None,
            model="m",
            amount_ucr=amount,
            learned_ucr=amount,
            prompt_ucr=0,
        )
        [answer] = self._post([], [wish_row(wish, None)])["wishes"]
        assert tuple(answer)[:2] == self.model.reserve(id, amount, amount, 0)
        if answer[0] == "ok":
            self.calls[id] = amount
        now = instant(self.model.now)
        self.run(self.pool.execute("UPDATE reservation SET created_at = $1 WHERE id = $2", now, id))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        self._look()
        id = data.draw(st.sampled_from(sorted(self.calls)), label="call")
        cost = data.draw(st.integers(0, self.calls.pop(id) + 10), label="cost")
        ending = Ending(
            id=id,
            org_id=self.org,
            account_id=self.org,
            end=End.OK,
            delivered=True,
            cost_ucr=cost,
            numerator=cost * 1_000_000,
            lines=b'[["output", 1000000, %d]]' % cost,
        )
        [answer] = self._post([ending_row(ending)], [])["settlements"]
        assert tuple(answer)[:4] == self.model.settle(id, delivered=True, cost=cost, waive=False)

    def _post(self, endings: list[Any], wishes: list[Any]) -> Any:
        arguments: tuple[Any, ...] = (self.org, self.instance, RECEIVABLE_MAX, endings, [], wishes)
        return self.run(self.pool.fetchrow(_LEDGER.post_batch, *arguments))

    # --- what time does ---------------------------------------------------------------------------------------------

    @rule(days=st.integers(0, 100), seconds=st.integers(0, 86_400))
    def time_passes(self, days: int, seconds: int) -> None:
        self.run(self._name_grants())
        self.model.now += timedelta(days=days, seconds=seconds) // MICROSECOND
        self._look()

    @precondition(lambda self: self.model.sub is not None)
    @rule(off_us=st.sampled_from([-1, 0, 1]))
    def the_period_is_at_its_end(self, off_us: int) -> None:
        self.model.now = max(self.model.now, self.model.sub.end + off_us)  # type: ignore[union-attr]
        self._look()

    def _tick(self) -> None:
        self.run(self._name_grants())
        self.model.now += 1  # no two grants begin at one instant

    def _look(self) -> None:
        self._tick()
        self.run(self.pool.execute(_LOOK, self.org, instant(self.model.now)))
        self.model.look()
        self.run(self._name_grants())

    # --- the same books ---------------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_the_same_and_sound(self) -> None:
        self.run(self._compare())

    async def _name_grants(self) -> None:
        """The model's grants take the ids that Postgres gave them, on which their order may depend."""
        rows = await self.pool.fetch("SELECT * FROM credit_grant WHERE org_id = $1 AND live", self.org)
        by_facts = {(us(r["effective_at"]), us(r["expires_at"]), r["priority"], r["amount_ucr"]): r["id"] for r in rows}
        for grant in self.model.grants:
            facts = (grant.effective_at, grant.expires_at, grant.priority, grant.amount)
            grant.id = by_facts.get(facts, grant.id)

    async def _compare(self) -> None:
        model = self.model
        account = await self.pool.fetchrow("SELECT * FROM account WHERE org_id = $1", self.org)
        assert account is not None
        assert (account["balance_ucr"], account["held_ucr"], account["receivable_ucr"]) == (
            model.balance,
            model.held,
            model.receivable,
        )
        history = "SELECT kind, amount_ucr FROM ledger WHERE account_id = $1 ORDER BY version"
        assert [tuple(row) for row in await self.pool.fetch(history, self.org)] == model.rows
        grants = await self.pool.fetch("SELECT * FROM credit_grant WHERE org_id = $1", self.org)
        assert sorted(
            (us(r["effective_at"]), r["priority"], r["amount_ucr"], r["remaining_ucr"]) for r in grants
        ) == sorted((g.effective_at, g.priority, g.amount, g.remaining) for g in model.grants)
        assert await self.pool.fetch("SELECT * FROM violations($1, $1, 0, 0, 0)", self.org) == []
        await self._compare_subscription()

    async def _compare_subscription(self) -> None:
        row = await self.pool.fetchrow("SELECT * FROM subscription WHERE org_id = $1 AND ended_at IS NULL", self.org)
        s = self.model.sub
        assert (row is None) == (s is None)
        if row is None or s is None:
            return
        assert (
            us(row["period_start"]),
            us(row["period_end"]),
            row["owed_ucr"],
            row["line_owed_ucr"],
            row["cancels"],
        ) == (
            s.start,
            s.end,
            s.owed,
            s.line_owed,
            s.cancels,
        )
        assert (row["terms"]["plan_id"], row["next_terms"] and row["next_terms"]["plan_id"]) == (
            s.plan.id,
            s.next_plan and s.next_plan.id,
        )
        await self._nobody_gains(row["subscription_id"])

    async def _nobody_gains(self, subscription_id: UUID) -> None:
        """Whatever was changed and used in between: given − owed is what time earned, less what rounding took."""
        s = self.model.sub
        assert s is not None
        given = await self.pool.fetchval(
            """
            SELECT sum(g.amount_ucr + (SELECT coalesce(sum(l.amount_ucr), 0) FROM ledger l
                                        WHERE l.ref_id = g.id AND l.kind = 'VOID'))
              FROM credit_grant g
             WHERE g.org_id = $1 AND g.subscription_id = $2 AND g.kind <> 'credit_line' AND g.reason <> 'ROLLOVER'
            """,
            self.org,
            subscription_id,
        )
        missing = s.earned - (int(given or 0) - s.owed)
        assert 0 <= missing <= 2 * s.changes

    def teardown(self) -> None:
        assert all(isinstance(grant, PlanGrant) for grant in self.model.grants)


def test_postgres_does_what_the_model_of_subscriptions_does(loop_and_pool: Any) -> None:
    loop, pool = loop_and_pool
    machine = type("Machine", (SubscriptionsAgainstModel,), {"loop": loop, "pool": pool})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
