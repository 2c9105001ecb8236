"""Ending what nobody else will end: calls of dead processes, and rows that this process does not know it has open."""

from collections.abc import Callable
from uuid import UUID

import asyncpg
import structlog

from gateway.ledger.instances import Instances
from gateway.ledger.options import LedgerSettings
from gateway.ops.metrics import Metrics
from gateway.postgres.queries import load

_SQL = load("instances")
_LEDGER = load("ledger")
_log = structlog.get_logger()


class Sweeper:
    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        instances: Instances,
        known: Callable[[UUID], bool],
        moved: Callable[[UUID], None],
        settings: LedgerSettings,
        metrics: Metrics,
    ) -> None:
        """`known` says whether a reservation is open in this process's memory; `moved` hears of freed credits."""
        self._pool = pool
        self._instances = instances
        self._known = known
        self._moved = moved
        self._settings = settings
        self._metrics = metrics
        self._missing: set[UUID] = set()

    async def sweep(self) -> int:
        """Fence the silent, then end what they had open. Returns how many calls were ended."""
        if self._instances.may_fence():
            until = self._instances.may_fence_until()
            await self._fence(_SQL.fence_silent, self._instances.id, self._settings.dead_after_s, until)
        return await self.end_orphans()

    async def fence_all_others(self) -> None:
        """Only for whoever holds the lock on the data folder: nobody else can be alive."""
        await self._fence(_SQL.fence_others, self._instances.id)

    async def end_orphans(self) -> int:
        """End open calls of fenced instances, one account at a time, so that no lock is held for long."""
        ended = 0
        for org_id, account_id, owners in await self._pool.fetch(_SQL.orphaned_accounts):
            while True:
                [(count, charged_ucr)] = await self._pool.fetch(
                    _SQL.recover_owners, org_id, account_id, owners, self._settings.sweep_rows
                )
                if count:
                    self._swept(org_id, account_id, count, charged_ucr)
                    ended += count
                if count < self._settings.sweep_rows:
                    break
        await self._pool.execute(_SQL.forget_old)
        return ended

    async def reconcile(self) -> int:
        """End what is open in the database under our id and unknown here in two passes. Returns how many."""
        rows = await self._pool.fetch(_SQL.open_of_instance, self._instances.id, 2 * self._settings.statement_timeout_s)
        missing = {row["id"]: row for row in rows if not self._known(row["id"])}
        twice = [row for id, row in missing.items() if id in self._missing]
        self._missing = set(missing)
        for row in twice:
            _log.error("ledger.unknown_reservation", id=str(row["id"]), org=str(row["org_id"]))
            [(count, charged_ucr)] = await self._pool.fetch(
                _LEDGER.recover, row["org_id"], row["account_id"], [row["id"]]
            )
            self._swept(row["org_id"], row["account_id"], count, charged_ucr)
        return len(twice)

    async def _fence(self, statement: str, *arguments: object) -> None:
        for (instance_id,) in await self._pool.fetch(statement, *arguments):
            _log.error("ledger.instance_fenced", instance=str(instance_id))

    def _swept(self, org_id: UUID, account_id: UUID, count: int, charged_ucr: int) -> None:
        _log.warning("ledger.swept", org=str(org_id), account=str(account_id), calls=count, charged_ucr=charged_ucr)
        self._metrics.credits_moved("swept", org=str(org_id), ucr=charged_ucr)
        self._moved(account_id)
