"""Which accounts may pay for a call, and which of them is asked first."""

from collections.abc import Iterable
from typing import Literal
from uuid import UUID

import msgspec

PaymentOrder = Literal["allocation_first", "pool_first", "allocation_only"]
AccountKind = Literal["pool", "user", "restricted"]


class PayingAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One that is not closed. Whether it can pay, or may just now, the ledger alone knows."""

    account_id: UUID
    kind: AccountKind
    user_id: UUID | None = None
    """Whose allocation it is."""
    models: frozenset[str] | None = None
    features: frozenset[str] | None = None
    """What a restricted account pays for: calls of one of these models, or for one of these features; nothing else."""

    def pays_for(self, *, model: str, feature: str) -> bool:
        assert self.kind == "restricted"
        return model in (self.models or ()) or (feature != "" and feature in (self.features or ()))


def candidate_accounts(
    accounts: Iterable[PayingAccount], *, user_id: UUID | None, model: str, feature: str, order: PaymentOrder
) -> tuple[UUID, ...]:
    """The accounts to try, in order; none where nothing may pay.

    Restricted accounts that are for this come before all others, in order of their ids: what they hold is good for
    nothing else. Then the user's allocation and the pool as the policy says. Without a user there is no allocation, and
    the pool pays whatever the policy; with one, `allocation_only` leaves a call without an allocation to pay unpaid.
    """
    restricted: list[UUID] = []
    allocation: list[UUID] = []
    pool: list[UUID] = []
    for account in accounts:
        if account.kind == "pool":
            pool.append(account.account_id)
        elif account.kind == "user":
            if user_id is not None and account.user_id == user_id:
                allocation.append(account.account_id)
        elif account.pays_for(model=model, feature=feature):
            restricted.append(account.account_id)
    restricted.sort()
    if user_id is None:
        return (*restricted, *pool)
    match order:
        case "allocation_first":
            return (*restricted, *allocation, *pool)
        case "pool_first":
            return (*restricted, *pool, *allocation)
        case "allocation_only":
            return (*restricted, *allocation)
