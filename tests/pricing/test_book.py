"""Which price holds: the operator's, then the provider's own entry, then the plain name if it is that provider's."""

from decimal import Decimal

import msgspec
import pytest

from gateway.core.pricing import Prices, Tier
from gateway.pricing.book import PriceBook, PriceOverride
from gateway.pricing.price_map import PriceInvalid

THOUSAND = Decimal(1_000)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load(credits_per_usd=THOUSAND)


def override(provider: str = "openai", model: str = "gpt-4o", **more: Decimal | int | bool) -> PriceOverride:
    usd = {"input_usd_per_million": Decimal("0.5"), "output_usd_per_million": Decimal(2)}
    return msgspec.convert({"provider": provider, "model": model} | usd | more, PriceOverride)


def test_the_name_with_its_provider_comes_before_the_plain_one(book: PriceBook) -> None:
    found = book.find("groq", "openai/gpt-oss-120b")
    assert found is not None
    assert (found.provider, found.model) == ("groq", "openai/gpt-oss-120b")


def test_a_plain_name_holds_for_its_own_provider_only(book: PriceBook) -> None:
    assert book.find("openai", "gpt-4o") is not None
    assert book.find("groq", "gpt-4o") is None
    assert book.find("openai", "claude-sonnet-4-5") is None
    assert book.find("openai", "no-such-model") is None


def test_models_are_listed_once_under_the_name_they_are_found_by(book: PriceBook) -> None:
    for provider in ("openai", "groq", "mistral"):
        models = book.models(provider)
        names = [price.model for price in models]
        assert len(set(names)) == len(names) > 3
        assert all(book.find(provider, price.model) == price for price in models)


def test_an_override_replaces_the_whole_entry() -> None:
    book = PriceBook.load(
        credits_per_usd=THOUSAND,
        overrides=[override(cached_usd_per_million=Decimal("0.25"), context_tokens=9_000, reasoning=True)],
    )
    found = book.find("openai", "gpt-4o")
    assert found is not None
    assert found.prices == Prices((Tier(0, 500_000_000, 250_000_000, 500_000_000, 2_000_000_000),))
    assert (found.context_tokens, found.output_tokens_max, found.reasoning) == (9_000, None, True)
    assert [price for price in book.models("openai") if price.model == "gpt-4o"] == [found]


def test_an_override_prices_what_the_map_does_not_know() -> None:
    book = PriceBook.load(credits_per_usd=THOUSAND, overrides=[override("local", "llama")])
    assert book.find("local", "llama") is not None
    assert [price.model for price in book.models("local")] == ["llama"]


def test_an_override_is_exact_whatever_its_digits() -> None:
    third = override(input_usd_per_million=Decimal("0.3333333333333333333333333333333333333"))
    found = PriceBook.load(credits_per_usd=THOUSAND, overrides=[third]).find("openai", "gpt-4o")
    assert found is not None
    assert found.prices.tiers[0].input_ucr == 333_333_334


def test_an_override_that_is_no_price_is_refused() -> None:
    with pytest.raises(PriceInvalid):
        PriceBook.load(credits_per_usd=THOUSAND, overrides=[override(output_usd_per_million=Decimal(-1))])
    with pytest.raises(PriceInvalid):
        PriceBook.load(credits_per_usd=THOUSAND, overrides=[override(output_usd_per_million=Decimal(10**9))])
