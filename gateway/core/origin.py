"""Who changes something, from where and why: what the audit log keeps beside the change itself."""

from typing import Final
from uuid import UUID

import msgspec


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """One person or program at work."""

    actor: str
    """`operator`, `cli:<user>`, `key:<id>`, …; never a secret."""
    address: str = ""
    request_id: UUID | None = None
    reason: str = ""
    """Why, in the actor's words."""

    def row(self) -> tuple[str, str, UUID | None, str]:
        """In the order of the type `origin`."""
        return self.actor, self.address, self.request_id, self.reason


ITSELF: Final = Origin(actor="tollgate")
"""What the gateway does by itself."""
