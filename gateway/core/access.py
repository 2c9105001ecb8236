"""Who may do what on /api: the whole of it, on one page.

A principal acts with roles, a role has rights, an endpoint needs one right. Everyone but the operator acts inside one
organisation; whose object it is, is asked before what may be done to it, so that a stranger learns of nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from gateway.core.errors import Forbidden


class Right(StrEnum):
    """What an endpoint needs."""

    READ_ORGS = "orgs:read"
    WRITE_ORGS = "orgs:write"
    READ_CREDITS = "credits:read"
    """The organisation's balance, and what became of one's own credits: histories, statistics, exports."""
    READ_ALL_CREDITS = "credits:read_all"
    """With `credits:read`: what became of everybody's. Without it, colleagues' rows, allocations and budgets are left
    out."""
    GIVE_CREDITS = "credits:give"
    """Grants, adjustments, voids, refunds, plans: what changes how much an organisation has."""
    SPEND_CREDITS = "credits:spend"
    """Checks, deductions, reservations, recorded usage."""
    MOVE_CREDITS = "credits:move"
    """From one account of the organisation to another."""
    READ_LIMITS = "limits:read"
    """Budgets, policies, allocation rules; to write them, also accounts for some models or features alone."""
    WRITE_LIMITS = "limits:write"
    READ_PRICES = "prices:read"
    """Prices and plans as they apply to whoever asks; the calculator."""
    WRITE_PRICES = "prices:write"
    READ_KEYS = "keys:read"
    WRITE_KEYS = "keys:write"
    READ_USERS = "users:read"
    WRITE_USERS = "users:write"
    """Also their personal data: handed out and erased."""
    READ_AUDIT_LOG = "audit_log:read"


class Role(StrEnum):
    """In which capacity somebody asks."""

    OPERATOR = "operator"
    """Runs the gateway; the only one who sees every organisation."""
    ORG_ADMIN = "org_admin"
    BILLING = "billing"
    MEMBER = "member"
    VIEWER = "viewer"
    APPLICATION = "application"
    """An API key for inference."""
    MANAGER = "manager"
    """An API key that cannot infer: an organisation's own programs administer it with one."""
    SANDBOX = "sandbox"
    """An API key whose calls cost nothing: it reads what an application reads, and spends nothing here either."""


_R: Final = Role
_ALL: Final = frozenset(Role)
_OPERATOR: Final = frozenset({_R.OPERATOR})
_ADMINS: Final = frozenset({_R.OPERATOR, _R.ORG_ADMIN, _R.MANAGER})

HOLDERS: Final[Mapping[Right, frozenset[Role]]] = {
    Right.READ_ORGS: _ALL,
    Right.WRITE_ORGS: _OPERATOR,
    Right.READ_CREDITS: _ALL,
    Right.READ_ALL_CREDITS: _ALL - {_R.MEMBER},
    Right.GIVE_CREDITS: _OPERATOR,
    Right.SPEND_CREDITS: _ADMINS | {_R.MEMBER, _R.APPLICATION},
    Right.MOVE_CREDITS: _ADMINS | {_R.BILLING},
    Right.READ_LIMITS: _ALL,
    Right.WRITE_LIMITS: _ADMINS | {_R.BILLING},
    Right.READ_PRICES: _ALL,
    Right.WRITE_PRICES: _OPERATOR,
    Right.READ_KEYS: _ADMINS | {_R.BILLING, _R.VIEWER},
    Right.WRITE_KEYS: _ADMINS,
    Right.READ_USERS: _ADMINS | {_R.BILLING, _R.VIEWER},
    Right.WRITE_USERS: _ADMINS,
    Right.READ_AUDIT_LOG: frozenset({_R.OPERATOR, _R.ORG_ADMIN, _R.BILLING}),
}
"""Which roles have a right. Nobody has one that is not written here."""
assert HOLDERS.keys() == set(Right)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks on /api, proven by a credential."""

    actor: str
    """For the audit log: `operator`, `user:<id>`, `key:<id>`."""
    roles: frozenset[Role]
    org_id: UUID | None = None
    """The organisation inside which they act; None for the operator alone."""
    user_id: UUID | None = None
    """Whose person it is, or whose key."""
    key_id: UUID | None = None
    models: frozenset[str] | None = None
    """The only models that the key may be used for; None: all, or no key."""

    def __post_init__(self) -> None:
        if (self.org_id is None) != (Role.OPERATOR in self.roles):
            raise ValueError("whoever is not the operator acts inside one organisation, and the operator in none")

    @property
    def is_operator(self) -> bool:
        return Role.OPERATOR in self.roles

    def may(self, right: Right) -> bool:
        return not HOLDERS[right].isdisjoint(self.roles)

    def require(self, right: Right) -> None:
        """Raises Forbidden, which names the right and who has it."""
        if not self.may(right):
            holders = ", ".join(sorted(HOLDERS[right]))
            raise Forbidden(f"This needs the right {right}, which these roles have: {holders}; nothing was changed.")

    @property
    def sees_all_credits(self) -> bool:
        """Or else their own user's alone. A user's key that calls models shows no more, whatever the user may."""
        is_users_own = self.key_id is not None and self.user_id is not None and Role.MANAGER not in self.roles
        return self.may(Right.READ_ALL_CREDITS) and not is_users_own

    def sees(self, org_id: UUID) -> bool:
        return self.org_id is None or self.org_id == org_id
