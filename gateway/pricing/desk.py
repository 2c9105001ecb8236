"""Where prices and mark-ups are changed: each change one statement, audited, once under its idempotency key."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from gateway.core.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    TollgateError,
)
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.core.pricing import Tariff
from gateway.ops.ids import IdSource
from gateway.postgres.once import fetch_once
from gateway.postgres.outage import unavailable_in_outage
from gateway.postgres.queries import load
from gateway.pricing.sets import SetPrice
from gateway.pricing.stored import Markup, StoredPrice, price_of

_SQL: Final = load("prices")
PRICES_MAX: Final = 5_000
"""That hold or will; every process has them in memory."""
_NO_ORG: Final = UUID(int=0)
"""Where the keys of changes are kept that belong to no organisation: `operators_org` of functions/prices.sql."""

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    ended_at: datetime
    repeated: bool = False


class Initialized(msgspec.Struct, frozen=True, kw_only=True):
    """`provider/model` each."""

    set: str
    written: tuple[str, ...]
    kept: tuple[str, ...]
    """They had a stored price."""
    repeated: bool = False


class MarkupSet(msgspec.Struct, frozen=True, kw_only=True):
    scope: str
    scope_id: str
    basis_points: int | None
    revision: int | None
    changed_at: datetime | None
    repeated: bool = False


class SetAnswer(StoredPrice, frozen=True, kw_only=True):
    repeated: bool = False


class PriceDesk:
    """A change begins at an instant that has not passed: what was charged stays what it was.

    `if_match`: the revision that the asker has seen; 0: whatever there is, but there must be something; None: whatever.
    """

    def __init__(self, pool: asyncpg.Pool, *, ids: IdSource) -> None:
        self._pool = pool
        self._ids = ids

    @unavailable_in_outage
    async def set(
        self,
        *,
        provider: str,
        model: str,
        is_default: bool,
        tariff: Tariff,
        effective_from: datetime | None,
        effective_until: datetime | None,
        if_match: int | None,
        by: Origin,
        idempotency: Idempotency | None,
    ) -> SetAnswer:
        """Lets a price begin; None: now. Where it ends, what held before it goes on.

        Raises InvalidRequest (it would begin in the past), PreconditionFailed, IdempotencyMismatch or Conflict.
        """
        facts = (self._ids.next(), provider, model, is_default, msgspec.json.encode(tariff).decode())
        return await self._change(
            _SQL.set_price, (*facts, effective_from, effective_until, PRICES_MAX, if_match), by, idempotency, SetAnswer
        )

    @unavailable_in_outage
    async def end(
        self,
        *,
        provider: str,
        model: str,
        at: datetime | None,
        if_match: int | None,
        by: Origin,
        idempotency: Idempotency | None,
    ) -> Ended:
        """From then on (None: now) the model has no stored price of its own, nor a planned one.

        Raises NotFound where it has none, and else as `set` does.
        """
        return await self._change(_SQL.end_price, (provider, model, at, if_match), by, idempotency, Ended)

    @unavailable_in_outage
    async def initialize(
        self, name: str, prices: Iterable[SetPrice], *, replace: bool, by: Origin, idempotency: Idempotency | None
    ) -> Initialized:
        """The prices of a named set; those that have a stored price keep it unless they are to be replaced."""
        rows = [
            {
                "price_id": self._ids.next(),
                "provider": price.provider,
                "model": price.model,
                "is_default": price.is_default,
                "tariff": price.tariff,
            }
            for price in prices
        ]
        facts = (name, msgspec.json.encode(rows).decode(), replace, PRICES_MAX)
        return await self._change(_SQL.initialize_prices, facts, by, idempotency, Initialized)

    @unavailable_in_outage
    async def set_markup(
        self,
        *,
        scope: str,
        scope_id: str,
        basis_points: int | None,
        if_match: int | None,
        by: Origin,
        idempotency: Idempotency | None,
    ) -> MarkupSet:
        """None: none of its own any more. Raises NotFound, PreconditionFailed or IdempotencyMismatch."""
        facts = (scope, scope_id, basis_points, if_match)
        return await self._change(_SQL.set_markup, facts, by, idempotency, MarkupSet)

    @unavailable_in_outage
    async def prices_at(self, instant: datetime) -> list[StoredPrice]:
        """Also of instants that have passed."""
        return [price_of(dict(row)) for row in await self._pool.fetch(_SQL.prices_at, instant, PRICES_MAX)]

    @unavailable_in_outage
    async def revision_of(self, provider: str, model: str) -> int | None:
        """Of the model's stored prices; None: it never had one."""
        revision: int | None = await self._pool.fetchval(_SQL.price_revision_of, provider, model)
        return revision

    @unavailable_in_outage
    async def markups(self, *, after: tuple[str, str] = ("", ""), limit: int) -> list[Markup]:
        """By scope and scope's id, from behind `after`, be there such a mark-up or not."""
        rows = await self._pool.fetch(_SQL.markups_after, *after, limit)
        return [msgspec.convert(dict(row), Markup) for row in rows]

    @unavailable_in_outage
    async def markup(self, scope: str, scope_id: str) -> Markup | None:
        row = await self._pool.fetchrow(_SQL.markup, scope, scope_id)
        return None if row is None else msgspec.convert(dict(row), Markup)

    @unavailable_in_outage
    async def plan_of(self, org_id: UUID) -> str | None:
        """The plan that the organisation is on."""
        plan_id: str | None = await self._pool.fetchval(_SQL.plan_of_org, org_id)
        return plan_id

    async def _change(
        self,
        statement: str,
        facts: tuple[object, ...],
        by: Origin,
        idempotency: Idempotency | None,
        answer: type[_Answer],
    ) -> _Answer:
        row = await fetch_once(self._pool, _NO_ORG, idempotency, statement, *facts, by.row())
        status = row["status"]
        if status not in {"ok", "exists"}:
            raise _REFUSALS[status](msgspec.json.decode(row["answer"] or "{}"))
        made = msgspec.json.decode(row["answer"], type=answer)
        return msgspec.structs.replace(made, repeated=True) if status == "exists" else made


_REFUSALS: Final[Mapping[str, Callable[[Mapping[str, Any]], TollgateError]]] = {
    "changed": lambda _: PreconditionFailed("It was changed since it was read, or is not there; nothing was changed."),
    "past": lambda _: InvalidRequest(
        "`effective_from` must not have passed, and `effective_until` must come after it; leave `effective_from` out "
        "for now; nothing was changed.",
        param="effective_from",
    ),
    "full": lambda _: Conflict(f"{PRICES_MAX} prices are stored that hold or will; nothing was changed."),
    "no_price": lambda _: NotFound("The model has no stored price of its own then; nothing was changed."),
    "no_org": lambda _: NotFound("There is no such organisation; nothing was changed."),
}
