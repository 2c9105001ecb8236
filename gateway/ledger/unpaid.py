"""Why nothing was held or deducted, as the error that says so: one list for all that outside callers ask for."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec

from gateway.core.errors import (
    BudgetExceeded,
    Conflict,
    CreditsReserved,
    Forbidden,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    OrgSuspended,
    TollgateError,
    TooManyOpen,
)

RETRY_AFTER_S: Final = 1


class Unpaid(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger answered in place of credits."""

    required_ucr: int
    available_ucr: int
    budget_scope: str | None = None
    """Whose budget it was, where it was one."""
    resets_at: datetime | None = None
    undone: str
    """`nothing was deducted`."""

    def error(self, status: str) -> TollgateError:
        return _ERRORS[status](self)

    @property
    def limit_source(self) -> str:
        return "org_pool" if self.budget_scope is None else f"{self.budget_scope}_budget"


def _insufficient(facts: Unpaid) -> TollgateError:
    return InsufficientCredits(
        f"The account has less available; {facts.undone}.",
        available_ucr=facts.available_ucr,
        required_ucr=facts.required_ucr,
    )


def _busy(facts: Unpaid) -> TollgateError:
    return CreditsReserved(
        f"Open calls hold the credits; {facts.undone}.",
        limit_source=facts.limit_source,
        available_ucr=facts.available_ucr,
        required_ucr=facts.required_ucr,
        retry_after_s=RETRY_AFTER_S,
    )


def _budget(facts: Unpaid) -> TollgateError:
    return BudgetExceeded(
        f"The {facts.budget_scope}'s budget does not cover it; {facts.undone}.",
        limit_source=facts.limit_source,
        available_ucr=facts.available_ucr,
        required_ucr=facts.required_ucr,
        affordable_max_tokens=None,
        resets_at=facts.resets_at,
    )


_ERRORS: Final[Mapping[str, Callable[[Unpaid], TollgateError]]] = {
    "insufficient": _insufficient,
    "busy": _busy,
    "budget": _budget,
    "concurrency": lambda facts: TooManyOpen(
        f"As many calls are open as the {facts.budget_scope}'s limit allows; {facts.undone}."
    ),
    "receivable": lambda facts: Forbidden(f"Credits are owed; {facts.undone} before they are repaid."),
    "suspended": lambda facts: OrgSuspended(
        f"The account that would pay is suspended, by itself or with its organisation; {facts.undone}."
    ),
    "parked": lambda facts: OrgSuspended(f"The account is parked; {facts.undone}."),
    "no_account": lambda facts: NotFound(f"There is no account that may pay for it; {facts.undone}."),
    "off_clock": lambda facts: InvalidRequest(
        f"The id is more than five minutes off the ledger's clock; {facts.undone}.", param="id"
    ),
    "conflict": lambda facts: Conflict(f"This id was used for something else before; {facts.undone}."),
    "ended": lambda facts: Conflict(f"This id was used for something else before; {facts.undone}."),
}

STATUSES: Final = frozenset(_ERRORS)
