"""How much to hold for a call, as values: the size rules of the ledger (see docs/ledger.md, "Size of a reservation").

1. The worst case fits: hold it whole.
2. A stream whose every billed token is visible may begin with a slice and be topped up as it flows.
3. Where the caller left the output limit open (or policy clamps): hold what fits and send that limit upstream.
4. Otherwise the call is refused, and the refusal says what would fit.
"""

from enum import StrEnum
from typing import Final

import msgspec

from gateway.core.pricing import Prices, affordable_output_tokens, most

LIMITED_TOKENS_MIN: Final = 256
"""Fewer output tokens than this are not worth an answer; the call is refused instead."""


class Mode(StrEnum):
    WHOLE = "whole"
    PROGRESSIVE = "progressive"
    LIMITED = "limited"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What one reachable target could charge for this call."""

    prices: Prices
    prompt_bound: int
    """Tokens the prompt can never exceed."""
    prompt_learned: int
    """Tokens it is very unlikely to exceed; at most prompt_bound."""
    prompt_expected: int
    """Our best guess; charged where the provider never says."""
    want_tokens: int
    """Output tokens for each choice: what the caller asked for, or the most the model gives."""
    prompt_unknown: bool = False
    """Something is read that is not in the body, so its bytes say nothing of it."""

    def prompt_tokens(self, *, by_caller: bool) -> int:
        """What to charge where the provider never says: our best guess, but nobody gets what only the provider knows
        for less by leaving before it is told (`by_caller`)."""
        return self.prompt_bound if by_caller and self.prompt_unknown else self.prompt_expected


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """The most a call can cost, over every target that may serve it."""

    terms: tuple[Terms, ...]
    choices: int
    limit_asked: bool
    """The caller set an output limit himself."""
    limit_must_be_sent: bool
    """No limit was asked and the model's maximum is unknown: the assumed one binds only if it is sent."""
    progressive: bool
    """Streamed, and every billed token is visible as it passes."""

    def prompt_ucr(self) -> int:
        """What the prompt alone is expected to cost, with what the request does, but for no answer."""
        return max([most(t.prices, t.prompt_expected, 0, messages=0) for t in self.terms])

    def with_output_ucr(self, tokens: int) -> int:
        """The most it can cost if each choice ends after `tokens` output tokens."""
        return max(
            most(t.prices, t.prompt_bound, min(tokens, t.want_tokens) * self.choices, messages=self.choices)
            for t in self.terms
        )

    def want_tokens(self) -> int:
        return max(t.want_tokens for t in self.terms)

    def affordable_tokens(self, available_ucr: int) -> int:
        """Output tokens for each choice that this pays for at the dearest target; 0 if not even the prompt."""
        return (
            min(
                affordable_output_tokens(t.prices, t.prompt_bound, available_ucr, messages=self.choices)
                for t in self.terms
            )
            // self.choices
        )


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """One decision: hold this much, in this mode, and bind the upstream to this limit (None: nothing to send)."""

    mode: Mode
    amount_ucr: int
    learned_ucr: int
    send_limit: int | None = None


def first_size(quote: Quote) -> Size:
    """Rule 1: the worst case."""
    worst = learned = 0
    for t in quote.terms:
        output_tokens = t.want_tokens * quote.choices
        worst = max(worst, most(t.prices, t.prompt_bound, output_tokens, messages=quote.choices))
        learned = max(learned, most(t.prices, t.prompt_learned, output_tokens, messages=quote.choices))
    return Size(
        mode=Mode.WHOLE,
        amount_ucr=worst,
        learned_ucr=min(worst, learned),
        send_limit=quote.want_tokens() if quote.limit_must_be_sent else None,
    )


def smaller_size(quote: Quote, *, available_ucr: int, first_slice_tokens: int, clamp: bool) -> Size | None:
    """Rules 2 and 3, after the worst case did not fit. None is rule 4: refuse."""
    if quote.progressive:
        amount = quote.with_output_ucr(first_slice_tokens)
        if amount <= available_ucr:
            send = quote.want_tokens() if quote.limit_must_be_sent else None
            return Size(mode=Mode.PROGRESSIVE, amount_ucr=amount, learned_ucr=amount, send_limit=send)
    if quote.limit_asked and not clamp:
        return None
    tokens = min(quote.affordable_tokens(available_ucr), quote.want_tokens())
    if tokens < LIMITED_TOKENS_MIN:
        return None
    amount = quote.with_output_ucr(tokens)
    return Size(mode=Mode.LIMITED, amount_ucr=amount, learned_ucr=amount, send_limit=tokens)
