"""What a model costs one organisation right now: the catalogue's price at its volume, with its mark-up."""

from typing import Final, Protocol
from uuid import UUID

from gateway.pricing.stored import Markups
from gateway.relay.catalogue import Catalogue, CatalogueEntry, Target, entry_of, not_priced

MADE_MAX: Final = 10_000
"""Entries with a mark-up or at a volume that are kept; then they are made anew."""


class Volumes(Protocol):
    async def tokens(self, org_id: UUID, upstreams: tuple[str, ...], model: str) -> int:
        """What the organisation has used of a model in its month, as far as it is known. Raises LedgerUnavailable."""


class Offers:
    """Where nobody has a mark-up and no price goes by volume, `differ` is all that a call pays for this.

    The volume is read when a call is quoted; the prices that follow from it are pinned with the reservation and charged
    at its end, whatever is used or changed in between.
    """

    def __init__(self, catalogue: Catalogue, volumes: Volumes) -> None:
        self.catalogue = catalogue
        self.markups = Markups()
        self._volumes = volumes
        self._made: dict[tuple[object, ...], CatalogueEntry] = {}
        self.route = catalogue.route

    def become(self, catalogue: Catalogue, markups: Markups) -> None:
        """Other prices hold from now on. Calls under way keep theirs."""
        self.catalogue.become(catalogue)
        self.markups = markups
        self._made = {}

    def differ(self, entry: CatalogueEntry) -> bool:
        """Somebody pays something else for it than what the entry says."""
        return entry.by_volume or not self.markups.none

    async def to(self, entry: CatalogueEntry, org_id: UUID, plan_id: str | None) -> CatalogueEntry:
        """The entry as it is for an organisation on a plan.

        Raises LedgerUnavailable where its volume decides and cannot be known, InvalidRequest where its mark-up makes
        the price more than one may be.
        """
        made, markup_bp = self._made, self.markups.of(org_id, plan_id)
        if not (entry.by_volume or markup_bp):
            return entry
        key: tuple[object, ...] = (entry.name, markup_bp)
        volumes = [0] * len(entry.targets)
        if entry.by_volume:
            volumes = [
                await self.used(org_id, target.counted_at, target.model) if target.volume_steps else 0
                for target in entry.targets
            ]
            key += tuple(_steps_reached(t, used) for t, used in zip(entry.targets, volumes, strict=True))
        found = made.get(key)
        if found is None:
            if len(made) >= MADE_MAX:
                made.clear()
            found = made[key] = _made(entry, volumes, markup_bp)
        return found

    async def used(self, org_id: UUID, upstreams: tuple[str, ...], model: str) -> int:
        """Tokens of the model that the organisation has used there in its month. Raises LedgerUnavailable."""
        return await self._volumes.tokens(org_id, upstreams, model)


def _steps_reached(target: Target, used: int) -> int:
    return sum(used > step.above_tokens for step in target.volume_steps)


def _made(entry: CatalogueEntry, volumes: list[int], markup_bp: int) -> CatalogueEntry:
    targets = []
    for target, used in zip(entry.targets, volumes, strict=True):
        try:
            targets.append(target.at(used, markup_bp=markup_bp))
        except ValueError:
            raise not_priced(entry.name, "with a mark-up it would be more than a price may be") from None
    return entry_of(entry.name, tuple(targets))
