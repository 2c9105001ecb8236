"""Responses that go on behind their requests, as rows: any process may look after any of them."""

from typing import Final
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.pricing import Prices
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load

_SQL = load("stored")

POLL_FIRST_S: Final = 2.0
POLL_MOST_S: Final = 60.0
"""Between two looks at one: from the first, half as long again each time, to the most."""
_PRICES: Final = msgspec.json.Decoder(dict[str, Prices])


class BackgroundResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One that has not been settled. `id` is the call's, and so its job's and its reservation's."""

    org_id: UUID
    id: UUID
    response_id: str
    upstream: str
    upstream_model: str
    model: str
    """As the caller named it."""
    prices: dict[str, Prices]
    """Pinned when it was reserved, by service tier; "" is the usual one."""
    service_tier: str
    """As asked; empty where none was."""
    prompt_tokens: int
    """Our estimate, for where the provider reports nothing."""
    held_ucr: int
    tags: str | None = None
    polls: int = 0
    expired: bool = False
    """Its time is over: the ledger has charged what it held."""


class BackgroundResponses:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    @unavailable_in_outage
    async def count(self, org_id: UUID) -> int:
        """How many go on for the organisation."""
        count: int = await self._pool.fetchval(_SQL.count_background, org_id)
        return count

    @unavailable_in_outage
    async def open(self, response: BackgroundResponse, *, life_s: float) -> None:
        await self._pool.execute(
            _SQL.open_background,
            response.org_id,
            response.id,
            response.response_id,
            response.upstream,
            response.upstream_model,
            response.model,
            msgspec.json.encode(response.prices).decode(),
            response.service_tier,
            response.prompt_tokens,
            response.held_ucr,
            response.tags,
            POLL_FIRST_S,
            life_s,
        )

    @unavailable_in_outage
    async def find(self, org_id: UUID, response_id: str) -> BackgroundResponse | None:
        row = await self._pool.fetchrow(_SQL.find_background, org_id, response_id)
        return None if row is None else _read(row)

    @unavailable_in_outage
    async def take_due(self, most: int) -> list[BackgroundResponse]:
        """Those that are to be looked at now. Each is due again after a pause, whatever becomes of this process."""
        return [_read(row) for row in await self._pool.fetch(_SQL.take_background, most, POLL_FIRST_S, POLL_MOST_S)]

    @unavailable_in_outage
    async def end(self, response: BackgroundResponse) -> None:
        """It is settled."""
        await self._pool.execute(_SQL.end_background, response.org_id, response.id)


def _read(row: asyncpg.Record) -> BackgroundResponse:
    fields = dict(row.items())
    return BackgroundResponse(**{**fields, "prices": _PRICES.decode(fields["prices"])})
