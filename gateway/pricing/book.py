"""The price book: which price holds for a model of a provider."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import msgspec

from gateway.core.pricing import Prices, Tier
from gateway.core.units import UNITS_PER_PRICE
from gateway.pricing.price_map import ModelPrice, read_price_map, ucr_per_million


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price that the operator sets, in USD per 1,000,000 tokens. It replaces the map's whole entry."""

    provider: str
    model: str
    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    cached_usd_per_million: Decimal | None = None
    """Without it, cached input costs what input costs."""
    cache_write_usd_per_million: Decimal | None = None
    context_tokens: int | None = None
    output_tokens_max: int | None = None
    reasoning: bool = False
    vision: bool = False


class PriceBook:
    """Immutable once loaded. Overrides come first, then `provider/model` of the map, then `model` if it is theirs."""

    def __init__(self, models: Mapping[str, ModelPrice], overrides: Mapping[tuple[str, str], ModelPrice]) -> None:
        self._models = models
        self._overrides = overrides

    @classmethod
    def load(
        cls, *, credits_per_usd: Decimal, overrides: Iterable[PriceOverride] = (), path: Path | None = None
    ) -> "PriceBook":
        """Reads the map (about 50 ms). Raises PriceMapMissing; PriceInvalid for an override that is no price."""
        models = read_price_map(credits_per_usd=credits_per_usd, path=path)
        own = {(each.provider, each.model): _from_override(each, credits_per_usd) for each in overrides}
        return cls(models, own)

    def find(self, provider: str, model: str) -> ModelPrice | None:
        """None: not priced, so not to be served."""
        own = self._overrides.get((provider, model)) or self._models.get(f"{provider}/{model}")
        if own is not None:
            return own
        plain = self._models.get(model)
        return plain if plain is not None and plain.provider == provider else None

    def chat_models(self, provider: str) -> list[ModelPrice]:
        """Every priced chat model of a provider, once, in the map's order; the operator's own come last."""
        chats = [price for price in self._models.values() if price.provider == provider and price.mode == "chat"]
        found = {price.model: price for price in chats}
        found |= {name: price for (owner, name), price in self._overrides.items() if owner == provider}
        return list(found.values())


def _from_override(override: PriceOverride, credits_per_usd: Decimal) -> ModelPrice:
    def ucr(usd_per_million: Decimal | None, otherwise: Decimal) -> int:
        usd = otherwise if usd_per_million is None else usd_per_million
        return ucr_per_million(usd, tokens=UNITS_PER_PRICE, credits_per_usd=credits_per_usd)

    input_usd = override.input_usd_per_million
    tier = Tier(
        above_tokens=0,
        input_ucr=ucr(input_usd, input_usd),
        cached_ucr=ucr(override.cached_usd_per_million, input_usd),
        cache_write_ucr=ucr(override.cache_write_usd_per_million, input_usd),
        output_ucr=ucr(override.output_usd_per_million, input_usd),
    )
    return ModelPrice(
        provider=override.provider,
        model=override.model,
        prices=Prices((tier,)),
        context_tokens=override.context_tokens,
        output_tokens_max=override.output_tokens_max,
        reasoning=override.reasoning,
        vision=override.vision,
    )
