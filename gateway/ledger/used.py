"""What outside callers say was used, as a charge keeps it: lines at their prices, and tokens where there are any."""

import json
from decimal import Decimal
from typing import Final, Self

import msgspec

from gateway.core.pricing import Charge
from gateway.core.units import UNITS_PER_PRICE
from gateway.core.usage import Usage

Line = tuple[str, int, int | Decimal]
"""What, how many, and µcr for a million of them: exact, so with decimal places where a mark-up is in it."""


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """`cost_ucr` is the sum of the lines, rounded up once."""

    lines: tuple[Line, ...]
    cost_ucr: int
    model: str = ""
    feature: str = ""
    usage: Usage | None = None
    tags: str | None = None
    """JSON, an array of texts; None: it has none."""

    @classmethod
    def plainly(cls, name: str, *, price_ucr: int, quantity: int = 1, feature: str = "") -> Self:
        """So many of one thing at its price. A plain amount is that many microcredits at one each."""
        cost_ucr = price_ucr * quantity
        lines = ((name, quantity, price_ucr * UNITS_PER_PRICE),) if cost_ucr else ()
        return cls(lines=lines, cost_ucr=cost_ucr, feature=feature)

    @classmethod
    def by_model(cls, model: str, charge: Charge, usage: Usage) -> Self:
        lines = tuple((line.kind, line.units, line.price_ucr) for line in charge.lines)
        return cls(lines=lines, cost_ucr=charge.cost_ucr, model=model, usage=usage)

    def row(self) -> tuple[object, ...]:
        """In the order of `used_item`."""
        usage = self.usage
        tokens = (
            (None, None, None, None)
            if usage is None
            else (usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens)
        )
        numerator = sum(units * price_ucr for _, units, price_ucr in self.lines)
        # Written by hand: a price of the largest amount for a million passes 64 bits, and decimals must stay exact.
        lines = ",".join(f"[{json.dumps(what)},{units},{price_ucr}]" for what, units, price_ucr in self.lines)
        return self.cost_ucr, str(numerator), f"[{lines}]", self.model, self.feature, *tokens, self.tags


NOTHING: Final = Used(lines=(), cost_ucr=0)
