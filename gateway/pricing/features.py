"""What named features cost: read from a TOML file as strictly as the settings, in whole microcredits."""

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from gateway.core.strict_toml import SettingsError, StrictToml
from gateway.core.units import AmountInvalid, ucr_from_credits

_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


class FeatureCost(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    price_ucr: int
    """For one; never zero."""
    per: str = "use"
    """What one is, in a word for people."""


DEFAULT_FEATURES: Final[Mapping[str, FeatureCost]] = {
    feature.id: feature
    for feature in (
        FeatureCost(id="simple_ai_insight", name="Simple AI Insight", price_ucr=9_000_000),
        FeatureCost(id="advanced_ai_analysis", name="Advanced AI Analysis", price_ucr=25_000_000),
        FeatureCost(id="ai_generated_report", name="AI-Generated Report", price_ucr=40_000_000),
        FeatureCost(id="real_time_ai_dashboard", name="Real-time AI Dashboard", price_ucr=3_000_000, per="refresh"),
    )
}
"""What holds without a file: the same as the shipped one says."""


class _Feature(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    credits: Decimal
    per: str = "use"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    features: tuple[_Feature, ...] = ()


def read_features(path: Path) -> dict[str, FeatureCost]:
    """By id. Raises SettingsError with file, line and key for anything unknown, malformed or given twice."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    source = StrictToml(text, _File, name=str(path))
    found: dict[str, FeatureCost] = {}
    for index, feature in enumerate(source.value.features):
        where = ("features", index)
        if _ID.fullmatch(feature.id) is None:
            source.refuse((*where, "id"), "must be small letters, digits and _, beginning with a letter, at most 64")
        if feature.id in found:
            source.refuse((*where, "id"), f"{feature.id} is the id of another feature")
        try:
            price_ucr = ucr_from_credits(feature.credits)
        except AmountInvalid as error:
            source.refuse((*where, "credits"), str(error))
        if price_ucr == 0:
            source.refuse((*where, "credits"), "must be more than 0")
        found[feature.id] = FeatureCost(id=feature.id, name=feature.name, price_ucr=price_ucr, per=feature.per)
    return found
