"""One request to /api as its handler sees it: who asks, in which organisation, and what may be used to answer."""

import hashlib
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.core.access import Principal
from gateway.core.errors import NotFound
from gateway.core.idempotency import Idempotency
from gateway.core.origin import Origin
from gateway.edge.api.house import House
from gateway.edge.requests import invalid

REPLAYED: Final = "idempotent-replayed"
ANY_TAG: Final = "*"


class Ask(msgspec.Struct, kw_only=True, eq=False):
    house: House
    principal: Principal
    request_id: UUID
    address: str
    method: str
    path: str
    """The endpoint's, as it is declared."""
    idempotency_key: str | None = None
    if_match: frozenset[str] | None = None
    """The entity tags with which the change may be made, or ANY_TAG; None: none were sent."""
    reason: str = ""
    """Why, in the asker's words: the header `x-tollgate-reason`, for the audit log."""
    headers: dict[str, str]
    """What the handler adds to the answer's."""

    @property
    def origin(self) -> Origin:
        """For the audit log."""
        return Origin(actor=self.principal.actor, address=self.address, request_id=self.request_id, reason=self.reason)

    def org(self, named: UUID | None) -> UUID:
        """The organisation that is meant: their own where none is named.

        Raises InvalidRequest where the operator names none, NotFound where another's is named: nobody learns whether it
        exists.
        """
        own = self.principal.org_id
        if named is None:
            if own is None:
                raise invalid("organization_id", "is required")
            return own
        if not self.principal.sees(named):
            raise NotFound(f"There is no organisation {named}.")
        return named

    def idempotency(self, *meaning: Any) -> Idempotency | None:
        """The caller's key with a hash of what is asked for, spelling aside; None where no key was sent."""
        if self.idempotency_key is None:
            return None
        whole = (self.method, self.path, self.principal.actor, sorted(self.if_match or ()), meaning)
        return Idempotency(self.idempotency_key, hashlib.sha256(msgspec.json.encode(whole)).digest())

    def replayed(self, repeated: bool) -> None:
        """Says in the answer that it was given before, under the same Idempotency-Key."""
        if repeated:
            self.headers[REPLAYED] = "true"
