"""Who changes something, from where and why: what the audit log keeps beside the change itself."""

from typing import Final
from uuid import UUID

import msgspec

from gateway.core.errors import InvalidRequest

TEXT_CHARS_MAX: Final = 1_000
ADDRESS_CHARS_MAX: Final = 200


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """One person or program at work."""

    actor: str
    """`operator`, `cli:<user>`, `key:<id>`, …; never a secret."""
    address: str = ""
    request_id: UUID | None = None
    reason: str = ""
    """Why, in the actor's words."""

    def row(self) -> tuple[str, str, UUID | None, str]:
        """In the order of the type `origin`. Raises InvalidRequest where the audit log could not take it."""
        for param, text, chars_max in (
            ("actor", self.actor, TEXT_CHARS_MAX),
            ("address", self.address, ADDRESS_CHARS_MAX),
            ("reason", self.reason, TEXT_CHARS_MAX),
        ):
            if len(text) > chars_max or "\x00" in text:
                raise InvalidRequest(f"{param} must have at most {chars_max} characters and no NUL.", param=param)
        assert self.actor
        return self.actor, self.address, self.request_id, self.reason


ITSELF: Final = Origin(actor="tollgate")
"""What the gateway does by itself."""
