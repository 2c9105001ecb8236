"""Named sets of prices: the file that is shipped says what the gateway knows, and another is read as strictly."""

from pathlib import Path

import pytest

from gateway.core.strict_toml import SettingsError
from gateway.pricing.sets import DEFAULT_PRICE_SETS, read_price_sets
from gateway.settings import load_settings

SHIPPED = Path(__file__).parents[2] / "config" / "price_sets.toml"


def test_the_shipped_file_is_the_default() -> None:
    assert read_price_sets(SHIPPED.read_text("utf-8"), name="price_sets.toml") == DEFAULT_PRICE_SETS


def test_a_file_of_ones_own_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "tollgate.toml").write_text('price_sets_file = "mine.toml"')
    (tmp_path / "mine.toml").write_text(
        '[[sets]]\nname = "mine"\n'
        'prices = [{ provider = "p", model = "m", per_request = "0.5", output_per_million = 3 }]'
    )
    (mine,) = load_settings(tmp_path / "tollgate.toml", {}).price_sets
    (price,) = mine.prices
    assert (mine.name, price.provider, price.model, price.is_default) == ("mine", "p", "m", False)
    assert price.tariff.prices.request_ucr == 500_000
    assert price.tariff.prices.tiers[0].output_ucr == 3_000_000


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{ provider = "p", model = "m", per_message = -1 }', "per_message: must be a finite number and not negative"),
        ('{ provider = "p", model = "m", per_message = "0.0000001" }', "6 decimal places"),
        ('{ provider = "p", model = "m", per_message = 100001 }', "per_message: must be at most"),
        ('{ provider = "p", model = "m", price = 1 }', "price: unknown key"),
        ('{ provider = "p/q", model = "m", per_message = 1 }', "provider"),
        ('{ provider = "p", model = "m" }', "a price must be said"),
        (", ".join(['{ provider = "p", model = "m", per_message = 0 }'] * 2), "priced twice"),
        ('{ provider = "p", model = "m", input_per_million = 9000000000 }', "a price must be between"),
    ],
)
def test_what_is_no_price_is_refused_with_its_line(line: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as refused:
        read_price_sets(f'[[sets]]\nname = "s"\nprices = [{line}]', name="sets.toml")
    assert str(refused.value).startswith("sets.toml:")


def test_a_set_has_one_name() -> None:
    with pytest.raises(SettingsError, match="another set"):
        read_price_sets('[[sets]]\nname = "s"\nprices = []\n' * 2, name="sets.toml")
