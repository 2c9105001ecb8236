"""Postgres against the model again, with what is done beside calls: two accounts, credits across, back, taken out."""

from collections.abc import Awaitable
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from gateway.core.errors import (
    Conflict,
    IdempotencyMismatch,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    TollgateError,
)
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF
from gateway.ledger import operations
from gateway.ledger.accounts import open_allocation
from gateway.ledger.deductions import Deduction, deduct
from gateway.ledger.options import LedgerSettings
from gateway.ledger.owned import OwnedReservations, OwnedWish, Owner
from gateway.ledger.used import Used
from gateway.ops.metrics import Metrics
from tests.simulation.model import INFINITY, Account
from tests.simulation.test_ledger_model import RECEIVABLE_MAX, LedgerAgainstModel, amounts, play

KEY = Idempotency("once", b"\x01")


class OperationsAgainstModel(LedgerAgainstModel):
    @initialize()
    def open(self) -> None:
        super().open()
        self.user = self.ids.next()
        self.users = Account(RECEIVABLE_MAX)
        self.run(open_allocation(self.pool, self.org, self.user, user_id=self.user))
        self.owner = Owner.outside(self.org)
        self.owned = OwnedReservations(
            pool=self.pool,
            settings=LedgerSettings(receivable_max_ucr=RECEIVABLE_MAX),
            moved=lambda _: None,
            metrics=Metrics(),
        )
        self.outside: list[UUID] = []
        self.transferred: tuple[UUID, UUID, UUID, int] | None = None

    def tick(self) -> None:
        self.model.now += 1
        self.users.now = self.model.now

    def status(self, operation: Awaitable[Any]) -> str:
        """`ok`, `exists`, or which error it was."""
        try:
            done = self.run(operation)
        except TollgateError as error:
            return type(error).__name__
        return "exists" if getattr(done, "repeated", False) else "ok"

    # --- by hand ----------------------------------------------------------------------------------------------------

    @rule(ucr=st.integers(1, 60))
    def take(self, ucr: int) -> None:
        self.tick()
        taken = operations.take_credits(
            self.pool, org_id=self.org, account_id=self.org, id=self.ids.next(), amount_ucr=ucr, reason="", note="",
            by=ITSELF, idempotency=None,
        )  # fmt: skip
        assert self.status(taken) == {"insufficient": InsufficientCredits.__name__}.get(s := self.model.take(ucr), s)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        self.tick()
        grant = data.draw(st.sampled_from(self.model.grants))
        voided = operations.void_grant(
            self.pool, org_id=self.org, grant_id=grant.id, note="", by=ITSELF, idempotency=None
        )
        assert self.status(voided) == self.model.void(grant)

    @precondition(lambda self: self.model.ended)
    @rule(data=st.data(), ucr=st.integers(1, 60))
    def refund(self, data: st.DataObject, ucr: int) -> None:
        self.tick()
        charge = data.draw(st.sampled_from(sorted(self.model.ended)))
        refunded = operations.refund(
            self.pool, org_id=self.org, charge_id=charge, id=self.ids.next(), amount_ucr=ucr, reason="", note="",
            by=ITSELF, idempotency=None,
        )  # fmt: skip
        errors = {"no_charge": NotFound, "provisional": Conflict, "too_much": InvalidRequest}
        expected = self.model.refund(charge, ucr)
        assert self.status(refunded) == (errors[expected].__name__ if expected in errors else expected)

    @rule(back=st.booleans(), ucr=st.integers(1, 60))
    def transfer(self, back: bool, ucr: int) -> None:
        self.tick()
        id = self.ids.next()
        source, target = (self.user, self.org) if back else (self.org, self.user)
        status = self.status(self._transfer(source, target, id, ucr))
        ids = self.run(
            self.pool.fetchval(
                "SELECT i.burned_grants FROM ledger o JOIN ledger i ON i.id = o.ref_id WHERE o.id = $1", id
            )
        )
        models = (self.users, self.model) if back else (self.model, self.users)
        expected = models[0].send(models[1], ucr, ids or [])
        assert status == {"insufficient": InsufficientCredits.__name__}.get(expected, expected)
        if status == "ok":
            self.transferred = (source, target, id, ucr)

    @precondition(lambda self: self.transferred)
    @rule(other=st.booleans())
    def transfer_again(self, other: bool) -> None:
        assert self.transferred is not None
        source, target, id, ucr = self.transferred
        self._catch_up()
        status = self.status(self._transfer(source, target, id, ucr + other))
        assert status == (Conflict.__name__ if other else "exists")

    def _transfer(self, source: UUID, target: UUID, id: UUID, ucr: int) -> Awaitable[Any]:
        return operations.transfer(
            self.pool, org_id=self.org, source_id=source, target_id=target, id=id, amount_ucr=ucr, note="", by=ITSELF,
            idempotency=None,
        )  # fmt: skip

    @rule(ucr=st.integers(1, 60))
    def deduct(self, ucr: int) -> None:
        self.tick()
        deduction = Deduction(
            id=self.ids.next(), account_ids=(self.org,), used=Used.plainly("f", price_ucr=1, quantity=ucr)
        )
        status = self.status(
            deduct(self.pool, self.org, deduction, receivable_max_ucr=RECEIVABLE_MAX, by=ITSELF, idempotency=None)
        )
        errors = {"insufficient": "InsufficientCredits", "busy": "CreditsReserved", "receivable": "Forbidden"}
        expected = self.model.deduct(deduction.id, ucr)
        assert status == errors.get(expected, expected)

    @rule(same=st.booleans())
    def one_key_for_all(self, same: bool) -> None:
        """Whatever came first under the key is all that ever happens under it."""
        self.tick()
        key = KEY if same else Idempotency(KEY.key, b"\x02")
        status = self.status(
            operations.take_credits(
                self.pool, org_id=self.org, account_id=self.org, id=self.ids.next(), amount_ucr=1, reason="", note="",
                by=ITSELF, idempotency=key,
            )
        )  # fmt: skip
        first = getattr(self, "first_hash", None)
        if first is not None:
            assert status == ("exists" if first == key.request_hash else IdempotencyMismatch.__name__)
            return
        expected = self.model.take(1)
        assert status == {"insufficient": InsufficientCredits.__name__}.get(expected, expected)
        if status == "ok":
            self.first_hash = key.request_hash

    # --- without a process ------------------------------------------------------------------------------------------

    @rule(wishes=st.lists(amounts, min_size=1, max_size=3))
    def outside_callers_reserve(self, wishes: list[int]) -> None:
        self.tick()
        asked = [OwnedWish(id=self.ids.next(), account_ids=(self.org,), amount_ucr=ucr) for ucr in wishes]
        answers = self.run(self.owned.reserve(self.owner, asked, by=ITSELF))
        for wish, answer in zip(asked, answers, strict=True):
            assert (answer.status, answer.held_ucr) == self.model.reserve(wish.id, wish.amount_ucr, wish.amount_ucr, 0)
            if answer.status == "ok":
                self.model.open[wish.id].owned = True
                self.outside.append(wish.id)

    @precondition(lambda self: self._outside_open())
    @rule(data=st.data(), at_least=amounts, spent=amounts)
    def outside_callers_extend(self, data: st.DataObject, at_least: int, spent: int) -> None:
        self.tick()
        id = data.draw(st.sampled_from(self._outside_open()))
        made = self.run(self.owned.extend(self.owner, id, at_least_ucr=at_least, spent_ucr=spent, by=ITSELF))
        status, held = self.model.extend(id, at_least)
        assert (made.status, made.held_ucr) == ("ok" if status == "exists" else status, held)
        if made.status == "ok":
            self.model.open[id].spent = max(self.model.open[id].spent, spent)

    @precondition(lambda self: self.outside)
    @rule(data=st.data(), cost=amounts)
    def outside_callers_settle(self, data: st.DataObject, cost: int) -> None:
        self.tick()
        id = data.draw(st.sampled_from(self.outside))
        status = self.status(self.owned.settle(self.owner, id, cost_ucr=cost, by=ITSELF))
        assert status == {"conflict": Conflict.__name__}.get(expected := self.model.settle_owned(id, cost), expected)

    @precondition(lambda self: self._outside_open())
    @rule(data=st.data())
    def time_is_over(self, data: st.DataObject) -> None:
        self.tick()
        id = data.draw(st.sampled_from(self._outside_open()))
        self.run(self.pool.execute("UPDATE reservation SET expires_at = clock_timestamp() WHERE id = $1", id))
        assert self.run(self.owned.expire_due()) == 1
        self.model.expire(id)

    def _outside_open(self) -> list[UUID]:
        return [id for id in self.outside if id in self.model.open]

    # ----------------------------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """A repetition looks at the accounts, and so posts what is due on them."""
        self.tick()
        for account in (self.model, self.users):
            account.take(INFINITY)

    @invariant()
    def the_other_accounts_books_are_the_same_and_sound(self) -> None:
        self.run(self._compare(self.user, self.users))


def test_postgres_does_beside_calls_what_the_model_does(loop_and_pool: Any) -> None:
    play(OperationsAgainstModel, *loop_and_pool)
