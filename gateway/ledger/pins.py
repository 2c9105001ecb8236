"""The prices that calls were quoted, written down once for all calls that had the same; a reservation names them."""

import hashlib
from typing import Final

import asyncpg

from gateway.core.errors import InvalidRequest
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("ledger")
KNOWN_MAX: Final = 100_000


class Pins:
    """Ids of prices. The same prices have the same id everywhere, so processes need not agree on it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._ids: dict[bytes, int] = {}

    def known(self, prices: bytes) -> int | None:
        """The id of prices that the database has for sure; None: `keep` them first."""
        return self._ids.get(prices)

    @unavailable_in_outage
    async def keep(self, prices: bytes) -> int:
        """Writes them down unless they are there. Raises LedgerUnavailable, or InvalidRequest: they are no JSON."""
        id = int.from_bytes(hashlib.sha256(prices).digest()[:8], "big", signed=True)
        try:
            await self._pool.execute(_SQL.keep_pin, id, prices.decode())
        except asyncpg.DataError as error:
            raise InvalidRequest("This call's prices cannot be recorded; nothing was reserved.") from error
        if len(self._ids) >= KNOWN_MAX:
            self._ids.clear()
        self._ids[prices] = id
        return id
