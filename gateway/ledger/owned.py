"""Reservations that no process answers for: outside callers' and jobs'. They are settled, or end by the clock.

The clock is the database's. An owner is asked for with every change, so that nobody ends what another holds. One that
expires is charged what it had reported as spent; its real cost may still come, and then posts the difference once.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import structlog

from gateway.core.errors import Conflict, InvalidRequest, NotFound, TollgateError
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.units import UCR_MAX
from gateway.ledger.operations import Standing, check_texts, perform
from gateway.ledger.options import LedgerSettings
from gateway.ledger.unpaid import Unpaid
from gateway.ledger.used import Used
from gateway.ops.metrics import Metrics
from gateway.postgres.once import fetch_once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("owned")
_log = structlog.get_logger()
WISHES_MAX: Final = 1_000
_ACCOUNTS_MAX: Final = 500
_MODEL_CHARS_MAX: Final = 256


class OwnerKind(StrEnum):
    API = "api"
    JOB = "job"


class Owner(msgspec.Struct, frozen=True):
    """Whose a reservation is: an organisation's outside caller, or one of its jobs."""

    org_id: UUID
    kind: OwnerKind
    id: UUID

    @classmethod
    def outside(cls, org_id: UUID) -> "Owner":
        return cls(org_id, OwnerKind.API, org_id)

    @classmethod
    def job(cls, org_id: UUID, id: UUID) -> "Owner":
        return cls(org_id, OwnerKind.JOB, id)


class OwnedWish(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    account_ids: tuple[UUID, ...]
    """Those that may pay, in the order in which they are tried."""
    amount_ucr: int
    user_id: UUID | None = None
    key_id: UUID | None = None
    model: str = ""
    """What it is for, as the caller names it."""
    feature: str = ""

    def row(self) -> tuple[object, ...]:
        """In the order of `owned_wish`."""
        return self.id, list(self.account_ids), self.amount_ucr, self.user_id, self.key_id, self.model, self.feature


class OwnedHold(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one wish."""

    id: UUID
    status: str
    """ok · exists (held before, under this id) · or why nothing was held: insufficient, busy, suspended, …"""
    held_ucr: int
    available_ucr: int
    balance_ucr: int
    account_id: UUID | None
    """Which pays, or was asked; None where there is none."""
    budget_scope: str | None
    """Whose budget it was that refused."""
    resets_at: datetime | None
    created_at: datetime | None
    expires_at: datetime | None
    repeated: bool = False
    """Under its idempotency key, all of them were."""

    @property
    def held(self) -> bool:
        return self.status in {"ok", "exists"}

    def refusal(self, *, required_ucr: int, undone: str = "nothing was reserved") -> TollgateError:
        """Of one that is not held."""
        return Unpaid(
            required_ucr=required_ucr,
            available_ucr=self.available_ucr,
            budget_scope=self.budget_scope,
            resets_at=self.resets_at,
            undone=undone,
        ).error(self.status)


class _Holds(msgspec.Struct, frozen=True, kw_only=True):
    items: tuple[OwnedHold, ...]


class OwnedReservation(msgspec.Struct, frozen=True, kw_only=True):
    """One that is open."""

    id: UUID
    account_id: UUID
    held_ucr: int
    spent_ucr: int
    user_id: UUID | None
    key_id: UUID | None
    model: str
    created_at: datetime
    expires_at: datetime


class OwnedEnding(Standing, frozen=True, kw_only=True):
    """A settled one, with all that was charged for it, and its account right after."""

    id: UUID
    account_id: UUID
    cost_ucr: int
    charged_ucr: int
    overage_ucr: int
    repeated: bool = False


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    held_ucr: int
    available_ucr: int
    balance_ucr: int
    expires_at: datetime
    status: str = "ok"
    """Or why it holds what it held before: insufficient, busy, suspended, …"""
    budget_scope: str | None = None
    resets_at: datetime | None = None
    repeated: bool = False

    def refusal(self, *, required_ucr: int) -> TollgateError:
        """Of one that is not `ok`."""
        return Unpaid(
            required_ucr=required_ucr,
            available_ucr=self.available_ucr,
            budget_scope=self.budget_scope,
            resets_at=self.resets_at,
            undone="what was held stays held, and no more",
        ).error(self.status)


class OwnedReservations:
    """`moved` hears of every account where credits may have become free.

    Every change says who makes it (`by`), for the audit log; None is the gateway itself, for a job of its own, whose
    changes are no entries. Each may bear an idempotency key beside the reservation's id.
    """

    def __init__(
        self, *, pool: asyncpg.Pool, settings: LedgerSettings, moved: Callable[[UUID], None], metrics: Metrics
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._moved = moved
        self._metrics = metrics

    @unavailable_in_outage
    async def reserve(
        self,
        owner: Owner,
        wishes: Sequence[OwnedWish],
        *,
        by: Origin | None,
        life_s: float | None = None,
        idempotency: Idempotency | None = None,
    ) -> tuple[OwnedHold, ...]:
        """Hold credits, each wish whole or not at all, with an answer each in the order given.

        Raises InvalidRequest (also for an id that is given twice), NotFound (no such job, or it has ended),
        IdempotencyMismatch; then nothing was reserved.
        """
        self._check(wishes)
        row = await fetch_once(
            self._pool,
            owner.org_id,
            idempotency,
            _SQL.reserve,
            owner.org_id,
            owner.kind,
            owner.id,
            self._life_s(owner, life_s),
            [wish.row() for wish in wishes],
            _row(by),
        )
        return _holds(row)

    @unavailable_in_outage
    async def try_out(self, owner: Owner, wish: OwnedWish) -> OwnedHold:
        """What `reserve` would answer, with every limit that there is; nothing of it stays. Raises InvalidRequest."""
        self._check([wish])
        life_s = self._life_s(owner, None)
        async with self._pool.acquire() as connection:
            attempt = connection.transaction()
            await attempt.start()
            try:
                row = await connection.fetchrow(
                    _SQL.reserve, owner.org_id, owner.kind, owner.id, life_s, [wish.row()], None
                )
            finally:
                await attempt.rollback()
        assert row is not None
        return _holds(row)[0]

    @unavailable_in_outage
    async def extend(
        self,
        owner: Owner,
        id: UUID,
        *,
        at_least_ucr: int,
        by: Origin | None,
        life_s: float | None = None,
        spent_ucr: int = 0,
        idempotency: Idempotency | None = None,
    ) -> Extension:
        """Hold at least so much, for so long from now but never longer than the longest life from its beginning.

        `spent_ucr` is what it has cost so far: charged at least, should it expire. Raises InvalidRequest, NotFound.
        """
        _check_ucr(at_least_ucr, "amount")
        _check_ucr(spent_ucr, "spent")
        row = await fetch_once(
            self._pool,
            owner.org_id,
            idempotency,
            _SQL.extend,
            owner.org_id,
            owner.kind,
            owner.id,
            id,
            at_least_ucr,
            self._life_s(owner, life_s),
            self._life_max_s(owner),
            spent_ucr,
            _row(by),
        )
        if row["status"] == "unknown":
            raise NotFound("No such reservation is open; nothing was changed.")
        made = msgspec.json.decode(row["answer"], type=Extension)
        if row["status"] == "exists":
            return msgspec.structs.replace(made, repeated=True)
        return msgspec.structs.replace(made, status=row["status"])

    async def settle(
        self, owner: Owner, id: UUID, *, cost_ucr: int, by: Origin | None, idempotency: Idempotency | None = None
    ) -> OwnedEnding:
        """With a cost that says no more of itself. Raises like `settle_used`."""
        _check_ucr(cost_ucr, "cost")
        used = Used.plainly("reserved", price_ucr=1, quantity=cost_ucr)
        return await self.settle_used(owner, id, used, by=by, idempotency=idempotency)

    @unavailable_in_outage
    async def settle_used(
        self, owner: Owner, id: UUID, used: Used, *, by: Origin | None, idempotency: Idempotency | None = None
    ) -> OwnedEnding:
        """End it with what was used, once; of nothing, it is released. Cost above what is held is charged as a call's.

        Raises InvalidRequest, NotFound or Conflict (it ended otherwise); then nothing changed.
        """
        _check_ucr(used.cost_ucr, "cost")
        ending = await perform(
            self._pool,
            _SQL.settle,
            (owner.org_id, owner.kind, owner.id, id, used.row(), self._settings.receivable_max_ucr),
            by=by,
            idempotency=idempotency,
            answer=OwnedEnding,
            refusals={
                "unknown": lambda _: NotFound("There is no such reservation; nothing was charged."),
                "conflict": lambda _: Conflict("It ended before with another cost; nothing was charged."),
            },
        )
        self._moved(ending.account_id)
        return ending

    async def release(
        self, owner: Owner, id: UUID, *, by: Origin | None, idempotency: Idempotency | None = None
    ) -> OwnedEnding:
        """End it without a cost. Raises like `settle`."""
        return await self.settle(owner, id, cost_ucr=0, by=by, idempotency=idempotency)

    @unavailable_in_outage
    async def get(self, owner: Owner, id: UUID) -> OwnedReservation:
        """Raises NotFound for one that is not open."""
        row = await self._pool.fetchrow(_SQL.find, owner.org_id, owner.kind, owner.id, id)
        if row is None:
            raise NotFound("No such reservation is open.")
        return OwnedReservation(**dict(row.items()))

    @unavailable_in_outage
    async def page(self, owner: Owner, *, after: UUID | None = None, limit: int = 50) -> list[OwnedReservation]:
        """Open ones in the order of their ids, from behind `after`."""
        rows = await self._pool.fetch(_SQL.page, owner.org_id, owner.kind, owner.id, after or UUID(int=0), limit)
        return [OwnedReservation(**dict(row.items())) for row in rows]

    async def expire_due(self) -> int:
        """End those whose time is over, by the database's clock, one account at a time. Returns how many."""
        ended = 0
        for org_id, job_id in await self._pool.fetch(_SQL.end_jobs_due):
            ended += await self.end_of_job(org_id, job_id)
        for org_id, account_id in await self._pool.fetch(_SQL.due, _ACCOUNTS_MAX):
            ended += await self._expire(org_id, account_id, None)
        return ended

    async def end_of_job(self, org_id: UUID, job_id: UUID) -> int:
        """End what an ended job has open."""
        accounts = await self._pool.fetch(_SQL.accounts_of_owner, org_id, job_id)
        return sum([await self._expire(org_id, account_id, job_id) for (account_id,) in accounts])

    async def _expire(self, org_id: UUID, account_id: UUID, owner_id: UUID | None) -> int:
        ended: int = 0
        most = self._settings.sweep_rows
        while True:
            [(count, charged_ucr)] = await self._pool.fetch(_SQL.expire, org_id, account_id, owner_id, most)
            if count:
                _log.warning(
                    "ledger.expired", org=str(org_id), account=str(account_id), count=count, charged_ucr=charged_ucr
                )
                self._metrics.credits_moved("swept", org=str(org_id), ucr=charged_ucr)
                self._moved(account_id)
            ended += count
            if count < most:
                return ended

    def _life_max_s(self, owner: Owner) -> float:
        """A job's live no longer than the job, which has a time of its own."""
        is_job = owner.kind is OwnerKind.JOB
        return self._settings.job_life_max_s if is_job else self._settings.reservation_life_max_s

    def _life_s(self, owner: Owner, asked_s: float | None) -> float:
        if asked_s is None:
            return self._life_max_s(owner) if owner.kind is OwnerKind.JOB else self._settings.reservation_life_s
        if not 0 < asked_s <= self._life_max_s(owner):
            most = f"{self._life_max_s(owner):g}"
            raise InvalidRequest(
                f"expires_in_s must be above 0 and at most {most}; nothing was changed.", param="expires_in_s"
            )
        return asked_s

    def _check(self, wishes: Sequence[OwnedWish]) -> None:
        if not 1 <= len(wishes) <= WISHES_MAX:
            raise InvalidRequest(f"Between 1 and {WISHES_MAX} reservations; nothing was reserved.")
        if len({wish.id for wish in wishes}) < len(wishes):
            raise InvalidRequest("An id is given twice; nothing was reserved.", param="id")
        for wish in wishes:
            _check_ucr(wish.amount_ucr, "amount")
            check_texts(model=wish.model)
            if len(wish.model) > _MODEL_CHARS_MAX:
                raise InvalidRequest(f"model must have at most {_MODEL_CHARS_MAX} characters.", param="model")


def _holds(row: asyncpg.Record) -> tuple[OwnedHold, ...]:
    """What became of each wish. Raises NotFound."""
    if row["status"] == "no_job":
        raise NotFound("There is no such job, or it has ended; nothing was reserved.")
    assert row["status"] in {"ok", "exists", "nothing_held"}
    holds = msgspec.json.decode(row["answer"], type=_Holds).items
    if row["status"] == "exists":
        return tuple(msgspec.structs.replace(hold, repeated=True) for hold in holds)
    return holds


def _row(by: Origin | None) -> tuple[object, ...] | None:
    return None if by is None else by.row()


def _check_ucr(ucr: int, param: str) -> None:
    if not 0 <= ucr <= UCR_MAX:
        raise InvalidRequest(f"{param} must be between 0 and the largest amount.", param=param)
