"""UUID version 7 (RFC 9562, section 5.7): one id a call, ordered by time, so that it decides its ledger partition."""

from uuid import UUID


def uuid7_bytes(*, unix_ms: int, entropy: int) -> bytes:
    """48 bits of Unix milliseconds, then 74 bits taken from `entropy` (any non-negative int)."""
    rand_a = (entropy >> 62) & 0xFFF
    rand_b = entropy & ((1 << 62) - 1)
    bits = (unix_ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    return bits.to_bytes(16, "big")


def unix_ms_of(id: UUID) -> int:
    """The millisecond at which a version-7 id was made."""
    return id.int >> 80


def first_id_at(unix_ms: int) -> UUID:
    """The smallest UUID of that millisecond: a bound for partitions and ranges."""
    return UUID(int=unix_ms << 80)
