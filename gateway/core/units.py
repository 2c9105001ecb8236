"""Money: integer microcredits, and the decimal credits people read and write."""

import re
from decimal import Decimal
from typing import Final

UCR_PER_CREDIT: Final = 1_000_000
UCR_MAX: Final = 2**53 - 1
"""The largest amount anywhere, so that every JSON reader holds it exactly (also the domain `ucr` in Postgres)."""
UNITS_PER_PRICE: Final = 1_000_000
"""Prices are µcr per this many units (tokens)."""


class AmountInvalid(ValueError):
    """The amount is not a finite decimal number of credits with at most 6 places inside the allowed range."""


def ucr_from_credits(credits: Decimal) -> int:
    """Credits → µcr, exactly. Negative amounts and more than 6 decimal places raise AmountInvalid."""
    if not credits.is_finite():
        raise AmountInvalid("must be a finite number of credits")
    if not credits:
        return 0
    # The bounds come before any arithmetic: 1E+999999 and 1E-999999 would become integers of a million digits.
    if credits < 0 or credits.adjusted() > 9:
        raise AmountInvalid(_OUT_OF_RANGE)
    if credits.adjusted() < -6:
        raise AmountInvalid(_TOO_FINE)
    # Integers throughout: Decimal's own arithmetic rounds to 28 digits without a word.
    numerator, denominator = credits.as_integer_ratio()
    ucr, rest = divmod(numerator * UCR_PER_CREDIT, denominator)
    if rest:
        raise AmountInvalid(_TOO_FINE)
    if ucr > UCR_MAX:
        raise AmountInvalid(_OUT_OF_RANGE)
    return ucr


def ucr_from_text(text: str) -> int:
    """Decimal credits as people and JSON write them (`12`, `0.5`, `1e3`) → µcr. Raises AmountInvalid."""
    if _DECIMAL.fullmatch(text) is None:
        raise AmountInvalid("must be a finite decimal number of credits")
    return ucr_from_credits(Decimal(text))


def credits_text(ucr: int) -> str:
    """µcr (either sign) → decimal credits with exactly six places, e.g. `-0.000001`."""
    if ucr < 0:
        return f"-{credits_text(-ucr)}"
    return f"{ucr // UCR_PER_CREDIT}.{ucr % UCR_PER_CREDIT:06d}"


_OUT_OF_RANGE: Final = f"must be between 0 and {credits_text(UCR_MAX)} credits"
_TOO_FINE: Final = "must have at most 6 decimal places"
_DECIMAL: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?")
