"""What the ledger does by itself, again and again: beat, write watermarks, sweep, reconcile, post what is due."""

import asyncpg
import structlog

from gateway.ledger.audit import Audit
from gateway.ledger.errors import is_data
from gateway.ledger.instances import Instances
from gateway.ledger.options import LedgerSettings
from gateway.ledger.outbox import count_waiting
from gateway.ledger.owned import OwnedReservations
from gateway.ledger.reservations import Reservations
from gateway.ledger.sweeper import Sweeper
from gateway.ledger.watermarks import write_watermarks
from gateway.ops.metrics import Metrics
from gateway.ops.periodic import Periodic
from gateway.postgres.queries import load

_ACCOUNTS = load("accounts")
_LEDGER = load("ledger")
_DUE_MAX = 500
_log = structlog.get_logger()


class Upkeep:
    """Owns the periodic tasks. The heartbeat stands alone, on a connection of its own."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        audit: Audit,
        instances: Instances,
        owned: OwnedReservations,
        reservations: Reservations,
        sweeper: Sweeper,
        settings: LedgerSettings,
        metrics: Metrics,
    ) -> None:
        self._pool = pool
        self._reservations = reservations
        self._settings = settings
        self._metrics = metrics
        self._tasks = [
            Periodic("ledger.beat", instances.beat, every_s=settings.beat_s, metrics=metrics, jitter=0, at_once=True),
            Periodic("ledger.watermarks", self.write_watermarks, every_s=settings.beat_s, metrics=metrics),
            Periodic("ledger.sweep", sweeper.sweep, every_s=settings.sweep_s, metrics=metrics),
            Periodic("ledger.reconcile", sweeper.reconcile, every_s=settings.reconcile_s, metrics=metrics),
            Periodic("ledger.due", self.post_due, every_s=settings.due_s, metrics=metrics),
            Periodic("ledger.expire", owned.expire_due, every_s=settings.expire_s, metrics=metrics),
            Periodic("ledger.outbox", self.count_outbox, every_s=settings.outbox_s, metrics=metrics),
            Periodic("ledger.snapshots", self.look_for_snapshots, every_s=settings.snapshots_s, metrics=metrics),
            Periodic("ledger.partitions", self.make_partitions, every_s=settings.partitions_s, metrics=metrics),
            Periodic("ledger.audit", audit.run, every_s=settings.audit_s, metrics=metrics),
        ]

    def start(self) -> None:
        for task in self._tasks:
            task.start()

    async def stop(self) -> None:
        for task in self._tasks:
            await task.stop()

    async def write_watermarks(self) -> None:
        await write_watermarks(self._pool, self._reservations)

    async def post_due(self) -> None:
        """Grants that begin or expire, and periods that end, on accounts that nobody looks at."""
        for org_id, account_id in await self._pool.fetch(_ACCOUNTS.due, _DUE_MAX):
            try:
                await self._pool.execute(_ACCOUNTS.bring_up_to_date, org_id, account_id)
            except asyncpg.PostgresError as error:
                if not is_data(error):
                    raise
                # One account whose books are wrong must not keep all others from what is due to them.
                _log.error("ledger.due_not_posted", org=str(org_id), account=str(account_id), error=str(error))
                continue
            self._reservations.credits_moved(account_id)

    async def count_outbox(self) -> None:
        await count_waiting(self._pool, self._metrics)

    async def look_for_snapshots(self) -> None:
        """One that stays open keeps old versions of hot rows, and every batch steps over them."""
        self._metrics.oldest_snapshot_s.set(await self._pool.fetchval(_LEDGER.oldest_snapshot))

    async def make_partitions(self) -> None:
        await self._pool.execute(_LEDGER.make_months, self._settings.months_ahead)
        await self._pool.execute(_LEDGER.forget_idempotency_keys)
