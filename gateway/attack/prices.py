"""What a call must cost, worked out from the prices that the gateway itself publishes at /v1/models."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Self

UCR_PER_CREDIT: Final = 1_000_000


@dataclass(frozen=True)
class Prices:
    """Microcredits a token."""

    prompt: Decimal
    cached: Decimal
    output: Decimal

    @classmethod
    def of(cls, pricing: Mapping[str, str]) -> Self:
        """From a model's `pricing`: credits a token, in decimal strings."""
        prompt, cached, output = (
            Decimal(pricing[name]) * UCR_PER_CREDIT for name in ("prompt", "input_cache_read", "completion")
        )
        return cls(prompt, cached, output)

    @classmethod
    def none(cls) -> Self:
        """Before they are known."""
        return cls(Decimal(), Decimal(), Decimal())

    def ucr(self, *, prompt: int = 0, cached: int = 0, output: int = 0) -> int:
        """`cached` is a part of `prompt`. Rounded once, up."""
        return math.ceil((prompt - cached) * self.prompt + cached * self.cached + output * self.output)

    def of_usage(self, usage: Mapping[str, Any]) -> int:
        """Of a usage object as OpenAI has it."""
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return self.ucr(prompt=usage["prompt_tokens"], cached=cached, output=usage["completion_tokens"])
