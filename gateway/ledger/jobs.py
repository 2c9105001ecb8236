"""Work that outlives the request that ordered it: it owns reservations until the gateway, or its time, ends it."""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import InvalidRequest, NotFound, TooManyOpen
from gateway.core.idempotency import Idempotency
from gateway.core.origin import ITSELF, Origin
from gateway.ledger.operations import read_answer
from gateway.ledger.options import LedgerSettings
from gateway.ledger.owned import OwnedReservations
from gateway.postgres.once import Connection, once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("owned")
OPEN_MAX: Final = 1_000
"""Of one organisation, or of one of its people."""
KIND_CHARS_MAX: Final = 64
LIFE_S_MIN: Final = 1.0
_DETAIL_BYTES_MAX: Final = 65_536


class Job(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    repeated: bool = False


class Jobs:
    """Its reservations are `owned`, under `Owner.job`. No process's death ends them.

    `opened_for` says who may look at one and end it: an organisation, or one of its people; None: the gateway alone.
    """

    def __init__(self, *, pool: asyncpg.Pool, owned: OwnedReservations, settings: LedgerSettings) -> None:
        self._pool = pool
        self._owned = owned
        self._settings = settings

    @unavailable_in_outage
    async def open(
        self,
        org_id: UUID,
        id: UUID,
        *,
        kind: str,
        detail: bytes = b"{}",
        life_s: float,
        opened_for: UUID | None = None,
        by: Origin = ITSELF,
        idempotency: Idempotency | None = None,
    ) -> Job:
        """`detail` is JSON. Opening it again changes nothing.

        Raises InvalidRequest, TooManyOpen, or Conflict for another's id.
        """
        if not LIFE_S_MIN <= life_s <= self._settings.job_life_max_s:
            raise InvalidRequest(
                f"A job lives for {LIFE_S_MIN:g} to {self._settings.job_life_max_s:g} seconds; nothing was opened.",
                param="expires_in_s",
            )
        if not 1 <= len(kind) <= KIND_CHARS_MAX or "\x00" in kind:
            raise InvalidRequest(f"kind must have 1 to {KIND_CHARS_MAX} characters.", param="kind")
        if len(detail) > _DETAIL_BYTES_MAX or not _is_json(detail):
            raise InvalidRequest(f"detail must be JSON of at most {_DETAIL_BYTES_MAX} bytes.", param="detail")
        facts = (org_id, id, kind, detail.decode(), life_s, opened_for, OPEN_MAX, by.row())

        async def make(connection: Connection) -> Job:
            row = await connection.fetchrow(_SQL.open_job, *facts)
            most = f"{OPEN_MAX:,} jobs are open, which is all there may be; nothing was opened."
            return read_answer(row, Job, {"too_many": lambda _: TooManyOpen(most)})

        return await once(self._pool, org_id, idempotency, make, answer=Job)

    @unavailable_in_outage
    async def end(
        self,
        org_id: UUID,
        id: UUID,
        *,
        opened_for: UUID | None = None,
        by: Origin = ITSELF,
        idempotency: Idempotency | None = None,
    ) -> tuple[Job, int]:
        """It reserves nothing more, and what it has open is ended as expired: so many. Raises NotFound."""

        async def make(connection: Connection) -> Job:
            row = await connection.fetchrow(_SQL.end_job, org_id, id, opened_for, by.row())
            return read_answer(row, Job, {"missing": lambda _: _no_job()})

        job = await once(self._pool, org_id, idempotency, make, answer=Job)
        return job, await self._owned.end_of_job(org_id, id)

    @unavailable_in_outage
    async def get(self, org_id: UUID, id: UUID, *, opened_for: UUID) -> Job:
        """Also one that has ended. Raises NotFound."""
        row = await self._pool.fetchrow(_SQL.find_job, org_id, id, opened_for)
        if row is None:
            raise _no_job()
        return Job(**dict(row.items()))

    @unavailable_in_outage
    async def page(self, org_id: UUID, *, opened_for: UUID, after: UUID | None = None, limit: int = 50) -> list[Job]:
        """Open ones in the order of their ids, from behind `after`."""
        rows = await self._pool.fetch(_SQL.open_jobs, org_id, opened_for, after or UUID(int=0), limit)
        return [Job(**dict(row.items())) for row in rows]

    @unavailable_in_outage
    async def newest(self, org_id: UUID, *, opened_for: UUID, limit: int) -> list[Job]:
        """Newest first, also those that have ended."""
        rows = await self._pool.fetch(_SQL.jobs_for, org_id, opened_for, limit)
        return [Job(**dict(row.items())) for row in rows]

    async def end_all(self, org_id: UUID, *, opened_for: UUID, by: Origin) -> None:
        """Ends those that are open, as `end` does."""
        while jobs := await self.page(org_id, opened_for=opened_for):
            for job in jobs:
                await self.end(org_id, job.id, opened_for=opened_for, by=by)


def _no_job() -> NotFound:
    return NotFound("There is no such job; nothing was changed.")


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return b"\\u0000" not in text  # which jsonb cannot hold
