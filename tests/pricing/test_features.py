"""Feature costs are read exactly and strictly; the shipped ones are those of the product."""

from pathlib import Path

import pytest

from gateway.core.strict_toml import SettingsError
from gateway.pricing.features import DEFAULT_FEATURES, read_features

SHIPPED = Path(__file__).parents[2] / "config" / "features.toml"


def test_the_shipped_features_cost_what_the_product_says() -> None:
    assert read_features(SHIPPED) == DEFAULT_FEATURES
    assert {id: (feature.price_ucr, feature.per) for id, feature in read_features(SHIPPED).items()} == {
        "simple_ai_insight": (9_000_000, "use"),
        "advanced_ai_analysis": (25_000_000, "use"),
        "ai_generated_report": (40_000_000, "use"),
        "real_time_ai_dashboard": (3_000_000, "refresh"),
    }


def test_credits_are_exact_to_the_sixth_place(tmp_path: Path) -> None:
    file = tmp_path / "features.toml"
    file.write_text('[[features]]\nid = "a"\nname = "A"\ncredits = 0.000001\n')
    assert read_features(file)["a"].price_ucr == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('id = "a"\nname = "A"\ncredits = 1\ncolour = "red"', r"features.toml:5: .*unknown key"),
        ('id = "A b"\nname = "A"\ncredits = 1', r"features.toml:2: .*small letters"),
        ('id = "a"\nname = "A"\ncredits = 0', r"features.toml:4: .*more than 0"),
        ('id = "a"\nname = "A"\ncredits = 0.0000001', r"features.toml:4: .*decimal places"),
        ('id = "a"\nname = "A"\ncredits = -1', r"features.toml:4"),
        ('id = "a"\nname = "A"\ncredits = "much"', r"features.toml:4"),
        ('id = "a"\nname = "A"', r"credits"),
        (
            'id = "a"\nname = "A"\ncredits = 1\n[[features]]\nid = "a"\nname = "B"\ncredits = 2',
            r":6: .*another",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line(line: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "features.toml"
    file.write_text(f"[[features]]\n{line}\n")
    with pytest.raises(SettingsError, match=why):
        read_features(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        read_features(tmp_path / "nowhere.toml")
