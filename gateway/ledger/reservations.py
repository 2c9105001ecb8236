"""Setting credits aside: what a caller waits for before anything is forwarded, and tops up while it flows."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.errors import InvalidRequest, LedgerUnavailable, NotFound
from gateway.ledger.calls import End, Ending, Held, Refusal, RefusalReason, Wish
from gateway.ledger.instances import Instances
from gateway.ledger.items import Hold, HoldAnswer, Row, wish_row
from gateway.ledger.line import Line
from gateway.ledger.options import LedgerSettings
from gateway.ledger.pins import Pins
from gateway.ledger.queue import FairQueue
from gateway.ledger.refusals import Payers, RefusalMemory
from gateway.ledger.settlement import Settler
from gateway.ops.metrics import Metrics

_WHATEVER_THE_AMOUNT: Final = frozenset({"receivable", "suspended", "parked"})
_HELD: Final = frozenset({"ok", "exists"})


class OpenCall(msgspec.Struct, gc=False):
    """A reservation of this process, from its answer until its ending is handed over."""

    org_id: UUID
    account_id: UUID
    held_ucr: int
    spent_ucr: Callable[[], int] | None = None
    """What it has cost so far, asked when watermarks are written."""
    written_ucr: int = 0
    """The watermark that the database has."""


class Reservations:
    def __init__(
        self,
        *,
        line: Line,
        settler: Settler,
        instances: Instances,
        pins: Pins,
        settings: LedgerSettings,
        metrics: Metrics,
    ) -> None:
        self._line = line
        self._settler = settler
        self._instances = instances
        self._pins = pins
        self._settings = settings
        self._metrics = metrics
        self.open: dict[UUID, OpenCall] = {}
        metrics.open_reservations.set_function(lambda: len(self.open))
        self._refusals = RefusalMemory(
            memory_s=settings.refusal_memory_s, accounts_max=settings.refusal_memory_accounts
        )
        self._queue = FairQueue(
            wait_s=settings.queue_wait_s,
            poll_s=settings.queue_poll_s,
            waiting_max=settings.queue_max,
            changed=metrics.waiting_for_credits.set,
        )

    def credits_moved(self, account_id: UUID) -> None:
        """A settlement or a credit of this process: what was refused may fit now."""
        self._refusals.forget(account_id)
        self._queue.wake(account_id)

    async def reserve(self, wish: Wish) -> Held | Refusal:
        if len(self._settler) >= self._settings.endings_waiting_max:
            raise LedgerUnavailable("Too many calls wait to be settled; nothing was reserved.")
        payers = wish.account_ids
        answer = self._refusals.recall(payers, wish.amount_ucr)
        if answer is None and len(payers) == 1:
            answer = self._queue.line(payers[0])
        if answer is None:
            answer = await self._reserve(wish)
        if answer.status == "busy" and answer.budget_scope is None:
            # Who waits for a budget stands in no account's line: those behind may have room in theirs.
            answer = await self._queue.wait(answer.account_id, answer, partial(self._reserve, wish), extends=None)
        if answer.status in _HELD:
            self.open[wish.id] = OpenCall(wish.org_id, answer.account_id, answer.held_ucr)
            return Held(account_id=answer.account_id, amount_ucr=answer.held_ucr, available_ucr=answer.available_ucr)
        if answer.status == "insufficient":
            self._refusals.remember(payers, wish.amount_ucr, answer)
        elif answer.status in _WHATEVER_THE_AMOUNT:
            self._refusals.remember(payers, 0, answer)
        return self._refusal(wish.org_id, answer)

    async def _reserve(self, wish: Wish) -> HoldAnswer:
        pin_id = self._pins.known(wish.pins)
        if pin_id is None:
            pin_id = await self._pins.keep(wish.pins)
        return await self._hold(wish.id, wish.org_id, wish.account_ids, extends=False, row=wish_row(wish, pin_id))

    async def extend(self, *, id: UUID, org_id: UUID, account_id: UUID, at_least_ucr: int) -> Held | Refusal:
        row = (id, account_id, at_least_ucr)
        ask = partial(self._hold, id, org_id, (account_id,), extends=True, row=row)
        answer = await ask()
        if answer.status == "busy" and answer.budget_scope is None:
            answer = await self._queue.wait(account_id, answer, ask, extends=id)
        if answer.status in _HELD:
            call = self.open.get(id)
            if call is not None and answer.held_ucr > call.held_ucr:
                self._metrics.credits_moved("reserved", org=str(org_id), ucr=answer.held_ucr - call.held_ucr)
                call.held_ucr = answer.held_ucr
            return Held(account_id=account_id, amount_ucr=answer.held_ucr, available_ucr=answer.available_ucr)
        return self._refusal(org_id, answer)

    def ended(self, id: UUID) -> None:
        self.open.pop(id, None)

    async def _hold(self, id: UUID, org_id: UUID, payers: Payers, *, extends: bool, row: Row) -> HoldAnswer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.hold_timeout_s
        while True:
            instance_id = self._instances.id
            hold = Hold(
                id=id,
                org_id=org_id,
                extends=extends,
                row=row,
                answer=loop.create_future(),
                deadline=deadline,
            )
            self._line.put_hold(hold)
            try:
                answer = await hold.answer
            except InvalidRequest:
                raise  # It was refused by itself, so certainly nothing is held.
            except BaseException:
                # Also a cancellation: whether it was held may be unknown, and the release by id is right either way.
                if hold.sent and not extends:
                    self._settler.settle(_release(id, org_id, payers))
                raise
            if answer.status != "fenced":
                return answer
            if extends:
                return HoldAnswer("ended", 0, 0, 0, payers[0])
            await self._instances.renewed(instance_id, until=deadline)

    def _refusal(self, org_id: UUID, answer: HoldAnswer) -> Refusal:
        status = answer.status
        if status == "off_clock":
            raise InvalidRequest(
                "The call's id is more than five minutes off the ledger's clock; nothing was reserved."
            )
        if status == "no_account":
            raise NotFound("There is no such account; nothing was reserved.")
        self._metrics.refused(status, org=str(org_id))
        return Refusal(
            reason=RefusalReason(status),
            available_ucr=answer.available_ucr,
            balance_ucr=answer.balance_ucr,
            retry_after_s=min(60, 1 + self._queue.length(answer.account_id) // 100),
            account_id=answer.account_id,
            budget_scope=answer.budget_scope or "",
            resets_at=answer.resets_at,
        )


def _release(id: UUID, org_id: UUID, payers: Payers) -> Ending:
    return Ending(
        id=id,
        org_id=org_id,
        account_id=payers[0],
        other_accounts=payers[1:] or None,
        end=End.CANCELLED,
        delivered=False,
        cost_ucr=0,
        numerator=0,
    )
