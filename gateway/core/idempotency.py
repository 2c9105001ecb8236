"""A change that its asker named, so that asking again does not make it again."""

import msgspec


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key, and a hash of what it asks for: the same key with another hash is a mistake."""

    key: str
    request_hash: bytes
