"""The table of providers: each record makes an upstream that can be called, and says where it has its facts from."""

from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

import pytest

from gateway.pricing.book import PriceBook
from gateway.relay.catalogue import Served, build_catalogue
from gateway.upstream.providers import CANCELLATION, PROVIDERS, Provider
from gateway.upstream.registry import Upstream

PRICES_ARE_YOURS: Final = {"replay", "hosted_vllm", "llama_cpp", "huggingface", "openrouter"}
"""Providers that the price map has no models of."""
LOCAL: Final = {"replay", "ollama", "hosted_vllm", "llama_cpp"}


def upstream_of(name: str) -> Upstream:
    provider = PROVIDERS[name]
    return Upstream(
        name=name,
        provider=name,
        base_url=provider.base_url or provider.base_url_hint.replace("{", "").replace("}", ""),
        api_key="sk-one",
        dialects=frozenset(provider.dialects),
        auth_header=provider.auth_header,
        elsewhere=provider.elsewhere,
        include_usage=provider.include_usage,
        on_disconnect=provider.on_disconnect,
        output_limit_field=provider.output_limit_field,
        extended_chat=provider.extended_chat,
        counts_every_answer=provider.counts_every_answer,
        hidden_context=provider.hidden_context,
    )


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load(credits_per_usd=Decimal(1_000))


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_makes_a_valid_upstream(name: str) -> None:
    upstream = upstream_of(name)
    for dialect in upstream.dialects:
        address = urlsplit(upstream.surface(dialect).base_url)
        assert address.scheme == ("http" if name in LOCAL else "https")
        assert not address.path.endswith("/")


@pytest.mark.parametrize(("name", "provider"), PROVIDERS.items())
def test_a_provider_has_an_address_or_says_what_it_looks_like(name: str, provider: Provider) -> None:
    assert bool(provider.base_url) != bool(provider.base_url_hint)
    assert "{" not in provider.base_url
    assert ("{" in provider.base_url_hint) == (not provider.base_url and name != "replay")


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_nothing_is_elsewhere_that_is_not_spoken_or_where_no_address_is_known(provider: Provider) -> None:
    assert set(provider.elsewhere) < set(provider.dialects)
    assert provider.base_url or not provider.elsewhere
    assert len(set(provider.dialects)) == len(provider.dialects)


@pytest.mark.parametrize(("name", "provider"), PROVIDERS.items())
def test_whoever_is_cancelled_is_listed_as_stopping_the_bill_or_sends_none(name: str, provider: Provider) -> None:
    assert provider.sources
    if provider.on_disconnect == "cancel":
        assert CANCELLATION in provider.sources or name in LOCAL


@pytest.mark.parametrize("name", PROVIDERS)
def test_without_models_an_upstream_serves_what_the_price_map_has_of_its_provider(name: str, book: PriceBook) -> None:
    upstream = upstream_of(name)
    catalogue = build_catalogue([Served(upstream)], [], book)
    assert (len(catalogue) == 0) == (name in PRICES_ARE_YOURS)
    for entry in catalogue.models():
        [target] = entry.targets
        assert target.upstream is upstream
        assert book.find(name, target.model) is not None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("azure", "gpt-4o"),
        ("bedrock", "anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("cohere", "command-a-03-2025"),
        ("deepseek", "deepseek-chat"),
        ("fireworks_ai", "accounts/fireworks/models/deepseek-r1"),
        ("gemini", "gemini-2.5-pro"),
        ("openai", "gpt-4o"),
        ("together_ai", "deepseek-ai/DeepSeek-V3"),
        ("vertex_ai", "gemini-2.5-flash"),
        ("voyage", "voyage-3.5"),
        ("xai", "grok-4.3"),
    ],
)
def test_a_models_price_is_found_by_the_providers_own_name_for_it(provider: str, model: str, book: PriceBook) -> None:
    price = book.find(provider, model)
    assert price is not None
    assert model in {each.model for each in book.models(provider)}
