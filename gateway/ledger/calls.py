"""What passes between a call and the ledger: the wish to hold credits, the answer, and the ending."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import msgspec


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Hold credits for one call. Its id is also x-request-id, the ending row's id and the generation id."""

    id: UUID
    org_id: UUID
    account_ids: tuple[UUID, ...]
    """Who may pay, in the order in which they are tried; one of them pays all of it."""
    key_id: UUID | None
    user_id: UUID | None = None
    model: str
    feature: str = ""
    amount_ucr: int
    """The most the call can cost. Held whole or not at all."""
    learned_ucr: int
    """Held instead while the account has plenty (available ≥ 20 × amount_ucr). Never more than amount_ucr."""
    prompt_ucr: int
    """What the prompt alone is estimated to cost: the least charged if this process dies after forwarding."""
    pins: bytes = b"{}"
    """JSON: the prices of every reachable target, as quoted."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The credits are set aside, durably."""

    account_id: UUID
    """Who pays."""
    amount_ucr: int
    available_ucr: int
    """What the account has left for other calls."""


class RefusalReason(StrEnum):
    INSUFFICIENT = "insufficient"
    BUSY = "busy"
    """It would fit if nothing were held; the fair queue's wait is already over."""
    RECEIVABLE = "receivable"
    """The account owes for an earlier overage and its policy blocks new calls until that is repaid."""
    SUSPENDED = "suspended"
    PARKED = "parked"
    """The audit found the account's books broken; calls wait for a person."""
    BUDGET = "budget"
    """A budget's period has not so much left; `budget_scope` says whose."""
    CONCURRENCY = "concurrency"
    """As many calls are open as a budget allows."""
    ENDED = "ended"
    """This id had its ending already; an id is used once."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was held."""

    reason: RefusalReason
    account_id: UUID | None = None
    """Whose figures these are: of the accounts that may pay, the one that came nearest."""
    available_ucr: int = 0
    balance_ucr: int = 0
    retry_after_s: int = 1
    """For BUSY: when trying again may help, 1 to 60."""
    budget_scope: str = ""
    """org, user, key, model or feature: whose budget refused; empty where none did."""
    resets_at: datetime | None = None
    """When that budget's next period begins."""


class End(StrEnum):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    """The client went away before the end."""
    CUT_OFF = "cut_off"
    """The credits ran out in mid-stream."""
    ESTIMATED = "estimated"
    """Complete, but the provider sent no usage."""
    RECOVERED = "recovered"
    """The owning process died; the sweeper ended it."""
    EXPIRED = "expired"
    """An outside caller's reservation, or a job's, that nobody ended in time."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The one end of a reservation: charge and usage record in one row. Given once per id, retried for ever."""

    id: UUID
    org_id: UUID
    account_id: UUID
    end: End
    delivered: bool
    """False: the provider answered nothing that is billed; the row is a RELEASE of zero."""
    cost_ucr: int
    """ceil(numerator / 1,000,000) at the pinned prices; 0 for a release."""
    numerator: int | Decimal
    """Σ units × price, exact."""
    lines: bytes = b"[]"
    """JSON: [[kind, units, price_ucr per million], …], Σ units × price = numerator."""
    waive_above_held: bool = False
    """A cut-off: what came in flight after the cut is the operator's loss, not an overage."""
    key_id: UUID | None = None
    user_id: UUID | None = None
    model: str = ""
    """As the caller named it."""
    feature: str = ""
    upstream: str = ""
    upstream_model: str = ""
    provider_request_id: str = ""
    streamed: bool = False
    status: int = 0
    """The HTTP status that the caller got; 0 where it was gone before one was sent."""
    finish_reason: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    first_event_ms: int | None = None
    """Milliseconds from the start to the first content."""
    duration_ms: int = 0
    other_accounts: tuple[UUID, ...] | None = None
    """Where it is not known who was to pay: the others of the wish's accounts."""
    tags: str | None = None
    """JSON, an array of texts; None: it has none."""
