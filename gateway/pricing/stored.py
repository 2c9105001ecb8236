"""Prices that are set while the gateway runs, and mark-ups, as values: what holds at an instant, and until when."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.pricing import Tariff

EVERY_MODEL: Final = "*"
"""In place of a model's name: every model of the provider that has no stored price of its own."""


class StoredPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One price of one model for one stretch of time."""

    price_id: UUID
    provider: str
    model: str
    is_default: bool
    """Also the price of the provider's models that have none anywhere."""
    tariff: Tariff
    effective_from: datetime
    effective_until: datetime | None
    source: str
    """`api`, or `set:<name>`."""
    actor: str
    created_at: datetime
    revision: int
    """Of the model's prices, all of them: it grows with each change."""

    def holds_at(self, instant: datetime) -> bool:
        return self.effective_from <= instant and (self.effective_until is None or instant < self.effective_until)


class Sheet:
    """The stored prices of one instant."""

    def __init__(self, prices: Iterable[StoredPrice] = ()) -> None:
        self._prices = {(price.provider, price.model): price for price in prices}
        defaults = sorted((p for p in self._prices.values() if p.is_default), key=lambda p: (p.effective_from, p.model))
        self._defaults = {price.provider: price for price in defaults}

    def __iter__(self) -> Iterator[StoredPrice]:
        return iter(self._prices.values())

    def find(self, provider: str, model: str) -> StoredPrice | None:
        """Its own, else the one of every model of the provider."""
        return self._prices.get((provider, model)) or self._prices.get((provider, EVERY_MODEL))

    def own(self, provider: str, model: str) -> StoredPrice | None:
        return self._prices.get((provider, model))

    def default(self, provider: str) -> StoredPrice | None:
        """Of several, the one that became effective last."""
        return self._defaults.get(provider)


class Markup(msgspec.Struct, frozen=True, kw_only=True):
    scope: str
    """all, plan or org."""
    scope_id: str
    """Empty for all, else the plan's id or the organisation's."""
    basis_points: int
    revision: int
    actor: str
    changed_at: datetime


class Markups:
    """The narrowest holds: the organisation's own, its plan's, the one for all. Without any it is 0."""

    def __init__(self, markups: Iterable[Markup] = ()) -> None:
        self._all = 0
        self._plans: dict[str, int] = {}
        self._orgs: dict[UUID, int] = {}
        for markup in markups:
            match markup.scope:
                case "org":
                    self._orgs[UUID(markup.scope_id)] = markup.basis_points
                case "plan":
                    self._plans[markup.scope_id] = markup.basis_points
                case _:
                    self._all = markup.basis_points
        self.none = not (self._all or self._plans or self._orgs)
        """Nobody has one: nothing need be looked up."""

    def of(self, org_id: UUID, plan_id: str | None) -> int:
        """In basis points."""
        own = self._orgs.get(org_id)
        if own is None and plan_id is not None:
            own = self._plans.get(plan_id)
        return self._all if own is None else own


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """All that was stored at a revision: the prices that hold or will, and the mark-ups."""

    revision: int = 0
    prices: tuple[StoredPrice, ...] = ()
    markups: Markups = msgspec.field(default_factory=Markups)

    def at(self, instant: datetime) -> Sheet:
        return Sheet(price for price in self.prices if price.holds_at(instant))

    def next_change(self, after: datetime) -> datetime | None:
        """When a price next begins or ends."""
        instants = [p.effective_from for p in self.prices] + [
            p.effective_until for p in self.prices if p.effective_until
        ]
        return min((instant for instant in instants if instant > after), default=None)


def price_of(row: Mapping[str, object]) -> StoredPrice:
    """Of a row of the database. Raises msgspec.ValidationError where it is no price."""
    tariff = msgspec.json.decode(str(row["tariff"]), type=Tariff)
    return msgspec.convert({**row, "tariff": tariff}, StoredPrice)
