"""How many tokens of a model an organisation has used in its calendar month: what prices by volume go by."""

import asyncio
from collections import OrderedDict
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.ops.clock import Clock
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("usage")
_VERSIONS_AT_ONCE: Final = 20_000
KNOWN_MAX: Final = 50_000
FRESH_S: Final = 30.0
"""How long a figure is believed; never beyond the month that it is of."""

_Key = tuple[UUID, tuple[str, ...], str]


class _Known(msgspec.Struct):
    tokens: int
    asked_at_s: float
    month_ends_at_s: float
    """Both on the monotonic clock."""


class ModelVolumes:
    """Counts prompt and output of calls that were settled before the figure was read; this process reads it at most
    FRESH_S ago. While one caller reads it anew, the others go by the last one of the same month."""

    def __init__(self, pool: asyncpg.Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._reading = asyncio.Lock()

    async def tokens(self, org_id: UUID, upstreams: tuple[str, ...], model: str) -> int:
        """Raises LedgerUnavailable where it must be read and cannot be."""
        key, now_s = (org_id, upstreams, model), self._clock.monotonic()
        known = self._known.get(key)
        if known is not None and now_s < known.month_ends_at_s:
            if now_s - known.asked_at_s < FRESH_S:
                return known.tokens
            known.asked_at_s = now_s  # whoever comes meanwhile does not ask as well
            return await self._read(key)
        async with self._reading:
            known = self._known.get(key)
            if known is not None and self._clock.monotonic() < known.month_ends_at_s:
                return known.tokens
            return await self._read(key)

    @unavailable_in_outage
    async def _read(self, key: _Key) -> int:
        org_id, upstreams, model = key
        for (account_id,) in await self._pool.fetch(_SQL.accounts_of_org, org_id):
            while await self._pool.fetchval(_SQL.roll_up_model_months, org_id, account_id, _VERSIONS_AT_ONCE):
                pass
        row = await self._pool.fetchrow(_SQL.model_month, org_id, list(upstreams), model)
        assert row is not None
        now_s = self._clock.monotonic()
        tokens: int = row["tokens"]
        self._known[key] = _Known(tokens, now_s, now_s + row["ends_in_s"])
        self._known.move_to_end(key)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return tokens
