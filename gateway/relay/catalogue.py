"""Which models are served, by whom, at which price: alias → targets in the order in which they are tried."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.dialect import DialectName
from gateway.core.errors import Forbidden, InvalidRequest, ModelNotFound
from gateway.core.modes import ANY_MODE, dialects_of
from gateway.core.pricing import Prices, Tariff, Tier, VolumeStep
from gateway.pricing.book import PriceBook
from gateway.pricing.price_map import FROM_MAP
from gateway.pricing.stored import EVERY_MODEL
from gateway.upstream.registry import Upstream

REPLAY: Final = "replay"
"""The provider of upstreams that play recorded and made-up answers: what sandbox keys reach, and nothing else."""
UNNAMED_MAX: Final = 1_000
"""Entries of models that are served without being named anywhere; callers choose the names, so they are made anew."""
NAME_CHARS_MAX: Final = 256
_NOWHERE: Final[Mapping[str, tuple[str, ...]]] = {}
_FREE: Final = Prices((Tier(0, 0, 0, 0, 0),))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream and the name by which it knows the model, with the terms pinned at reserve."""

    upstream: Upstream
    model: str
    prices: Prices
    service_tiers: Mapping[str, Prices] = {}
    """Prices of the provider's service tiers that have their own."""
    volume_steps: tuple[VolumeStep, ...] = ()
    """In place of `prices`, for an organisation that has used so much of the model in its month."""
    counted_at: tuple[str, ...] = ()
    """The upstreams of the same provider: a model's volume is counted at all of them."""
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    hides_reasoning: bool = False
    """The model may bill reasoning tokens that are not in the stream."""
    adaptive_thinking: bool = False
    """Asked to think by an effort rather than by a budget of tokens."""
    mode: str = ANY_MODE
    """What kind of model it is, as the price map names kinds."""

    @property
    def dialects(self) -> frozenset[DialectName]:
        """In which it can be called: those of its upstream that are for such a model."""
        return self.upstream.dialects & dialects_of(self.mode)

    def prices_at(self, service_tier: str | None) -> Prices:
        return self.service_tiers.get(service_tier or "", self.prices)

    def at(self, month_tokens: int, *, markup_bp: int) -> "Target":
        """As it is at a volume, with a mark-up on all of its prices. Raises ValueError where one would be too much."""
        prices = Tariff(self.prices, self.volume_steps).at(month_tokens)
        service_tiers = self.service_tiers
        if markup_bp:
            prices = msgspec.structs.replace(prices, markup_bp=markup_bp)
            service_tiers = {
                name: msgspec.structs.replace(tier, markup_bp=markup_bp) for name, tier in service_tiers.items()
            }
        return msgspec.structs.replace(self, prices=prices, service_tiers=service_tiers, volume_steps=())


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model as callers see it."""

    name: str
    targets: tuple[Target, ...]
    """Never empty."""
    dialects: frozenset[DialectName] = frozenset()
    """In which every target can be called."""
    owned_by: str
    created: int = 0
    """Unix seconds; 0 where unknown."""
    pins: bytes = b"{}"
    """JSON: the prices of every target by upstream and model, as a reservation keeps them."""
    by_volume: bool = False
    """What it costs goes by what the organisation has used of it in its month."""
    orgs: frozenset[UUID] | None = None
    """The only organisations that may call it, or see it; None: every one."""

    def admits(self, org_id: UUID) -> bool:
        return self.orgs is None or org_id in self.orgs

    def speaking(self, dialect: DialectName) -> "CatalogueEntry":
        """With those targets alone that can be called in this dialect. Raises InvalidRequest where none can."""
        targets = tuple(target for target in self.targets if dialect in target.dialects)
        if not targets:
            if not any(dialect in dialects_of(target.mode) for target in self.targets):
                raise not_of_its_kind(self, dialect)
            spoken = ", ".join(sorted({name for target in self.targets for name in target.dialects}))
            raise InvalidRequest(
                f"The model `{self.name[:128]}` cannot be called in the dialect `{dialect}`: where it is served, "
                f"`{spoken}` is spoken. Nothing was reserved or sent.",
                param="model",
                code="dialect_not_spoken",
            )
        return entry_of(self.name, targets)

    @property
    def prices(self) -> Prices:
        return self.targets[0].prices

    @property
    def context_tokens(self) -> int | None:
        return self.targets[0].context_tokens

    @property
    def output_tokens_max(self) -> int | None:
        return self.targets[0].output_tokens_max


class Catalogue:
    """All models of this gateway. `unpriced` are configured without a price: never served, named when refused.
    `replays` are where calls of sandbox keys go.

    `unnamed` finds the targets of any other name: what is served because all models of a provider have a price.
    Swapped whole when prices change; a call keeps the entry that it was reserved with.
    """

    def __init__(
        self,
        entries: Iterable[CatalogueEntry],
        unpriced: Mapping[str, str],
        *,
        replays: Sequence[Upstream] = (),
        counted_at: Mapping[str, tuple[str, ...]] = _NOWHERE,
        unnamed: Callable[[str], tuple[Target, ...]] = lambda _: (),
    ) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._unpriced = dict(unpriced)
        self._replays = tuple(replays)
        self._counted_at = counted_at
        self._unnamed = unnamed
        self._found: dict[str, CatalogueEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def upstreams_of(self, provider: str) -> tuple[str, ...]:
        """By name."""
        return self._counted_at.get(provider, ())

    def serves(self, provider: str, model: str) -> bool:
        """Some name leads to the model at the provider."""
        targets = [target for entry in self._entries.values() for target in entry.targets]
        targets += self._unnamed(f"{provider}/{model}")
        return any((target.upstream.provider, target.model) == (provider, model) for target in targets)

    def become(self, other: "Catalogue") -> None:
        """From now on it has the other's models."""
        self._entries, self._unpriced, self._replays = other._entries, other._unpriced, other._replays
        self._counted_at, self._unnamed, self._found = other._counted_at, other._unnamed, other._found

    def models(self) -> Iterable[CatalogueEntry]:
        """Sorted by name."""
        return sorted(self._entries.values(), key=lambda entry: entry.name)

    def route(self, model: str) -> CatalogueEntry:
        """Raises ModelNotFound, or InvalidRequest for a configured model that has no price."""
        entry = self._entries.get(model)
        if entry is not None:
            return entry
        if model in self._unpriced:
            raise not_priced(model, self._unpriced[model])
        entry = self._found.get(model)
        if entry is None:
            targets = self._unnamed(model)
            if not targets:
                raise ModelNotFound(model)
            if len(self._found) >= UNNAMED_MAX:
                self._found.clear()
            entry = self._found[model] = entry_of(model, targets)
        return entry

    def sandbox(self, model: str) -> CatalogueEntry:
        """The model as a sandbox key has it: under its name and with its limits, answered by replay, at no price.

        Raises as `route` does; Forbidden where no upstream replays.
        """
        entry = self.route(model)
        if not self._replays:
            raise Forbidden(
                "This is a sandbox key: its calls go to upstreams whose provider is `replay`, and this gateway has "
                "none; nothing was reserved or sent."
            )
        targets = tuple(
            Target(
                upstream=upstream,
                model=model,
                prices=_FREE,
                context_tokens=entry.context_tokens,
                output_tokens_max=entry.output_tokens_max,
                mode=entry.targets[0].mode,
            )
            for upstream in self._replays
        )
        return entry_of(model, targets, orgs=entry.orgs)


def not_of_its_kind(entry: CatalogueEntry, dialect: DialectName) -> InvalidRequest:
    """Another kind of model than the dialect is for."""
    modes = ", ".join(sorted({target.mode for target in entry.targets}))
    return InvalidRequest(
        f"The model `{entry.name[:128]}` is one for `{modes}`, which cannot be called in the dialect `{dialect}`. "
        "Nothing was reserved or sent.",
        param="model",
        code="model_not_supported",
    )


def not_priced(model: str, where: str) -> InvalidRequest:
    return InvalidRequest(
        f"The model `{model}` has no price ({where}), so it cannot be charged for; nothing was reserved or sent.",
        param="model",
        code="model_not_priced",
    )


def entry_of(name: str, targets: tuple[Target, ...], *, orgs: frozenset[UUID] | None = None) -> CatalogueEntry:
    """The entry of a name that leads to these targets, and their prices as a reservation keeps them."""
    pins = msgspec.json.encode({f"{t.upstream.name}/{t.model}": {"": t.prices, **t.service_tiers} for t in targets})
    by_volume = any(target.volume_steps for target in targets)
    return CatalogueEntry(
        name=name,
        targets=targets,
        dialects=frozenset.intersection(*(target.dialects for target in targets)),
        owned_by=targets[0].upstream.provider,
        pins=pins,
        by_volume=by_volume,
        orgs=orgs,
    )


class Served(msgspec.Struct, frozen=True):
    """An upstream and the models it serves under their own names.

    None: every model that has a price and a dialect there, and any at all while all of its provider's have one.
    """

    upstream: Upstream
    models: tuple[str, ...] | None = None


class Alias(msgspec.Struct, frozen=True):
    """A name of the operator's, and where it leads: pairs of upstream name and model, in order."""

    name: str
    targets: tuple[tuple[str, str], ...]
    orgs: frozenset[UUID] | None = None
    """The only organisations that may call it; None: every one."""


def is_tuned(model: str) -> bool:
    """Somebody trained it for himself, as OpenAI's and Mistral's names of such models say. The provider's account is
    everybody's, so who may call it is the operator's to say: by naming it."""
    return model.startswith("ft:")


def build_catalogue(served: Sequence[Served], aliases: Sequence[Alias], book: PriceBook) -> Catalogue:
    """A model that several upstreams serve has them all as targets, in the order of the configuration.

    A target without a price is left out; a model of which no target has one is refused by name when it is asked for.
    """
    wanted: dict[str, list[tuple[Upstream, str]]] = {}
    for one in served:
        names = one.models
        if names is None:
            spoken = one.upstream.dialects
            names = tuple(
                price.model
                for price in book.models(one.upstream.provider)
                if spoken & dialects_of(price.mode) and not (price.source == FROM_MAP and is_tuned(price.model))
            )
        for name in names:
            wanted.setdefault(name, []).append((one.upstream, name))
    by_name = {one.upstream.name: one.upstream for one in served}
    for alias in aliases:
        wanted[alias.name] = [(by_name[upstream], model) for upstream, model in alias.targets if upstream in by_name]
    counted_at: dict[str, tuple[str, ...]] = {}
    for one in served:
        provider = one.upstream.provider
        counted_at[provider] = (*counted_at.get(provider, ()), one.upstream.name)
    entries, unpriced = [], {}
    orgs = {alias.name: alias.orgs for alias in aliases}
    for name, places in wanted.items():
        targets = tuple(target for place in places if (target := _target(*place, book, counted_at)) is not None)
        if targets:
            entries.append(entry_of(name, targets, orgs=orgs.get(name)))
        else:
            unpriced[name] = ", ".join(f"{upstream.provider}/{model}" for upstream, model in places)

    anything: dict[str, list[Upstream]] = {}
    for one in served:
        if one.models is None and book.prices_any(one.upstream.provider):
            anything.setdefault(one.upstream.provider, []).append(one.upstream)

    def unnamed(name: str) -> tuple[Target, ...]:
        """A model of the provider that the name begins with, else of the first that serves anything: no call is tried
        at a provider that was not meant."""
        if not anything or len(name) > NAME_CHARS_MAX or not name.isprintable():
            return ()
        provider, _, model = name.partition("/")
        if provider not in anything:
            provider, model = next(iter(anything)), name
        if model in ("", EVERY_MODEL) or is_tuned(model):
            return ()
        found = [_target(upstream, model, book, counted_at) for upstream in anything[provider]]
        return tuple(target for target in found if target is not None)

    replays = [one.upstream for one in served if one.upstream.provider == REPLAY]
    return Catalogue(entries, unpriced, replays=replays, counted_at=counted_at, unnamed=unnamed)


def _target(
    upstream: Upstream, model: str, book: PriceBook, counted_at: Mapping[str, tuple[str, ...]]
) -> Target | None:
    price = book.find(upstream.provider, model)
    if price is None:
        return None
    return Target(
        upstream=upstream,
        model=model,
        prices=price.prices,
        service_tiers=price.service_tiers,
        volume_steps=price.volume_steps,
        counted_at=counted_at[upstream.provider],
        context_tokens=price.context_tokens,
        output_tokens_max=price.output_tokens_max,
        hides_reasoning=price.reasoning,
        adaptive_thinking=price.adaptive_thinking,
        mode=price.mode,
    )
