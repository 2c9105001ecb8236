"""The map inside litellm becomes exact integer prices; what we cannot price is left out, never guessed."""

import json
import re
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing import PRICE_UCR_MAX, Prices, Tier
from gateway.pricing.price_map import (
    ModelPrice,
    PriceInvalid,
    PriceMapMissing,
    find_price_map,
    read_price_map,
    ucr_per_million,
)

THOUSAND = Decimal(1_000)
PLAIN: dict[str, Any] = {
    "litellm_provider": "openai",
    "mode": "chat",
    "input_cost_per_token": "0.0000025",
    "output_cost_per_token": "1E-5",
}


def read(tmp_path: Path, **entries: dict[str, Any]) -> dict[str, ModelPrice]:
    """Numbers are given as text, so that the file holds their very digits."""
    path = tmp_path / "map.json"
    path.write_text(re.sub(r'"(\d[\d.E+-]*)"', r"\1", json.dumps(entries)))
    return read_price_map(credits_per_usd=THOUSAND, path=path)


# --- the real map ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> dict[str, ModelPrice]:
    return read_price_map(credits_per_usd=THOUSAND)


def test_what_anthropic_caches_for_an_hour_is_dearer(real: dict[str, ModelPrice]) -> None:
    (tier,) = real["claude-haiku-4-5"].prices.tiers
    assert (tier.input_ucr, tier.cached_ucr) == (1_000_000_000, 100_000_000)
    assert (tier.cache_write_ucr, tier.cache_write_1h_ucr) == (1_250_000_000, 2_000_000_000)


def test_gpt_4o_costs_what_its_price_list_says(real: dict[str, ModelPrice]) -> None:
    price = real["gpt-4o"]
    assert price.prices == Prices(
        (
            Tier(
                above_tokens=0,
                input_ucr=2_500_000_000,
                cached_ucr=1_250_000_000,
                cache_write_ucr=2_500_000_000,
                output_ucr=10_000_000_000,
            ),
        )
    )
    assert (price.provider, price.mode, price.context_tokens, price.output_tokens_max) == (
        "openai", "chat", 128_000, 16_384
    )  # fmt: skip
    assert price.vision
    assert not price.reasoning


def test_models_that_the_map_has_under_another_name_of_their_provider_are_the_providers(
    real: dict[str, ModelPrice],
) -> None:
    names = {
        "command-a-03-2025": ("cohere", "command-a-03-2025"),
        "azure/gpt-35-turbo-instruct": ("azure", "gpt-35-turbo-instruct"),
        "gemini-2.5-flash": ("vertex_ai", "gemini-2.5-flash"),
        "us.writer.palmyra-x5-v1:0": ("bedrock", "us.writer.palmyra-x5-v1:0"),
    }
    assert {name: (real[name].provider, real[name].model) for name in names} == names
    assert real["vertex_ai/claude-haiku-4-5"].provider == "vertex_ai-anthropic_models"


def test_length_tiers_are_found(real: dict[str, ModelPrice]) -> None:
    tiers = real["gemini/gemini-2.5-pro"].prices.tiers
    assert [(tier.above_tokens, tier.input_ucr, tier.cached_ucr, tier.output_ucr) for tier in tiers] == [
        (0, 1_250_000_000, 125_000_000, 10_000_000_000),
        (200_000, 2_500_000_000, 250_000_000, 15_000_000_000),
    ]


def test_a_model_that_thinks_unseen_says_so(real: dict[str, ModelPrice]) -> None:
    assert real["o3"].reasoning
    assert real["gpt-5"].reasoning


def test_every_price_of_the_map_is_its_decimal_rounded_up(real: dict[str, ModelPrice]) -> None:
    entries = json.loads(find_price_map().read_text(), parse_float=Fraction, parse_int=Fraction)
    compared = 0
    for name, price in real.items():
        entry = entries[name]
        if "tiered_pricing" in entry or "output_cost_per_reasoning_token" in entry:
            continue
        tier = price.prices.tiers[0]
        says_nothing = price.mode in {"embedding", "moderation", "rerank"}
        input_usd = entry.get("input_cost_per_token", 0) if says_nothing else entry["input_cost_per_token"]
        assert tier.input_ucr == ceil(input_usd * 1000 * 10**12)
        assert tier.output_ucr == (0 if says_nothing else ceil(entry["output_cost_per_token"] * 1000 * 10**12))
        cached = entry.get("cache_read_input_token_cost", input_usd)
        assert tier.cached_ucr == ceil(cached * 1000 * 10**12)
        compared += 1
    assert compared > 1_000


def test_every_text_model_with_both_prices_is_in(real: dict[str, ModelPrice]) -> None:
    entries = json.loads(find_price_map().read_text())
    priced = {
        name
        for name, entry in entries.items()
        if entry.get("mode") in {"chat", "responses", "completion"}
        and isinstance(entry.get("input_cost_per_token"), int | float)
        and isinstance(entry.get("output_cost_per_token"), int | float)
    }
    too_dear = {name for name in priced if entries[name]["output_cost_per_token"] * 1000 * 10**12 > PRICE_UCR_MAX}
    assert priced - too_dear <= real.keys()


def test_a_search_is_priced_by_the_unit_and_a_rounded_up_one(real: dict[str, ModelPrice]) -> None:
    rerank = real["rerank-v3.5"]
    assert (rerank.mode, rerank.prices.message_ucr, rerank.prices.tiers[0].input_ucr) == ("rerank", 2_000_000, 0)
    assert real["voyage/rerank-2.5"].prices == Prices((Tier(0, 50_000_000, 50_000_000, 50_000_000, 0),))
    thousandth = read_price_map(credits_per_usd=Decimal("0.0001234567"))["rerank-v3.5"]
    assert thousandth.prices.message_ucr == 1


def test_models_that_say_nothing_need_no_price_of_output(real: dict[str, ModelPrice]) -> None:
    embed = real["mistral/mistral-embed"]
    assert (embed.mode, embed.prices.tiers[0].input_ucr, embed.prices.tiers[0].output_ucr) == ("embedding", 10**8, 0)
    assert real["omni-moderation-latest"].prices.tiers[0].input_ucr == 0


def test_what_is_billed_by_another_measure_alone_is_not_free(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    entry = {"mode": "embedding", "litellm_provider": "x", "input_cost_per_token": 0}
    map = {"free": entry, "by-image": {**entry, "input_cost_per_image": 0.0001}}
    map["by-character"] = {**entry, "input_cost_per_character": 2e-7}
    file.write_text(json.dumps(map))
    assert set(read_price_map(credits_per_usd=Decimal(1000), path=file)) == {"free"}


def test_openais_text_completions_are_openais(real: dict[str, ModelPrice]) -> None:
    found = real["gpt-3.5-turbo-instruct"]
    assert (found.provider, found.model, found.mode) == ("openai", "gpt-3.5-turbo-instruct", "completion")


def test_the_map_is_read_without_importing_litellm() -> None:
    program = (
        "import sys; from decimal import Decimal; from gateway.pricing.book import PriceBook;"
        "assert PriceBook.load(credits_per_usd=Decimal(1000)).find('openai', 'gpt-4o');"
        "assert 'litellm' not in sys.modules, 'litellm was imported'"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_missing_map_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.pricing.price_map.MAP_FILE", "no_such_map.json")
    with pytest.raises(PriceMapMissing, match="is litellm installed"):
        find_price_map()


# --- entries of our own ---------------------------------------------------------------------------------------------


def test_zero_is_a_price_and_a_missing_one_is_none(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        free=PLAIN | {"input_cost_per_token": "0", "output_cost_per_token": "0.0"},
        half={key: value for key, value in PLAIN.items() if key != "output_cost_per_token"},
        null=PLAIN | {"input_cost_per_token": None},
        words=PLAIN | {"input_cost_per_token": "two"},
        minus=PLAIN | {"input_cost_per_token": -1},
        true=PLAIN | {"input_cost_per_token": True},
        picture=PLAIN | {"mode": "image_generation"},
        stray=PLAIN | {"mode": ["chat"]},
        nobody=PLAIN | {"litellm_provider": None},
        dear=PLAIN | {"output_cost_per_token": "9"},
        odd_tiers=PLAIN | {"tiered_pricing": [{"range": 5}]},
        late_tiers=PLAIN
        | {"tiered_pricing": [{"range": [5, 9], "input_cost_per_token": 1, "output_cost_per_token": 1}]},
    )
    assert found.keys() == {"free"}
    assert found["free"].prices.tiers == (Tier(0, 0, 0, 0, 0),)


def test_what_is_not_priced_apart_is_plain_input(tmp_path: Path) -> None:
    (tier,) = read(tmp_path, m=PLAIN)["m"].prices.tiers
    assert (tier.cached_ucr, tier.cache_write_ucr) == (tier.input_ucr, tier.input_ucr)


def test_a_tier_takes_what_it_lacks_from_the_one_below_or_from_its_own_input(tmp_path: Path) -> None:
    entry = PLAIN | {
        "cache_read_input_token_cost": "1E-7",
        "input_cost_per_token_above_200k_tokens": "5E-6",
        "output_cost_per_token_above_272k_tokens": "9E-6",
        "input_cost_per_token_above_272k_tokens": "6E-6",
    }
    tiers = read(tmp_path, m=entry)["m"].prices.tiers
    assert [tier.above_tokens for tier in tiers] == [0, 200_000, 272_000]
    assert [tier.input_ucr for tier in tiers] == [2_500_000_000, 5_000_000_000, 6_000_000_000]
    assert [tier.cached_ucr for tier in tiers] == [100_000_000, 5_000_000_000, 6_000_000_000]
    assert [tier.output_ucr for tier in tiers] == [10_000_000_000, 10_000_000_000, 9_000_000_000]


def test_listed_tiers_begin_where_their_range_does(tmp_path: Path) -> None:
    short = {"range": ["0", "32000.0"], "input_cost_per_token": "3E-7", "output_cost_per_token": "1E-6"}
    long = {"range": ["32000.0", "1E+6"], "input_cost_per_token": "5E-7", "output_cost_per_token": "2E-6"}
    entry = {
        "litellm_provider": "dashscope",
        "mode": "chat",
        "tiered_pricing": [short, long | {"cache_read_input_token_cost": "1E-7"}],
    }
    tiers = read(tmp_path, m=entry)["m"].prices.tiers
    assert [(tier.above_tokens, tier.input_ucr, tier.cached_ucr, tier.output_ucr) for tier in tiers] == [
        (0, 300_000_000, 300_000_000, 1_000_000_000),
        (32_000, 500_000_000, 100_000_000, 2_000_000_000),
    ]


def test_reasoning_at_another_price_makes_all_output_the_dearer_one(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        dearer=PLAIN | {"output_cost_per_reasoning_token": "4E-5"},
        cheaper=PLAIN | {"output_cost_per_reasoning_token": "1E-6"},
    )
    assert found["dearer"].prices.tiers[0].output_ucr == 40_000_000_000
    assert found["cheaper"].prices.tiers[0].output_ucr == 10_000_000_000


def test_service_tiers_have_prices_of_their_own(tmp_path: Path) -> None:
    entry = PLAIN | {
        "input_cost_per_token_priority": "5E-6",
        "output_cost_per_token_priority": "2E-5",
        "input_cost_per_token_above_272k_tokens_priority": "9E-6",
        "input_cost_per_token_flex": "1E-6",
    }
    price = read(tmp_path, m=entry)["m"]
    assert len(price.prices.tiers) == 1
    assert [tier.input_ucr for tier in price.prices_at("priority").tiers] == [5_000_000_000, 9_000_000_000]
    assert price.prices_at("flex") == price.prices_at("default") == price.prices_at(None) == price.prices


def test_the_dearest_service_tier_is_priced(real: dict[str, ModelPrice]) -> None:
    price = real["gpt-6-astra"]
    assert price.prices_at("ultrafast").tiers[0].output_ucr == 6 * price.prices.tiers[0].output_ucr


def test_odd_limits_are_unknown_limits(tmp_path: Path) -> None:
    price = read(tmp_path, m=PLAIN | {"max_input_tokens": "many", "max_output_tokens": 0, "max_tokens": 4096})["m"]
    assert (price.context_tokens, price.output_tokens_max) == (None, None)


@given(st.decimals(0, 1, places=18).map(lambda usd: usd / 1000), st.decimals(Decimal("0.0001"), 10_000, places=4))
def test_a_price_is_exact_and_rounded_up(usd: Decimal, credits_per_usd: Decimal) -> None:
    exact = Fraction(usd) * Fraction(credits_per_usd) * 10**12
    if ceil(exact) > PRICE_UCR_MAX:
        with pytest.raises(PriceInvalid):
            ucr_per_million(usd, credits_per_usd=credits_per_usd)
    else:
        assert ucr_per_million(usd, credits_per_usd=credits_per_usd) == ceil(exact)


@pytest.mark.parametrize("usd", ["-0.1", "NaN", "Infinity", "1"])
def test_what_is_no_price_is_refused(usd: str) -> None:
    with pytest.raises(PriceInvalid):
        ucr_per_million(Decimal(usd), credits_per_usd=THOUSAND)
