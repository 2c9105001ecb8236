"""Money: integer microcredits, and the decimal credits people read and write."""

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
    # The bound comes before any arithmetic: 1E+999999 would otherwise become an integer of a million digits.
    if credits.adjusted() > 9 or credits < 0 or credits * UCR_PER_CREDIT > UCR_MAX:
        raise AmountInvalid(f"must be between 0 and {credits_text(UCR_MAX)} credits")
    if credits.adjusted() < -6 and credits != 0:
        raise AmountInvalid("must have at most 6 decimal places")
    scaled = credits * UCR_PER_CREDIT
    if scaled != scaled.to_integral_value():
        raise AmountInvalid("must have at most 6 decimal places")
    return int(scaled)


def credits_text(ucr: int) -> str:
    """µcr (either sign) → decimal credits with exactly six places, e.g. `-0.000001`."""
    whole, fraction = divmod(abs(ucr), UCR_PER_CREDIT)
    return f"{'-' if ucr < 0 else ''}{whole}.{fraction:06d}"
