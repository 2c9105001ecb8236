"""A change that its asker named, so that asking again does not make it again."""

import msgspec


class Idempotency(msgspec.Struct, frozen=True):
    """The caller's key, and a hash of what it asks for: the same key with another hash is a mistake."""

    key: str
    request_hash: bytes
    operation: str | None = None
    """What is done has a name of its own besides, whatever the request is called: it is not done twice either."""

    @property
    def field(self) -> str:
        """Where the caller wrote the name: no key has a blank, and what is made of an operation's id has one."""
        return "operation_id" if " " in self.key else "Idempotency-Key"

    @property
    def names(self) -> tuple[str, ...]:
        """Under each of them the change is made once."""
        return (self.key,) if self.operation is None else (self.key, self.operation)
