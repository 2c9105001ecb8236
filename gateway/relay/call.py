"""The facts of one call, filled in as it walks down the road; what the log line and the metrics are made of."""

from collections.abc import Callable
from uuid import UUID

import msgspec

from gateway.core.caller import Caller
from gateway.core.dialect import Dialect, DialectName, Facts
from gateway.core.errors import TollgateError
from gateway.core.usage import NOTHING_USED, Usage
from gateway.ledger.calls import End
from gateway.relay.catalogue import Target


class Call(msgspec.Struct, eq=False, kw_only=True):
    """One inference call from its authentication to its end. Mutable; owned by the handler that made it."""

    id: UUID
    route: str
    """The URL table's pattern."""
    caller: Caller
    dialect: Dialect
    request: Facts
    forward_headers: list[tuple[str, str]]
    """The caller's headers that the allow-list lets pass upstream."""
    client_request_id: str
    """The caller's own x-request-id, or empty."""
    started_at: float
    """Monotonic seconds."""
    started_unix_ms: int
    feature: str = ""
    """What it is for, as the caller names it: budgets and restricted accounts go by it."""
    tags: str | None = None
    """JSON, an array of texts; None: it has none."""
    status: int = 0
    """What the caller was answered; 0 while nothing was."""
    error_code: str = ""
    model_label: str = "unknown"
    """The model's name once the catalogue knows it: callers must not be able to invent labels."""
    upstream: str = ""
    upstream_model: str = ""
    provider_id: str = ""
    reserved: bool = False
    """Credits are set aside for it, be it none for a free model."""
    held_ucr: int = 0
    send_limit: int | None = None
    first_event_at: float | None = None
    cut_by: TollgateError | None = None
    """Why this process cancelled the call, which the caller did not."""
    gone: bool = False
    """The caller's connection is lost; nothing more reaches him."""
    on_gone: Callable[[], object] | None = None
    """What losing the connection does at this stage of the call."""
    end: End | None = None
    charged_ucr: int | None = None
    usage: Usage = NOTHING_USED
    finish_reason: str = ""
    spoken: DialectName | None = None
    """The dialect that the provider was asked in, where it is not the caller's."""
    dropped: tuple[str, ...] = ()
    """What of the request could not be said in it, by path."""
    said: Facts | None = None
    """The request as it was said in it."""

    def sent_to(self, target: Target) -> None:
        self.upstream, self.upstream_model = target.upstream.name, target.model

    def client_gone(self) -> None:
        """The connection reports its loss; safe to call more than once and at any stage."""
        if not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()
