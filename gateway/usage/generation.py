"""One call looked up after its end: what it was, what it used and what it cost."""

from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import NotFound
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("usage")
_ID_CHARS_SHOWN_MAX: Final = 64
NEWEST_CALLS: Final = 100_000
"""How many of an account's newest rows are looked through for a provider's id."""
_decode_lines: Final = msgspec.json.Decoder(tuple[tuple[str, int, Decimal], ...]).decode


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    model: str
    """As the caller named it."""
    upstream: str
    upstream_model: str
    provider_request_id: str
    streamed: bool
    status: int
    ended: str
    """core's `End`: ok, error, cancelled, cut_off, estimated, recovered."""
    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    lines: tuple[tuple[str, int, Decimal], ...]
    """(kind, units, µcr per million units)."""
    used_ucr: int
    """Charged and overage, with a late correction where there was one."""
    started_at: datetime
    first_event_ms: int | None
    duration_ms: int
    created_at: datetime
    """When it was settled."""


class Generations:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def find(self, org_id: UUID, id: str) -> Generation:
        """By our id, else by the provider's: the latest that has it, of the newest calls.

        Raises NotFound, also for an open call.
        """
        call_id = _uuid(id)
        row = None if call_id is None else await self._pool.fetchrow(_SQL.find_generation, org_id, call_id)
        if row is None and "\0" not in id:
            known_as = await self._pool.fetchval(_SQL.find_generation_id, org_id, id, NEWEST_CALLS)
            row = None if known_as is None else await self._pool.fetchrow(_SQL.find_generation, org_id, known_as)
        if row is not None:
            return _generation(row)
        if call_id is not None and await self._pool.fetchval(_SQL.is_open, org_id, call_id):
            raise NotFound(f"Generation {call_id} is still running; ask again when it has ended.")
        raise NotFound(f"There is no generation {id[:_ID_CHARS_SHOWN_MAX]!r} in this organisation.")


def _generation(row: asyncpg.Record) -> Generation:
    fields = dict(row)
    fields["lines"] = _decode_lines(fields["lines"])
    return Generation(**fields)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
