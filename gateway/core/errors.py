"""The one tree of errors. Each carries facts as fields and says what did not happen; HTTP is added at the edge.

Names are the field's words for the situation; `edge/errors.py` alone turns them into a status and a body, per dialect.
"""

from datetime import datetime
from typing import ClassVar


class TollgateError(Exception):
    """Everything that Tollgate refuses or fails at on purpose. `str(error)` is fit for the caller's eyes."""

    code: ClassVar[str] = "internal_error"


# --- the caller's request -------------------------------------------------------------------------------------------


class InvalidRequest(TollgateError):
    """Something in the request is malformed, out of bounds or contradictory; nothing was reserved or sent."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.reason = code or self.code


class RequestTooLarge(TollgateError):
    """The body passes the limit; it was not read to its end and nothing was reserved."""

    code = "request_too_large"


class RequestTimeout(TollgateError):
    """The body came too slowly; it was not read to its end and nothing was reserved."""

    code = "request_timeout"


class Overloaded(TollgateError):
    """This process holds as many request bytes as it may; nothing was read or reserved. Retrying helps."""

    code = "overloaded"


class UnsupportedEncoding(TollgateError):
    """The request body is compressed; only identity is accepted."""

    code = "unsupported_encoding"


class NotFound(TollgateError):
    """No such object, or none that this caller may see."""

    code = "not_found"


class ModelNotFound(TollgateError):
    """The model is unknown here, or this key may not use it."""

    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"The model `{model[:128]}` does not exist or this API key may not use it; nothing was reserved or sent."
        )
        self.model = model


class Conflict(TollgateError):
    """The change contradicts one already made (for instance an idempotency key with another body); nothing changed."""

    code = "conflict"


class IdempotencyMismatch(Conflict):
    """The same Idempotency-Key came before with another body; nothing changed."""

    code = "idempotency_mismatch"

    def __init__(self, message: str, *, param: str = "Idempotency-Key") -> None:
        super().__init__(message)
        self.param = param
        """Where the name stood that came before."""


class PreconditionFailed(TollgateError):
    """The object is no longer what If-Match says: somebody else changed it in between; nothing changed."""

    code = "precondition_failed"


# --- who is calling -------------------------------------------------------------------------------------------------


class Unauthenticated(TollgateError):
    """No key, or one that is unknown, revoked or expired."""

    code = "invalid_api_key"


class InvalidToken(Unauthenticated):
    """A person's token that is malformed, expired, not for us, or not signed by whom we trust."""

    code = "invalid_token"


class TokensUncheckable(TollgateError):
    """The issuer's keys cannot be had, and none are remembered: nobody knows whether a token is good."""

    code = "issuer_unavailable"


class TooManyRequests(TollgateError):
    """More requests than a rate allows; this one was not looked at."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyFailures(TooManyRequests):
    """So many credentials from one address were wrong that it is told no more about them."""


class Forbidden(TollgateError):
    """Known, but not allowed to do this."""

    code = "forbidden"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        """The field that asks for too much, where it is one."""


class OrgSuspended(Forbidden):
    """The organisation is suspended, or the account that would pay is; calls are refused until it is resumed."""

    code = "org_suspended"


class UserSuspended(Forbidden):
    """The user whose key it is is suspended; their calls are refused until they are resumed."""

    code = "user_suspended"


# --- credits --------------------------------------------------------------------------------------------------------


class InsufficientCredits(TollgateError):
    """The account cannot pay for this call, even with nothing else open; nothing was reserved or sent."""

    code = "insufficient_credits"

    def __init__(
        self,
        message: str,
        *,
        limit_source: str = "org_pool",
        available_ucr: int,
        required_ucr: int,
        affordable_max_tokens: int | None = None,
    ) -> None:
        super().__init__(message)
        self.limit_source = limit_source
        self.available_ucr = available_ucr
        self.required_ucr = required_ucr
        self.affordable_max_tokens = affordable_max_tokens


class BudgetExceeded(InsufficientCredits):
    """A budget's period has not so much left, whatever the account has; nothing was reserved or sent."""

    code = "budget_exceeded"

    def __init__(
        self,
        message: str,
        *,
        limit_source: str,
        available_ucr: int,
        required_ucr: int,
        affordable_max_tokens: int | None,
        resets_at: datetime | None,
    ) -> None:
        super().__init__(
            message,
            limit_source=limit_source,
            available_ucr=available_ucr,
            required_ucr=required_ucr,
            affordable_max_tokens=affordable_max_tokens,
        )
        self.resets_at = resets_at
        """When the budget's next period begins; None: never."""


class TooManyOpen(TollgateError):
    """As many calls are open as a concurrency limit allows; nothing was reserved or sent."""

    code = "rate_limit_exceeded"


class CreditsReserved(InsufficientCredits):
    """It would fit if nothing were held: other calls of the account are open. Retrying helps."""

    code = "credits_reserved"

    def __init__(
        self,
        message: str,
        *,
        limit_source: str = "org_pool",
        available_ucr: int,
        required_ucr: int,
        retry_after_s: int,
        affordable_max_tokens: int | None = None,
    ) -> None:
        super().__init__(
            message,
            limit_source=limit_source,
            available_ucr=available_ucr,
            required_ucr=required_ucr,
            affordable_max_tokens=affordable_max_tokens,
        )
        self.retry_after_s = retry_after_s


class LedgerUnavailable(TollgateError):
    """The store of credits cannot be reached; nothing was reserved or sent."""

    code = "ledger_unavailable"


# --- upstream -------------------------------------------------------------------------------------------------------


class UpstreamFailed(TollgateError):
    """The provider could not be reached or broke its answer; what it had delivered is charged, nothing else."""

    code = "upstream_error"

    def __init__(self, message: str, *, upstream: str) -> None:
        super().__init__(message)
        self.upstream = upstream


class UpstreamUnreachable(UpstreamFailed):
    """Connect, DNS or TLS failed: not one byte of the request was sent."""


class UpstreamBroken(UpstreamFailed):
    """The provider closed early, or what it sent is not HTTP, JSON or SSE as it should be."""


class UpstreamRejectedCredential(UpstreamFailed):
    """The provider refused our own credential (401, 402 or 403): the operator's trouble, never shown in detail."""


class UpstreamTimeout(UpstreamFailed):
    """Connecting, the first event, the next event or the whole call took longer than its setting allows."""

    code = "timeout"


class UpstreamUnavailable(UpstreamFailed):
    """No target may be tried right now; nothing was reserved."""

    code = "upstream_unavailable"
