"""What a refused reservation means to the caller: the ledger's answer as an error that says what did not happen."""

from typing import Final

from gateway.core.errors import (
    BudgetExceeded,
    CreditsReserved,
    InsufficientCredits,
    InvalidRequest,
    OrgSuspended,
    TollgateError,
    TooManyOpen,
)
from gateway.core.reservation import Quote, Size
from gateway.core.units import credits_text
from gateway.ledger.calls import Refusal, RefusalReason

SMALLER_MAY_FIT: Final = frozenset({RefusalReason.INSUFFICIENT, RefusalReason.BUSY, RefusalReason.BUDGET})


def refused(quote: Quote, size: Size, refusal: Refusal) -> TollgateError:
    """The error for a refusal that nothing smaller could avoid."""
    needed = f"{credits_text(size.amount_ucr)} credits needed, {credits_text(refusal.available_ucr)} available"
    match refusal.reason:
        case RefusalReason.SUSPENDED:
            return OrgSuspended(
                "The account that would pay is suspended, by itself or with its organisation; "
                "nothing was reserved or sent."
            )
        case RefusalReason.PARKED:
            return OrgSuspended(
                "The organisation's account is parked until its books are checked; nothing was reserved or sent."
            )
        case RefusalReason.ENDED:
            return InvalidRequest("This request id was used before; nothing was reserved or sent.", code="id_used")
        case RefusalReason.CONCURRENCY:
            return TooManyOpen(
                f"As many calls are open as the {refusal.budget_scope}'s limit allows; nothing was reserved or sent. "
                "Retry when one of them has ended."
            )
        case RefusalReason.BUDGET:
            return BudgetExceeded(
                f"The {refusal.budget_scope}'s budget does not cover the most this call can cost ({needed}); "
                "nothing was reserved or sent.",
                limit_source=f"{refusal.budget_scope}_budget",
                available_ucr=refusal.available_ucr,
                required_ucr=size.amount_ucr,
                affordable_max_tokens=quote.affordable_tokens(refusal.available_ucr),
                resets_at=refusal.resets_at,
            )
        case RefusalReason.BUSY:
            whose = f"{refusal.budget_scope}_budget" if refusal.budget_scope else "org_pool"
            return CreditsReserved(
                f"The credits for this call are held by other calls that are still open ({needed}); "
                "nothing was reserved or sent. Retry shortly.",
                limit_source=whose,
                available_ucr=refusal.available_ucr,
                required_ucr=size.amount_ucr,
                retry_after_s=refusal.retry_after_s,
                affordable_max_tokens=quote.affordable_tokens(refusal.available_ucr),
            )
        case RefusalReason.RECEIVABLE:
            return InsufficientCredits(
                "The organisation owes credits for an earlier call that cost more than was reserved; "
                "new calls wait until that is repaid. Nothing was reserved or sent.",
                limit_source="receivable",
                available_ucr=refusal.available_ucr,
                required_ucr=size.amount_ucr,
            )
        case RefusalReason.INSUFFICIENT:
            return InsufficientCredits(
                f"The organisation's credits do not cover the most this call can cost ({needed}); "
                "nothing was reserved or sent.",
                available_ucr=refusal.available_ucr,
                required_ucr=size.amount_ucr,
                affordable_max_tokens=quote.affordable_tokens(refusal.available_ucr),
            )


def nobody_pays(size: Size) -> InsufficientCredits:
    """The organisation's policy leaves users without an allocation unpaid."""
    return InsufficientCredits(
        "No account may pay for this call: its user has no allocation, and by the organisation's policy nothing else "
        "pays; nothing was reserved or sent.",
        limit_source="user_allocation",
        available_ucr=0,
        required_ucr=size.amount_ucr,
    )
