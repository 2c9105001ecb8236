"""The one reader of litellm's price map: JSON inside its package, read as data; litellm itself is never imported.

The map is in USD per token and its numbers are decimal literals; they stay exact until they become integers, which
are rounded up.
"""

import importlib.util
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.pricing import PRICE_UCR_MAX, Prices, Tier
from gateway.core.units import UCR_PER_CREDIT, UNITS_PER_PRICE

MAP_FILE: Final = "model_prices_and_context_window_backup.json"
TEXT_MODES: Final = frozenset({"chat", "responses", "completion"})
SERVICE_TIERS: Final = ("priority", "flex")
"""Service tiers with prices of their own that a request may ask for."""

_INPUT: Final = "input_cost_per_token"
_CACHED: Final = "cache_read_input_token_cost"
_CACHE_WRITE: Final = "cache_creation_input_token_cost"
_OUTPUT: Final = "output_cost_per_token"
_REASONING: Final = "output_cost_per_reasoning_token"
_ABOVE: Final = re.compile(rf"{_INPUT}_above_(\d+)k_tokens")

_MAP: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY: Final = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)

Entry = Mapping[str, object]


class PriceMapMissing(Exception):
    """The litellm package, or the price map inside it, is not installed."""


class PriceInvalid(ValueError):
    """No price: negative, not a number, or in credits more than a price may be."""


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs and what bounds it."""

    provider: str
    model: str
    """Its name there."""
    prices: Prices
    service_tiers: Mapping[str, Prices] = {}
    """Prices of the service tiers that have their own."""
    mode: str = "chat"
    context_tokens: int | None = None
    """The longest prompt it takes, where that is known."""
    output_tokens_max: int | None = None
    reasoning: bool = False
    """It may think without showing it: output is billed that nobody sees."""
    vision: bool = False

    def prices_at(self, service_tier: str | None) -> Prices:
        """The prices of the service tier that was asked for or answered."""
        return self.service_tiers.get(service_tier or "", self.prices)


def read_price_map(*, credits_per_usd: Decimal, path: Path | None = None) -> dict[str, ModelPrice]:
    """Every text model that has an input and an output price, by its name in the map."""
    entries = _MAP.decode((path or find_price_map()).read_bytes())
    prices = {}
    for name, raw in entries.items():
        found = _read_entry(name, _ENTRY.decode(raw), credits_per_usd)
        if found is not None:
            prices[name] = found
    return prices


def find_price_map() -> Path:
    """Where the map lies. Raises PriceMapMissing."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None or not (path := Path(spec.origin).with_name(MAP_FILE)).is_file():
        raise PriceMapMissing(f"{MAP_FILE} was not found: is litellm installed?")
    return path


def ucr_per_million(usd_per_token: Decimal, credits_per_usd: Decimal) -> int:
    """USD per token → µcr per 1,000,000 tokens, rounded up. Raises PriceInvalid."""
    if not usd_per_token.is_finite() or usd_per_token < 0:
        raise PriceInvalid("a price must be a number from 0")
    (usd, usd_parts), (credits, credits_parts) = usd_per_token.as_integer_ratio(), credits_per_usd.as_integer_ratio()
    ucr = -(-usd * credits * UCR_PER_CREDIT * UNITS_PER_PRICE // (usd_parts * credits_parts))
    if ucr > PRICE_UCR_MAX:
        raise PriceInvalid(f"{usd_per_token} USD per token is more than {PRICE_UCR_MAX} µcr per million tokens")
    return ucr


def _read_entry(name: str, entry: Entry, credits_per_usd: Decimal) -> ModelPrice | None:
    mode, provider = entry.get("mode"), entry.get("litellm_provider")
    if not isinstance(mode, str) or mode not in TEXT_MODES or not isinstance(provider, str):
        return None
    try:
        prices = _read_prices(entry, "", credits_per_usd)
        by_service = {tier: _read_prices(entry, f"_{tier}", credits_per_usd) for tier in SERVICE_TIERS}
    except PriceInvalid:
        return None
    if prices is None:
        return None
    return ModelPrice(
        provider=provider,
        model=name.removeprefix(f"{provider}/"),
        prices=prices,
        service_tiers={tier: found for tier, found in by_service.items() if found is not None},
        mode=mode,
        context_tokens=_tokens(entry, "max_input_tokens") or _tokens(entry, "max_tokens"),
        output_tokens_max=_tokens(entry, "max_output_tokens"),
        reasoning=entry.get("supports_reasoning") is True,
        vision=entry.get("supports_vision") is True,
    )


def _read_prices(entry: Entry, suffix: str, credits_per_usd: Decimal) -> Prices | None:
    """The tiers of one service; None without an input or an output price. Raises PriceInvalid."""
    tiers: list[Tier] = []
    for above_tokens, fields, ending in _tiers(entry, suffix):
        usd = {name: _usd(fields, f"{name}{ending}") for name in (_INPUT, _CACHED, _CACHE_WRITE, _OUTPUT, _REASONING)}
        ucr = {name: ucr_per_million(price, credits_per_usd) for name, price in usd.items() if price is not None}
        tier = _tier(above_tokens, ucr, tiers[-1] if tiers else None)
        if tier is None:
            return None
        tiers.append(tier)
    return Prices(tuple(tiers))


def _tiers(entry: Entry, suffix: str) -> Iterator[tuple[int, Entry, str]]:
    """Each length tier in order: from how many tokens, and where its prices stand."""
    listed = entry.get("tiered_pricing")
    if isinstance(listed, list) and not suffix:
        yield from sorted(((int(each["range"][0]), each, "") for each in listed), key=itemgetter(0))
        return
    yield 0, entry, suffix
    matches = (_ABOVE.fullmatch(key.removesuffix(suffix)) for key in entry if key.endswith(suffix))
    for thousands in sorted(int(match[1]) for match in matches if match):
        yield thousands * 1_000, entry, f"_above_{thousands}k_tokens{suffix}"


def _tier(above_tokens: int, ucr: Mapping[str, int], below: Tier | None) -> Tier | None:
    """Where a tier has no price for cached or written tokens, they are plain input; input and output are as below."""
    if below is None and not (_INPUT in ucr and _OUTPUT in ucr):
        return None
    input_ucr = ucr[_INPUT] if below is None else ucr.get(_INPUT, below.input_ucr)
    output_ucr = ucr[_OUTPUT] if below is None else ucr.get(_OUTPUT, below.output_ucr)
    return Tier(
        above_tokens=above_tokens,
        input_ucr=input_ucr,
        cached_ucr=ucr.get(_CACHED, input_ucr),
        cache_write_ucr=ucr.get(_CACHE_WRITE, input_ucr),
        # A few models bill reasoning at another price; until it has a line of its own, the dearer one holds.
        output_ucr=max(output_ucr, ucr.get(_REASONING, 0)),
    )


def _usd(fields: Entry, name: str) -> Decimal | None:
    value = fields.get(name)
    return Decimal(value) if isinstance(value, Decimal | int) and not isinstance(value, bool) else None


def _tokens(entry: Entry, name: str) -> int | None:
    value = entry.get(name)
    return int(value) if isinstance(value, Decimal | int) and value > 0 else None
