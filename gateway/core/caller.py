"""Who is calling, as authentication found it: all that later steps need, and nothing they must look up again."""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from gateway.core.address import Network
from gateway.core.payment_order import PayingAccount, PaymentOrder, candidate_accounts

UnsupportedFields = Literal["default", "refuse", "drop"]
"""What becomes of fields that the dialect of a model's provider cannot say; by default as the gateway is set up."""


class KeyKind(StrEnum):
    """What an API key is for."""

    INFERENCE = "inference"
    MANAGEMENT = "management"
    """Administers its organisation on /api, and cannot infer."""
    SANDBOX = "sandbox"
    """Its calls go to the replay provider and cost nothing."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """An API key that was found valid, with its organisation and the accounts that may pay for it."""

    org_id: UUID
    org_name: str
    key_id: UUID
    key_name: str
    kind: KeyKind = KeyKind.INFERENCE
    ip_allow: tuple[Network, ...] | None = None
    """The only networks it may be used from; None allows all."""
    user_id: UUID | None = None
    models: frozenset[str] | None = None
    """The only models this key may use; None allows all."""
    expires_at: datetime | None = None
    accounts: tuple[PayingAccount, ...] = ()
    """Those of the organisation that may pay for this key's calls: `core.payment_order` says which for which."""
    payment_order: PaymentOrder = "allocation_first"
    unsupported_fields: UnsupportedFields = "default"
    plan_id: str | None = None
    """The plan that the organisation is on."""

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def payers(self, *, model: str, feature: str = "") -> tuple[UUID, ...]:
        """The accounts to try for such a call, in order; none where nothing may pay."""
        return candidate_accounts(
            self.accounts, user_id=self.user_id, model=model, feature=feature, order=self.payment_order
        )
