"""Named sets of prices, which an operator may take over as a whole: read from a TOML file, off until asked for."""

from decimal import Decimal
from typing import Annotated, Final

import msgspec

from gateway.core.pricing import FIXED_UCR_MAX, Prices, Tariff, Tier
from gateway.core.strict_toml import StrictToml
from gateway.core.units import AmountInvalid, ucr_from_credits, ucr_from_text

_Credits = str | int
"""A decimal in a string, exact, or a whole number."""
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,256}\Z")]
FREE_TOKENS: Final = Tier(0, 0, 0, 0, 0)


class SetPrice(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    is_default: bool
    tariff: Tariff


class PriceSet(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    prices: tuple[SetPrice, ...]


class PriceTable(msgspec.Struct, frozen=True, kw_only=True):
    provider: Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f/]{1,64}\Z")]
    model: _Name
    default: bool = False
    per_message: _Credits | None = None
    per_request: _Credits | None = None
    input_per_million: _Credits | None = None
    output_per_million: _Credits | None = None


class SetTable(msgspec.Struct, frozen=True, kw_only=True):
    name: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,63}\Z")]
    prices: tuple[PriceTable, ...]


class SetsFile(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of a file of price sets."""

    sets: tuple[SetTable, ...] = ()


def read_price_sets(text: str, *, name: str) -> tuple[PriceSet, ...]:
    """The sets of a TOML text, in its order. Raises SettingsError with the file's name, the line and the key."""
    source = StrictToml(text, SetsFile, name=name)
    sets: dict[str, PriceSet] = {}
    for index, table in enumerate(source.value.sets):
        if table.name in sets:
            source.refuse(("sets", index, "name"), f"{table.name} is the name of another set")
        prices: dict[tuple[str, str], SetPrice] = {}
        for place, price in enumerate(table.prices):
            if (price.provider, price.model) in prices:
                source.refuse(("sets", index, "prices", place, "model"), "is priced twice")
            prices[price.provider, price.model] = _price(source, index, place, price)
        sets[table.name] = PriceSet(name=table.name, prices=tuple(prices.values()))
    return tuple(sets.values())


def _price(source: StrictToml[SetsFile], index: int, place: int, table: PriceTable) -> SetPrice:
    def ucr(key: str, most_ucr: int) -> int:
        credits: _Credits = getattr(table, key) or 0
        where = ("sets", index, "prices", place, key)
        try:
            found = ucr_from_text(credits) if isinstance(credits, str) else ucr_from_credits(Decimal(credits))
        except AmountInvalid as error:
            source.refuse(where, str(error))
        if found > most_ucr:
            source.refuse(where, f"must be at most {most_ucr} µcr")
        return found

    kinds = (table.per_message, table.per_request, table.input_per_million, table.output_per_million)
    if all(credits is None for credits in kinds):
        source.refuse(("sets", index, "prices", place), "a price must be said; 0 is one")
    try:
        input_ucr, output_ucr = ucr("input_per_million", 2**53), ucr("output_per_million", 2**53)
        prices = Prices(
            (Tier(0, input_ucr, input_ucr, input_ucr, output_ucr),),
            message_ucr=ucr("per_message", FIXED_UCR_MAX),
            request_ucr=ucr("per_request", FIXED_UCR_MAX),
        )
    except ValueError as error:
        source.refuse(("sets", index, "prices", place), str(error))
    return SetPrice(provider=table.provider, model=table.model, is_default=table.default, tariff=Tariff(prices))


def per_message(provider: str, model: str, credits: int, *, default: bool = False) -> SetPrice:
    """So many credits for each message, and nothing for its tokens."""
    prices = Prices((FREE_TOKENS,), message_ucr=ucr_from_credits(Decimal(credits)))
    return SetPrice(provider=provider, model=model, is_default=default, tariff=Tariff(prices))


DEFAULT_PRICE_SETS: Final = (
    PriceSet(
        name="chatsparty",
        prices=(
            per_message("openai", "gpt-4", 30),
            per_message("openai", "gpt-4-turbo", 10, default=True),
            per_message("openai", "gpt-3.5-turbo", 1),
            per_message("anthropic", "claude-3-opus", 60),
            per_message("anthropic", "claude-3-sonnet", 15, default=True),
            per_message("anthropic", "claude-3-haiku", 1),
            per_message("google", "gemini-pro", 5, default=True),
            per_message("google", "gemini-pro-vision", 10),
            per_message("groq", "mixtral-8x7b", 1, default=True),
            per_message("groq", "llama-2-70b", 1),
            per_message("ollama", "*", 1),
        ),
    ),
)
"""What config/price_sets.toml says: the prices of the service that documents per-message credits."""
