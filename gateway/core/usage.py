"""What a call used, in units that have a price: the same shape whatever dialect reported it."""

from typing import Final

import msgspec

TOKENS_MAX = 2**27 - 1
"""Of a prompt or of an output: ten times what any call can have. A provider that reports more is lying, and the meter
keeps its own estimate; so no charge can pass what an amount may be."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one call. `cached` and `cache_write` are parts of `prompt`, `cache_write_1h` is a part of
    `cache_write`, `reasoning` is a part of `output`."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    """True where the provider did not report and our own count stands in."""
    cache_write_1h_tokens: int = 0
    """Written for an hour, which some bill apart."""
    search_units: int | None = None
    """As a search was billed; None where the provider does not count in them."""


NOTHING_USED: Final = Usage()
