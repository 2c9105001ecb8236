"""The price book: which price holds for a model of a provider. The order of precedence is in docs/pricing.md."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from gateway.core.pricing import Prices, Tier
from gateway.core.units import UNITS_PER_PRICE
from gateway.pricing.price_map import ModelPrice, read_price_map, ucr_per_million
from gateway.pricing.stored import EVERY_MODEL, Sheet, StoredPrice


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price that the operator sets, in USD per 1,000,000 tokens. It replaces the map's whole entry."""

    provider: str
    model: str
    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    cached_usd_per_million: Decimal | None = None
    """Without it, cached input costs what input costs."""
    cache_write_usd_per_million: Decimal | None = None
    cache_write_1h_usd_per_million: Decimal | None = None
    """Without it, what is cached for an hour costs what any cache write costs."""
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    reasoning: bool = False
    vision: bool = False


class PriceBook:
    """Immutable once loaded.

    A stored price comes first, then the configuration's, then `provider/model` of the map, then `model` if it is
    theirs, and where there is none of these the provider's stored default.
    """

    def __init__(
        self,
        models: Mapping[str, ModelPrice],
        overrides: Mapping[tuple[str, str], ModelPrice],
        sheet: Sheet | None = None,
    ) -> None:
        self._models = models
        self._overrides = overrides
        self._sheet = sheet or Sheet()

    @classmethod
    def load(
        cls, *, credits_per_usd: Decimal, overrides: Iterable[PriceOverride] = (), path: Path | None = None
    ) -> "PriceBook":
        """Reads the map (about 50 ms). Raises PriceMapMissing; PriceInvalid for an override that is no price."""
        models = read_price_map(credits_per_usd=credits_per_usd, path=path)
        own = {(each.provider, each.model): _from_override(each, credits_per_usd) for each in overrides}
        return cls(models, own)

    def with_stored(self, sheet: Sheet) -> "PriceBook":
        """This book with these stored prices in place of its own."""
        return PriceBook(self._models, self._overrides, sheet)

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """None: not priced, so not to be served.

        A stored price replaces the whole of a price; what else is known of a model stays known.
        """
        stored, beside = self._sheet.find(provider, model), self._find_beside(provider, model)
        if stored is None and beside is None:
            default = self._sheet.default(provider)
            return None if default is None else _from_stored(default, provider, model, "provider_default")
        if stored is None:
            return beside
        price = _from_stored(stored, provider, model, "stored")
        if beside is None:
            return price
        return msgspec.structs.replace(
            beside, prices=price.prices, volume_steps=price.volume_steps, service_tiers={}, source=price.source
        )

    def prices_any(self, provider: str) -> bool:
        """A stored price holds for every model of the provider, or for every one that has no other."""
        return self._sheet.own(provider, EVERY_MODEL) is not None or self._sheet.default(provider) is not None

    def stored(self, provider: str, model: str) -> StoredPrice | None:
        """The stored price that holds for the model, be it the one of every model or the provider's default."""
        found = self._sheet.find(provider, model)
        if found is None and self._find_beside(provider, model) is None:
            return self._sheet.default(provider)
        return found

    def stored_prices(self) -> Iterable[StoredPrice]:
        return self._sheet

    def _find_beside(self, provider: str, model: str) -> ModelPrice | None:
        own = self._overrides.get((provider, model)) or self._models.get(f"{provider}/{model}")
        if own is not None:
            return own
        plain = self._models.get(model)
        return plain if plain is not None and plain.provider == provider else None

    def models(self, provider: str) -> list[ModelPrice]:
        """Every priced model of a provider, once, in the map's order; the operator's own come last.

        A default names no models, nor does the price of every model.
        """
        found = {price.model: price for price in self._models.values() if price.provider == provider}
        found |= {name: price for (owner, name), price in self._overrides.items() if owner == provider}
        for stored in self._sheet:
            if stored.provider == provider and stored.model != EVERY_MODEL:
                found.setdefault(stored.model, _from_stored(stored, provider, stored.model, "stored"))
        return [price for name in found if (price := self.find(provider, name)) is not None]


def _from_override(override: PriceOverride, credits_per_usd: Decimal) -> ModelPrice:
    def ucr(usd_per_million: Decimal | None, otherwise: Decimal) -> int:
        usd = otherwise if usd_per_million is None else usd_per_million
        return ucr_per_million(usd, tokens=UNITS_PER_PRICE, credits_per_usd=credits_per_usd)

    input_usd, hour_usd = override.input_usd_per_million, override.cache_write_1h_usd_per_million
    tier = Tier(
        above_tokens=0,
        input_ucr=ucr(input_usd, input_usd),
        cached_ucr=ucr(override.cached_usd_per_million, input_usd),
        cache_write_ucr=ucr(override.cache_write_usd_per_million, input_usd),
        output_ucr=ucr(override.output_usd_per_million, input_usd),
        cache_write_1h_ucr=None if hour_usd is None else ucr(hour_usd, hour_usd),
    )
    return ModelPrice(
        provider=override.provider,
        model=override.model,
        prices=Prices((tier,)),
        context_tokens=override.context_tokens,
        output_tokens_max=override.output_tokens_max,
        reasoning=override.reasoning,
        vision=override.vision,
        source="configuration",
    )


def _from_stored(stored: StoredPrice, provider: str, model: str, source: str) -> ModelPrice:
    tariff = stored.tariff
    return ModelPrice(provider=provider, model=model, prices=tariff.prices, volume_steps=tariff.steps, source=source)
