"""The one reader of litellm's price map: JSON inside its package, read as data; litellm itself is never imported.

The map is in USD per token and its numbers are decimal literals; they stay exact until they become integers, which
are rounded up.
"""

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.modes import ANY_MODE, DIALECTS_OF_MODE
from gateway.core.pricing import PRICE_UCR_MAX, Prices, Tier, VolumeStep
from gateway.core.units import UCR_PER_CREDIT, UNITS_PER_PRICE

FROM_MAP: Final = "price_map"
"""The source of a price that nobody here has said."""
MAP_FILE: Final = "model_prices_and_context_window_backup.json"
_SILENT_MODES: Final = frozenset({"embedding", "moderation", "rerank"})
"""Models that say nothing which is billed: an output has no price and needs none."""
_SAME_PROVIDER: Final = {
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "text-completion-openai": "openai",
    "vertex_ai-embedding-models": "vertex_ai",
    "vertex_ai-language-models": "vertex_ai",
}
"""Providers that the map names apart for some of their models. Partners' models at Vertex stay apart: they are called
in other ways."""
SERVICE_TIERS: Final = ("priority", "flex", "ultrafast", "balanced")
"""Service tiers with prices of their own that a request may ask for; `batches` and `decisions` are other endpoints."""

_INPUT: Final = "input_cost_per_token"
_CACHED: Final = "cache_read_input_token_cost"
_CACHE_WRITE: Final = "cache_creation_input_token_cost"
_CACHE_WRITE_1H: Final = "cache_creation_input_token_cost_above_1hr"
_OUTPUT: Final = "output_cost_per_token"
_QUERY: Final = "input_cost_per_query"
"""Of a search, or of each unit of one."""
_OTHER_MEASURES: Final = tuple(
    f"input_cost_per_{measure}"
    for measure in ("character", "image", "image_token", "audio_token", "audio_per_second", "video_per_second")
)
_REASONING: Final = "output_cost_per_reasoning_token"
_KINDS: Final = (_INPUT, _CACHED, _CACHE_WRITE, _CACHE_WRITE_1H, _OUTPUT, _REASONING)
_ABOVE: Final = re.compile(rf"{_INPUT}_above_(\d+)k_tokens(.*)")
_NO_TIERS: Final[Mapping[str, Prices]] = {}

_MAP: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY: Final = msgspec.json.Decoder(dict[str, object], float_hook=Decimal)

Entry = Mapping[str, object]


class PriceMapMissing(Exception):
    """The litellm package, or the price map inside it, is not installed."""


class PriceInvalid(ValueError):
    """No price: negative, not a number, or in credits more than a price may be."""


class _ListedTier(msgspec.Struct, omit_defaults=True):
    """One of `tiered_pricing`, which some entries have in place of names that end in `_above_…k_tokens`."""

    range: tuple[Decimal, Decimal]
    input_cost_per_token: Decimal | None = None
    cache_read_input_token_cost: Decimal | None = None
    output_cost_per_token: Decimal | None = None
    output_cost_per_reasoning_token: Decimal | None = None


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs and what bounds it."""

    provider: str
    model: str
    """Its name there."""
    prices: Prices
    service_tiers: Mapping[str, Prices] = {}
    """Prices of the service tiers that have their own."""
    volume_steps: tuple[VolumeStep, ...] = ()
    """Prices for whoever has used much of it in the month; only stored prices have them."""
    source: str = FROM_MAP
    """Where the price is from: price_map, configuration, stored or provider_default."""
    mode: str = ANY_MODE
    """What kind of model it is, as the map names kinds."""
    context_tokens: int | None = None
    """The longest prompt it takes, where that is known."""
    output_tokens_max: int | None = None
    reasoning: bool = False
    """It may think without showing it: output is billed that nobody sees."""
    vision: bool = False
    adaptive_thinking: bool = False
    """Asked to think by an effort rather than by a budget of tokens."""

    def prices_at(self, service_tier: str | None) -> Prices:
        """The prices of the service tier that was asked for or answered."""
        return self.service_tiers.get(service_tier or "", self.prices)


def read_price_map(*, credits_per_usd: Decimal, path: Path | None = None) -> dict[str, ModelPrice]:
    """Every model that has a dialect, an input and an output price, by its name in the map. What is not a price as we
    know them leaves its model out: not priced, not served."""
    entries = _MAP.decode((path or find_price_map()).read_bytes())
    ucr = cache(partial(ucr_per_million, credits_per_usd=credits_per_usd))  # few prices are unlike all others
    prices = {}
    for name, raw in entries.items():
        try:
            found = _read_entry(name, _ENTRY.decode(raw), ucr)
        except (msgspec.ValidationError, ValueError):
            continue
        if found is not None:
            prices[name] = found
    return prices


def find_price_map() -> Path:
    """Where the map lies. Raises PriceMapMissing."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None or not (path := Path(spec.origin).with_name(MAP_FILE)).is_file():
        raise PriceMapMissing(f"{MAP_FILE} was not found: is litellm installed?")
    return path


def ucr_per_million(usd: Decimal, *, tokens: int = 1, credits_per_usd: Decimal) -> int:
    """USD for so many tokens → µcr for 1,000,000 of them, exact and then rounded up. Raises PriceInvalid."""
    if not usd.is_finite() or usd < 0:
        raise PriceInvalid(f"a price must be a number from 0, not {usd}")
    (amount, parts), (credits, credits_parts) = usd.as_integer_ratio(), credits_per_usd.as_integer_ratio()
    ucr = -(-amount * credits * UCR_PER_CREDIT * UNITS_PER_PRICE // (parts * credits_parts * tokens))
    if ucr > PRICE_UCR_MAX:
        raise PriceInvalid(f"{usd} USD for {tokens} tokens is more than {PRICE_UCR_MAX} µcr for a million")
    return ucr


def _read_entry(name: str, entry: Entry, ucr: Callable[[Decimal], int]) -> ModelPrice | None:
    mode, provider = entry.get("mode"), entry.get("litellm_provider")
    if not isinstance(mode, str) or mode not in DIALECTS_OF_MODE or not isinstance(provider, str):
        return None
    if mode in _SILENT_MODES:
        if (silent := _silent(entry, mode)) is None:
            return None
        entry = silent
    prices = _read_prices(entry, "", ucr)
    if prices is None:
        return None
    if mode == "rerank" and (query_usd := _usd(entry, _QUERY)):
        prices = msgspec.structs.replace(prices, message_ucr=ucr(query_usd / UNITS_PER_PRICE))
    by_service = {
        tier: found
        for tier in SERVICE_TIERS
        if f"{_INPUT}_{tier}" in entry and (found := _read_prices(entry, f"_{tier}", ucr)) is not None
    }
    same = _SAME_PROVIDER.get(provider, provider)
    return ModelPrice(
        provider=same,
        model=name.removeprefix(f"{provider}/" if name.startswith(f"{provider}/") else f"{same}/"),
        prices=prices,
        service_tiers=by_service or _NO_TIERS,
        mode=mode,
        context_tokens=_tokens(
            entry, "max_input_tokens"
        ),  # `max_tokens` may be the output's and would bound too little
        output_tokens_max=_tokens(entry, "max_output_tokens"),
        reasoning=entry.get("supports_reasoning") is True,
        vision=entry.get("supports_vision") is True,
        adaptive_thinking=entry.get("supports_adaptive_thinking") is True,
    )


def _silent(entry: Entry, mode: str) -> Entry | None:
    """A model whose output is nothing, with prices that say so; None: its texts are billed by another measure."""
    per_query = mode == "rerank" and _usd(entry, _QUERY)
    if not _usd(entry, _INPUT) and not per_query and any(_usd(entry, name) for name in _OTHER_MEASURES):
        return None
    silent = {**entry, _OUTPUT: 0}
    return {**silent, _INPUT: 0} if per_query and _usd(entry, _INPUT) is None else silent


def _read_prices(entry: Entry, service: str, ucr: Callable[[Decimal], int]) -> Prices | None:
    """The tiers of one service ("" for the standard one); None without an input or an output price."""
    tiers: list[Tier] = []
    for above_tokens, fields, ending in _tiers(entry, service):
        prices = {kind: ucr(usd) for kind in _KINDS if (usd := _usd(fields, kind + ending)) is not None}
        tier = _tier(above_tokens, prices, tiers[-1] if tiers else None)
        if tier is None:
            return None
        tiers.append(tier)
    return Prices(tuple(tiers))


def _tiers(entry: Entry, service: str) -> Iterator[tuple[int, Entry, str]]:
    """Each length tier in order: from how many tokens, and where its prices stand under which ending."""
    listed = entry.get("tiered_pricing")
    if isinstance(listed, list) and not service:
        for each in msgspec.convert(listed, list[_ListedTier]):
            yield int(each.range[0]), msgspec.to_builtins(each, builtin_types=(Decimal,)), ""
        return
    yield 0, entry, service
    above = [key for key in entry if "_above_" in key]
    for thousands in sorted(int(match[1]) for key in above if (match := _ABOVE.fullmatch(key)) and match[2] == service):
        yield thousands * 1_000, entry, f"_above_{thousands}k_tokens{service}"


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
        cache_write_1h_ucr=ucr.get(_CACHE_WRITE_1H),
    )


def _usd(fields: Entry, name: str) -> Decimal | None:
    value = fields.get(name)
    if type(value) is int:
        return Decimal(value)
    return value if type(value) is Decimal else None


def _tokens(entry: Entry, name: str) -> int | None:
    value = entry.get(name)
    return int(value) if isinstance(value, Decimal | int) and value > 0 else None
