"""Postgres against the model: random histories of batches, time passing, owners dying; the same answers and books."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

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
from gateway.ledger.grants import Grant, TransactionType
from gateway.ledger.items import ending_row, wish_row
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.postgres.queries import load
from tests.simulation import model
from tests.simulation.model import INFINITY, Account

RECEIVABLE_MAX = 40
FAR = datetime(2100, 1, 1, tzinfo=UTC)
FAR_TICKS = 1 << 40

_LEDGER, _GRANTS, _INSTANCES, _ACCOUNTS = load("ledger"), load("grants"), load("instances"), load("accounts")

amounts = st.one_of(st.integers(0, 5), st.integers(0, 120))


class LedgerAgainstModel(RuleBasedStateMachine):
    pool: asyncpg.Pool
    loop: asyncio.AbstractEventLoop

    def run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    @initialize()
    def open(self) -> None:
        self.ids = IdSource(Clock())
        self.org = self.ids.next()
        self.instance = self.ids.next()
        self.model = Account(RECEIVABLE_MAX)
        self.calls: list[UUID] = []
        self.run(self.pool.execute(_INSTANCES.register, self.instance, "model"))
        self.run(self.pool.execute(_ACCOUNTS.open_account, self.org, self.org))

    # --- what people and time do ------------------------------------------------------------------------------------

    @rule(
        amount=st.integers(1, 100),
        priority=st.sampled_from([0, 50]),
        paid=st.booleans(),
        ends_in=st.sampled_from([None, 1, 2]),
        later=st.booleans(),
    )
    def grant(self, amount: int, priority: int, paid: bool, ends_in: int | None, later: bool) -> None:
        self.model.now += 1
        id = self.ids.next()
        effective_at = FAR if later else None
        expires_at = FAR + timedelta(days=ends_in) if ends_in else None
        row = self.run(
            self.pool.fetchrow(
                _GRANTS.add_grant,
                self.org,
                Grant(
                    id=id,
                    org_id=self.org,
                    account_id=self.org,
                    amount_ucr=amount,
                    transaction_type=TransactionType.PURCHASE,
                    priority=priority,
                    category="paid" if paid else "promo",
                    effective_at=effective_at,
                    expires_at=expires_at,
                ).row(),
                ITSELF.row(),
            )
        )
        assert row["status"] == "ok"
        self.model.grant(
            model.Grant(
                id=id,
                amount=amount,
                priority=priority,
                paid=paid,
                effective_at=FAR_TICKS if later else self.model.now,
                expires_at=FAR_TICKS + ends_in if ends_in else INFINITY,
            )
        )

    @precondition(lambda self: self._waiting())
    @rule(data=st.data())
    def a_grant_begins(self, data: st.DataObject) -> None:
        self.model.now += 1
        grant = data.draw(st.sampled_from(self._waiting()))
        self._move_time(grant, "effective_at")
        grant.effective_at = self.model.now

    @precondition(lambda self: self._ending())
    @rule(data=st.data())
    def a_grant_expires(self, data: st.DataObject) -> None:
        self.model.now += 1
        grant = data.draw(st.sampled_from(self._ending()))
        self._move_time(grant, "expires_at")
        grant.expires_at = self.model.now

    def _waiting(self) -> list[model.Grant]:
        return [g for g in self.model.grants if g.effective_at == FAR_TICKS and g.voided_at == INFINITY]

    def _ending(self) -> list[model.Grant]:
        return [
            g for g in self.model.grants if g.active and FAR_TICKS < g.expires_at < INFINITY and g.voided_at == INFINITY
        ]

    def _move_time(self, grant: model.Grant, column: str) -> None:
        move = f"UPDATE credit_grant SET {column} = clock_timestamp() WHERE org_id = $1 AND id = $2"
        self.run(self.pool.execute(move, self.org, grant.id))
        self.run(self.pool.execute("UPDATE account SET next_change_at = clock_timestamp() WHERE org_id = $1", self.org))

    # --- what calls do ----------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def a_batch(self, data: st.DataObject) -> None:
        self.model.now += 1
        endings = [self._ending_of(data, id) for id in data.draw(self._some_calls(4), label="settle")]
        extensions = [
            (id, data.draw(amounts, label="at least")) for id in sorted(data.draw(self._some_calls(3), label="extend"))
        ]
        wishes = {wish.id: wish for wish in (self._wish(data) for _ in range(data.draw(st.integers(0, 4))))}.values()
        answers = self.run(
            self.pool.fetchrow(
                _LEDGER.post_batch,
                self.org,
                self.instance,
                RECEIVABLE_MAX,
                [ending_row(ending) for ending in endings],
                [(id, self.org, ucr) for id, ucr in extensions],
                [wish_row(wish, None) for wish in wishes],
            )
        )
        expected = [
            self.model.settle(e.id, delivered=e.delivered, cost=e.cost_ucr, waive=e.waive_above_held) for e in endings
        ]
        assert [tuple(answer)[:4] for answer in answers["settlements"] or []] == expected
        expected_holds = [self.model.extend(id, ucr) for id, ucr in extensions]
        assert [tuple(answer)[:2] for answer in answers["extensions"] or []] == expected_holds
        expected_holds = [self.model.reserve(w.id, w.amount_ucr, w.learned_ucr, w.prompt_ucr) for w in wishes]
        assert [tuple(answer)[:2] for answer in answers["wishes"] or []] == expected_holds

    @rule()
    def the_owner_dies_and_is_swept(self) -> None:
        self.model.now += 1
        self.run(self.pool.fetchrow(_INSTANCES.recover_owners, self.org, self.org, [self.instance], 1000))
        self.model.sweep()

    def _some_calls(self, most: int) -> st.SearchStrategy[list[UUID]]:
        unseen = self.ids.next()
        return st.lists(st.sampled_from([*self.calls[-12:], unseen]), max_size=most, unique=True)

    def _wish(self, data: st.DataObject) -> Wish:
        # Now and then an id that was seen before: open, ended, refused, or made a tombstone.
        again = bool(self.calls) and data.draw(st.integers(0, 5), label="again") == 0
        id = data.draw(st.sampled_from(self.calls), label="id") if again else self.ids.next()
        if id in self.calls:
            self.calls.remove(id)
        self.calls.append(id)
        amount = data.draw(amounts, label="amount")
        learned = data.draw(st.integers(0, amount), label="learned")
        prompt = data.draw(st.integers(0, amount), label="prompt")
        return Wish(
            id=id,
            org_id=self.org,
            account_ids=(self.org,),
            key_id=None,
            model="m",
            amount_ucr=amount,
            learned_ucr=learned,
            prompt_ucr=prompt,
        )

    def _ending_of(self, data: st.DataObject, id: UUID) -> Ending:
        if id not in self.calls:
            self.calls.append(id)
        delivered = data.draw(st.booleans(), label="delivered")
        cost = data.draw(amounts, label="cost") if delivered else 0
        return Ending(
            id=id,
            org_id=self.org,
            account_id=self.org,
            end=End.OK,
            delivered=delivered,
            cost_ucr=cost,
            numerator=cost * 1_000_000,
            lines=b'[["output", 1000000, %d]]' % cost,
            waive_above_held=delivered and data.draw(st.booleans(), label="waive"),
        )

    # --- the same books ---------------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_the_same_and_sound(self) -> None:
        self.run(self._compare(self.org, self.model))

    async def _compare(self, account_id: UUID, model: Account) -> None:
        account = await self.pool.fetchrow("SELECT * FROM account WHERE account_id = $1", account_id)
        assert account is not None
        assert (account["balance_ucr"], account["held_ucr"], account["open_count"], account["receivable_ucr"]) == (
            model.balance,
            model.held,
            len(model.open),
            model.receivable,
        )
        history = "SELECT kind, amount_ucr FROM ledger WHERE account_id = $1 ORDER BY version"
        rows = await self.pool.fetch(history, account_id)
        assert str([tuple(row) for row in rows]) == str(model.rows)
        grants = await self.pool.fetch("SELECT id, remaining_ucr FROM credit_grant WHERE account_id = $1", account_id)
        assert {row["id"]: row["remaining_ucr"] for row in grants} == {g.id: g.remaining for g in model.grants}
        open_rows = await self.pool.fetch("SELECT id, amount_ucr FROM reservation WHERE account_id = $1", account_id)
        assert {row["id"]: row["amount_ucr"] for row in open_rows} == {id: c.amount for id, c in model.open.items()}
        found = await self.pool.fetch("SELECT * FROM violations($1, $2, 0, 0, 0)", self.org, account_id)
        assert found == []


def test_postgres_does_what_the_model_does(loop_and_pool: Any) -> None:
    play(LedgerAgainstModel, *loop_and_pool)


def play(machine: type[LedgerAgainstModel], loop: asyncio.AbstractEventLoop, pool: asyncpg.Pool) -> None:
    machine = type("Machine", (machine,), {"loop": loop, "pool": pool})
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
