"""What an operator may choose about reserving and relaying."""

from typing import Literal

import msgspec


class ReserveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    first_slice_tokens: int = 1024
    """Output tokens that a progressive stream holds ahead of what has flowed."""
    clamp: bool = False
    """Lower an output limit that the caller asked for, rather than refuse, when only less fits."""
    by_reference: Literal["window", "refuse"] = "window"
    """Content that is not in the body: hold the model's whole context window for it, or refuse."""
    unpriced: Literal["tokens", "refuse"] = "tokens"
    """What is billed beside text tokens (searches, audio, images, unknown tiers): charge its tokens, or refuse."""
    default_output_limit_tokens: int = 4096
    """Sent and held where neither the caller nor the price map knows the model's maximum."""
    drain_s: float = 60.0
    """How long an answer is read on after its caller left, where the provider bills it in full; 0 never."""
    drop_unsupported: bool = False
    """Of a call that is translated: leave out what the provider's dialect cannot say, rather than refuse."""
    low_balance_credits: int = 10
    """Below this an answer carries `x-tollgate-low-balance: true`."""
