"""Work that outlives the request that ordered it: it owns reservations until the gateway, or its time, ends it."""

from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import InvalidRequest, NotFound
from gateway.ledger.operations import read_answer
from gateway.ledger.options import LedgerSettings
from gateway.ledger.owned import OwnedReservations
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("owned")
_KIND_CHARS_MAX: Final = 64
_DETAIL_BYTES_MAX: Final = 65_536


class Job(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    kind: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    repeated: bool = False


class Jobs:
    """Its reservations are `owned`, under `Owner.job`. No process's death ends them."""

    def __init__(self, *, pool: asyncpg.Pool, owned: OwnedReservations, settings: LedgerSettings) -> None:
        self._pool = pool
        self._owned = owned
        self._settings = settings

    @unavailable_in_outage
    async def open(self, org_id: UUID, id: UUID, *, kind: str, detail: bytes = b"{}", life_s: float) -> Job:
        """`detail` is JSON. Opening it again changes nothing. Raises InvalidRequest, or Conflict for another's id."""
        if not 0 < life_s <= self._settings.job_life_max_s:
            raise InvalidRequest(f"A job lives for at most {self._settings.job_life_max_s:g} seconds.", param="life")
        if not 1 <= len(kind) <= _KIND_CHARS_MAX or "\x00" in kind:
            raise InvalidRequest(f"kind must have 1 to {_KIND_CHARS_MAX} characters.", param="kind")
        if len(detail) > _DETAIL_BYTES_MAX or not _is_json(detail):
            raise InvalidRequest(f"detail must be JSON of at most {_DETAIL_BYTES_MAX} bytes.", param="detail")
        row = await self._pool.fetchrow(_SQL.open_job, org_id, id, kind, detail.decode(), life_s)
        return read_answer(row, Job, {})

    @unavailable_in_outage
    async def end(self, org_id: UUID, id: UUID) -> int:
        """It reserves nothing more, and what it has open is ended as expired; returns how many. Raises NotFound."""
        if await self._pool.fetchval(_SQL.end_job, org_id, id) is None:
            raise NotFound("There is no such job.")
        return await self._owned.end_of_job(org_id, id)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return b"\\u0000" not in text  # which jsonb cannot hold
