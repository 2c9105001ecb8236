"""How many tokens of a model an organisation has used in its calendar month: what prices by volume go by."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import LedgerUnavailable
from gateway.ops.clock import Clock
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL: Final = load("usage")
_VERSIONS_AT_ONCE: Final = 20_000
KNOWN_MAX: Final = 50_000
FRESH_S: Final = 30.0
"""How long a figure is believed; never beyond the month that it is of."""
ORGS_MAX: Final = 10_000
"""Of how many organisations figures may be asked for at a time."""
WAITING_MAX: Final = 1_000
"""How many calls of one organisation may wait for its figures."""
READERS_MIN: Final = 2

_Key = tuple[UUID, tuple[str, ...], str]


class _Known(msgspec.Struct):
    tokens: int
    asked_at_s: float
    month_ends_at_s: float
    """Both on the monotonic clock."""


class _Turns:
    """Of one organisation, while anybody is inside. One reads; a failure is that of all who waited for it."""

    __slots__ = ("failed", "inside", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.inside = 0
        self.failed = False


class ModelVolumes:
    """Counts prompt and output of calls that were settled before the figure was read; this process reads it at most
    FRESH_S ago. While one caller reads it anew, the others go by the last one of the same month.

    Each organisation is read by one caller at a time, so that one whose rows take long, or are locked, holds up nobody
    else; and all of them together leave half of the pool's connections alone.
    """

    def __init__(self, pool: asyncpg.Pool, *, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._turns: dict[UUID, _Turns] = {}
        self._readers = asyncio.Semaphore(max(READERS_MIN, pool.get_max_size() // 2))

    async def tokens(self, org_id: UUID, upstreams: tuple[str, ...], model: str) -> int:
        """Raises LedgerUnavailable where it must be read and cannot be, or where too many wait for it."""
        key = (org_id, upstreams, model)
        known = self._believed(key)
        if known is not None:
            now_s = self._clock.monotonic()
            if now_s - known.asked_at_s < FRESH_S:
                return known.tokens
            known.asked_at_s = now_s  # whoever comes meanwhile does not ask as well
            async with self._turn(org_id):
                return await self._read(key)
        async with self._turn(org_id):
            known = self._believed(key)
            return await self._read(key) if known is None else known.tokens

    def _believed(self, key: _Key) -> _Known | None:
        known = self._known.get(key)
        return known if known is not None and self._clock.monotonic() < known.month_ends_at_s else None

    @asynccontextmanager
    async def _turn(self, org_id: UUID) -> AsyncIterator[None]:
        turns = self._turns.get(org_id)
        if turns is None:
            if len(self._turns) >= ORGS_MAX:
                raise _too_many()
            turns = self._turns[org_id] = _Turns()
        elif turns.inside >= WAITING_MAX:
            raise _too_many()
        turns.inside += 1
        try:
            async with turns.lock:
                if turns.failed:
                    raise LedgerUnavailable("What the organisation has used could not be read; nothing was reserved.")
                try:
                    yield
                except LedgerUnavailable:
                    turns.failed = True
                    raise
        finally:
            turns.inside -= 1
            if not turns.inside:
                del self._turns[org_id]

    @unavailable_in_outage
    async def _read(self, key: _Key) -> int:
        org_id, upstreams, model = key
        async with self._readers:
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


def _too_many() -> LedgerUnavailable:
    return LedgerUnavailable("Too many calls wait for what was used; nothing was reserved.")
