"""The facts of one call, filled in as it walks down the road; what the log line and the metrics are made of."""

from collections.abc import Callable
from uuid import UUID

from gateway.core.caller import Caller
from gateway.core.chat_request import ChatRequest
from gateway.core.errors import TollgateError
from gateway.core.usage import Usage
from gateway.ledger.calls import End
from gateway.relay.catalogue import Target


class Call:
    """One inference call from its authentication to its end. Mutable; owned by the handler that made it."""

    __slots__ = (
        "caller",
        "charged_ucr",
        "client_request_id",
        "cut_by",
        "end",
        "error_code",
        "finish_reason",
        "first_event_at",
        "forward_headers",
        "gone",
        "held_ucr",
        "id",
        "model_label",
        "on_gone",
        "provider_id",
        "request",
        "reserved",
        "send_limit",
        "started_at",
        "started_unix_ms",
        "status",
        "upstream",
        "upstream_model",
        "usage",
    )

    def __init__(
        self,
        *,
        id: UUID,
        caller: Caller,
        request: ChatRequest,
        forward_headers: list[tuple[str, str]],
        client_request_id: str,
        started_at: float,
        started_unix_ms: int,
    ) -> None:
        self.id = id
        self.caller = caller
        self.request = request
        self.forward_headers = forward_headers
        """The caller's headers that the allow-list lets pass upstream."""
        self.client_request_id = client_request_id
        """The caller's own x-request-id, or empty."""
        self.started_at = started_at
        """Monotonic seconds."""
        self.started_unix_ms = started_unix_ms
        self.status = 0
        """What the caller was answered; 0 while nothing was."""
        self.error_code = ""
        self.model_label = "unknown"
        """The model's name once the catalogue knows it: callers must not be able to invent labels."""
        self.upstream = ""
        self.upstream_model = ""
        self.provider_id = ""
        self.reserved = False
        """Credits are set aside for it, be it none for a free model."""
        self.held_ucr = 0
        self.send_limit: int | None = None
        self.first_event_at: float | None = None
        self.cut_by: TollgateError | None = None
        """Why this process cancelled the call, which the caller did not."""
        self.gone = False
        """The caller's connection is lost; nothing more reaches him."""
        self.on_gone: Callable[[], object] | None = None
        """What losing the connection does at this stage of the call."""
        self.end: End | None = None
        self.charged_ucr: int | None = None
        self.usage = Usage()
        self.finish_reason = ""

    def sent_to(self, target: Target) -> None:
        self.upstream, self.upstream_model = target.upstream.name, target.model

    def client_gone(self) -> None:
        """The connection reports its loss; safe to call more than once and at any stage."""
        if not self.gone:
            self.gone = True
            if self.on_gone is not None:
                self.on_gone()
