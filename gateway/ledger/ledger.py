"""The one door to money: reserve, extend, settle, grant, balance. Everything else in this room works behind it."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Self
from uuid import UUID

import asyncpg
import structlog

from gateway.core.errors import LedgerUnavailable
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF, Origin
from gateway.core.payment_order import candidate_accounts
from gateway.ledger.accounts import (
    Balance,
    Direction,
    OrderBy,
    Transaction,
    paying,
    read_account,
    read_balance,
    read_transactions,
)
from gateway.ledger.allocations import Allocations
from gateway.ledger.audit import Audit, Violation
from gateway.ledger.batcher import Lane
from gateway.ledger.budgets import (
    Budget,
    BudgetSet,
    BudgetState,
    count_budgets,
    read_budgets,
    remove_budget,
    set_budget,
)
from gateway.ledger.calls import Ending, Held, Refusal, Wish
from gateway.ledger.desk import Desk
from gateway.ledger.grants import Grant, GrantResult, LiveGrant, read_live_grants
from gateway.ledger.instances import Instances
from gateway.ledger.jobs import Jobs
from gateway.ledger.line import Line
from gateway.ledger.options import LedgerSettings
from gateway.ledger.owned import OwnedReservations
from gateway.ledger.pins import Pins
from gateway.ledger.policy import Policies
from gateway.ledger.reservations import Reservations
from gateway.ledger.restricted import RestrictedAccounts
from gateway.ledger.settlement import Settler
from gateway.ledger.subscriptions import Subscriptions
from gateway.ledger.sweeper import Sweeper
from gateway.ledger.upkeep import Upkeep
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics
from gateway.postgres.once import Guard, Removed
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.pool import act_as_application, connect, open_pool

_log = structlog.get_logger()


class Ledger:
    """Start it with `start`, which registers this process; end it with `stop`, which drains what was handed over."""

    def __init__(
        self,
        *,
        dsn: str,
        pool: asyncpg.Pool,
        settings: LedgerSettings,
        clock: Clock,
        ids: IdSource,
        metrics: Metrics,
        on_fenced: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._pool = pool
        self._settings = settings
        self._stopped = False
        self._line = Line(settings=settings)
        self._settler = Settler(put=self._line.put_ending, moved=self._credits_moved, metrics=metrics)
        self.instances = Instances(
            connect=partial(self._connect, "tollgate heartbeat"),
            name=f"{socket.gethostname()}:{os.getpid()}",
            settings=settings,
            clock=clock,
            ids=ids,
            metrics=metrics,
            on_fenced=on_fenced,
        )
        self._lanes = [self._lane(number, metrics) for number in range(settings.lanes)]
        self._reservations = Reservations(
            line=self._line,
            settler=self._settler,
            instances=self.instances,
            pins=Pins(pool),
            settings=settings,
            metrics=metrics,
        )
        self.sweeper = Sweeper(
            pool=pool,
            instances=self.instances,
            known=self._is_known,
            moved=self._credits_moved,
            settings=settings,
            metrics=metrics,
        )
        self.allocations = Allocations(pool)
        self.policies = Policies(pool)
        self.restricted = RestrictedAccounts(pool)
        self.subscriptions = Subscriptions(pool, moved=self._credits_moved)
        self._audit = Audit(pool=pool, settings=settings, metrics=metrics)
        self.desk = Desk(pool=pool, settings=settings, moved=self._credits_moved)
        """What is done beside calls."""
        self.owned = OwnedReservations(pool=pool, settings=settings, moved=self._credits_moved, metrics=metrics)
        """Reservations of outside callers and of jobs."""
        self.jobs = Jobs(pool=pool, owned=self.owned, settings=settings)
        self.upkeep = Upkeep(
            pool=pool,
            audit=self._audit,
            instances=self.instances,
            owned=self.owned,
            reservations=self._reservations,
            sweeper=self.sweeper,
            settings=settings,
            metrics=metrics,
        )

    def _lane(self, number: int, metrics: Metrics) -> Lane:
        return Lane(
            line=self._line,
            connect=partial(self._connect, f"tollgate lane {number}"),
            instance_id=lambda: self.instances.id,
            settler=self._settler,
            settings=self._settings,
            metrics=metrics,
        )

    @classmethod
    async def start(
        cls,
        dsn: str,
        *,
        settings: LedgerSettings,
        clock: Clock,
        ids: IdSource,
        metrics: Metrics,
        on_fenced: Callable[[], None] = lambda: None,
        rehearse: bool = False,
    ) -> Self:
        """Register this process and begin to work. Raises what connecting raises.

        `on_fenced` is called when others had declared this process dead: cut the calls that hold credits. `rehearse`
        has every lane go through a batch that is undone, a tenth of a second that the first callers need not wait.
        """
        pool = await open_pool(
            dsn,
            min_size=1,
            max_size=4,
            statement_timeout_s=settings.statement_timeout_s,
            connect_timeout_s=settings.connect_timeout_s,
            application_name="tollgate ledger",
        )
        ledger = cls(dsn=dsn, pool=pool, settings=settings, clock=clock, ids=ids, metrics=metrics, on_fenced=on_fenced)
        try:
            await ledger.instances.start()
            if settings.sole_owner:
                await ledger.sweeper.fence_all_others()
                await ledger.sweeper.end_orphans()
        except BaseException:
            pool.terminate()
            raise
        if rehearse:
            await asyncio.gather(*(lane.rehearse() for lane in ledger._lanes))
        for lane in ledger._lanes:
            lane.start()
        ledger.upkeep.start()
        return ledger

    async def stop(self, drain_s: float) -> int:
        """Post what was handed over, within the time. Returns how many endings are left to the sweeper."""
        if self._stopped:
            return len(self._settler)
        self._stopped = True
        left = await self._settler.drain(within_s=drain_s)
        await self.upkeep.stop()
        for lane in self._lanes:
            await lane.stop()
        self._line.fail_holds(LedgerUnavailable("The gateway is stopping; nothing was reserved."))
        await self.instances.stop()
        self._pool.terminate()
        if left:
            _log.error("ledger.endings_left", count=left)
        return left

    # --- calls ------------------------------------------------------------------------------------------------------

    def reserve(self, wish: Wish) -> Coroutine[Any, Any, Held | Refusal]:
        """Hold credits, durably. Waits in the account's queue where others hold them.

        Raises LedgerUnavailable (nothing was reserved, or it is released by id as soon as the database answers),
        InvalidRequest for an id that is off the clock or data that cannot be written, NotFound for no such account.
        Cancelled, it releases by id.
        """
        return self._reservations.reserve(wish)

    async def extend(self, *, id: UUID, org_id: UUID, account_id: UUID, at_least_ucr: int) -> Held | Refusal:
        """Hold at least so much for an open call; `Held.amount_ucr` is what is held now. Raises like `reserve`."""
        return await self._reservations.extend(id=id, org_id=org_id, account_id=account_id, at_least_ucr=at_least_ucr)

    def settle(self, ending: Ending) -> None:
        """Hand a call's end over. Never waits, never raises; it is posted as soon as the database answers."""
        self._settler.settle(ending)
        self._reservations.ended(ending.id)

    def watch_spent(self, id: UUID, spent_ucr: Callable[[], int]) -> None:
        """`spent_ucr` says what an open call has cost so far: charged at least, if this process should die. It is asked
        now and then, until the call has ended."""
        call = self._reservations.open.get(id)
        if call is not None:
            call.spent_ucr = spent_ucr

    async def settled(self, org_id: UUID, *, within_s: float = 5.0) -> bool:
        """Wait until the organisation's endings handed over so far are posted; False when the time ran out."""
        return await self._settler.settled(org_id, within_s=within_s)

    # --- accounts ---------------------------------------------------------------------------------------------------

    async def grant(self, grant: Grant, *, by: Origin = ITSELF, idempotency: Idempotency | None = None) -> GrantResult:
        """Raises InvalidRequest, NotFound, Conflict or IdempotencyMismatch; then nothing changed."""
        return await self.desk.grant(grant, by=by, idempotency=idempotency)

    @unavailable_in_outage
    async def balance(self, org_id: UUID) -> Balance:
        return await read_balance(self._pool, org_id)

    @unavailable_in_outage
    async def account(self, org_id: UUID, account_id: UUID) -> Balance | None:
        """Of one account; None where there is none."""
        return await read_account(self._pool, org_id, account_id)

    @unavailable_in_outage
    async def live_grants(
        self, org_id: UUID, account_id: UUID | None = None, *, limit: int, seen_by: UUID | None = None
    ) -> list[LiveGrant]:
        """In the order of burning; None: of all the organisation's accounts. `seen_by`: but no other user's."""
        return await read_live_grants(self._pool, org_id, account_id, limit=limit, seen_by=seen_by)

    @unavailable_in_outage
    async def transactions(
        self,
        org_id: UUID,
        *,
        limit: int = 50,
        offset: int = 0,
        order_by: OrderBy = "created_at",
        order_direction: Direction = "desc",
        with_releases: bool = False,
    ) -> tuple[list[Transaction], int]:
        return await read_transactions(
            self._pool,
            org_id,
            limit=limit,
            offset=offset,
            order_by=order_by,
            order_direction=order_direction,
            with_releases=with_releases,
        )

    @unavailable_in_outage
    async def set_budget(
        self,
        budget: Budget,
        *,
        by: Origin,
        within: UUID | None = None,
        idempotency: Idempotency | None = None,
        guard: Guard[Budget] | None = None,
    ) -> BudgetSet:
        """Makes or changes it. Raises InvalidRequest, NotFound, Forbidden or what `guard` raises; then nothing did."""
        return await set_budget(self._pool, budget, by=by, within=within, idempotency=idempotency, guard=guard)

    @unavailable_in_outage
    async def remove_budget(
        self,
        org_id: UUID,
        budget_id: UUID,
        *,
        by: Origin,
        within: UUID | None = None,
        idempotency: Idempotency | None = None,
        guard: Guard[Budget] | None = None,
    ) -> Removed:
        """Raises NotFound, Forbidden or what `guard` raises."""
        return await remove_budget(
            self._pool, org_id, budget_id, by=by, within=within, idempotency=idempotency, guard=guard
        )

    @unavailable_in_outage
    async def budgets(
        self, org_id: UUID, *, limit: int = 50, offset: int = 0, seen_by: UUID | None = None
    ) -> list[BudgetState]:
        """`seen_by`: none of another user's, nor of a key that is not this one's."""
        return await read_budgets(self._pool, org_id, limit=limit, offset=offset, seen_by=seen_by)

    @unavailable_in_outage
    async def count_budgets(self, org_id: UUID, *, seen_by: UUID | None = None) -> int:
        return await count_budgets(self._pool, org_id, seen_by=seen_by)

    @unavailable_in_outage
    async def payers(
        self, org_id: UUID, *, user_id: UUID | None = None, model: str = "", feature: str = ""
    ) -> tuple[UUID, ...]:
        """The accounts to try for what is used so, in order; none where nothing may pay. Raises NotFound (no user)."""
        accounts, order = await paying(self._pool, org_id, user_id)
        return candidate_accounts(accounts, user_id=user_id, model=model, feature=feature, order=order)

    @unavailable_in_outage
    async def audit(self, *, full: bool) -> list[Violation]:
        """Breaches of the invariants, in rows after each account's checkpoint or in all. Parks nothing."""
        return await self._audit.audit(full=full, park=False)

    # ----------------------------------------------------------------------------------------------------------------

    def _is_known(self, id: UUID) -> bool:
        return id in self._reservations.open or id in self._settler

    def _credits_moved(self, account_id: UUID) -> None:
        self._reservations.credits_moved(account_id)

    async def _connect(self, application_name: str) -> asyncpg.Connection:
        connection = await connect(
            self._dsn,
            statement_timeout_s=self._settings.statement_timeout_s,
            connect_timeout_s=self._settings.connect_timeout_s,
            application_name=application_name,
        )
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await act_as_application(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection
