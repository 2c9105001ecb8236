"""Headers pass by allow-list, both ways: nothing of the caller's account reaches the provider, nor the reverse."""

import re
from collections.abc import Iterable
from typing import Final

from gateway.core.dialect import Dialect
from gateway.core.units import credits_text
from gateway.relay.call import Call

TO_UPSTREAM: Final = frozenset({"accept-language", "traceparent", "tracestate", "user-agent"})
"""What a caller may say to the provider in any dialect, beside what the dialect itself lets pass. Credentials, cookies
and organisation headers are not here, on purpose."""
TO_UPSTREAM_PREFIXES: Final = ("x-replay-", "x-stainless-")

TO_CALLER: Final = frozenset({"content-type", "retry-after", "retry-after-ms", "x-should-retry"})
"""What a provider may say to the caller, likewise. Its rate limits and organisation are those of the operator's
account."""

_NEVER: Final = re.compile(
    r"authorization|proxy-.*|.*api-key|.*cookie2?|openai-(organization|project)|x-goog-.*|host|connection|keep-alive"
    r"|te|trailer|transfer-encoding|upgrade|content-(length|encoding|type)|accept-encoding|expect|x-request-id"
    r"|x-tollgate-.*"
)
LISTED_CHARS_MAX: Final = 2048
_UNPRINTABLE: Final = re.compile(r"[^\x21-\x7e]")


def never_passes(name: str) -> bool:
    """Credentials, accounts and framing: what no configuration can let through."""
    return _NEVER.fullmatch(name.lower()) is not None


class HeaderPolicy:
    """The allow-lists, widened by the configuration and by the dialect that is spoken."""

    def __init__(
        self, *, to_upstream: Iterable[str] = (), to_caller: Iterable[str] = (), dialect: Dialect | None = None
    ) -> None:
        self._to_upstream = TO_UPSTREAM | {name.lower() for name in to_upstream}
        self._to_caller = TO_CALLER | {name.lower() for name in to_caller}
        self._unasked: tuple[tuple[str, str], ...] = ()
        self.key_header = ""
        """Where a key may stand beside Authorization."""
        self.key_parameter = ""
        """And in the address."""
        if dialect is not None:
            self._to_upstream |= dialect.to_upstream
            self._to_caller |= dialect.to_caller
            self._unasked = dialect.to_upstream_unasked
            self.key_header = dialect.key_header
            self.key_parameter = dialect.key_parameter

    def speaking(self, dialect: Dialect) -> "HeaderPolicy":
        return HeaderPolicy(to_upstream=self._to_upstream, to_caller=self._to_caller, dialect=dialect)

    def for_upstream(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        allowed = self._to_upstream
        passing = [
            (lower, value)
            for name, value in headers
            if (lower := name.lower()) in allowed or lower.startswith(TO_UPSTREAM_PREFIXES)
        ]
        for unasked in self._unasked:
            if not any(name == unasked[0] for name, _ in passing):
                passing.append(unasked)
        return passing

    def for_caller(self, headers: Iterable[tuple[str, str]]) -> str:
        """Header lines from the upstream's headers, whose names are in lower case, as the client gives them."""
        allowed = self._to_caller
        lines = ""
        for name, value in headers:
            if name in allowed:
                lines += f"{name}: {_retry_after(value) if name == 'retry-after' else value}\r\n"
        return lines


def _retry_after(value: str) -> str:
    """1 to 60: at 0 some SDKs retry at once, above 60 some give up or outsleep their own timeout."""
    return str(min(60, max(1, int(value)))) if value.isdecimal() and len(value) < 10 else "60"


def tollgate_headers(call: Call, *, available_ucr: int, low_balance_ucr: int, whole: bool) -> str:
    """The lines that we add to an answer: who served it, what is held, what is left, and, once known, what it cost."""
    lines = (
        f"x-request-id: {call.id}\r\n"
        f"x-tollgate-model: {call.request.model}\r\n"
        f"x-tollgate-upstream: {call.upstream}\r\n"
        f"x-tollgate-credits-reserved: {credits_text(call.held_ucr)}\r\n"
        f"x-tollgate-credits-available: {credits_text(available_ucr)}\r\n"
    )
    if whole and call.charged_ucr is not None:
        lines += f"x-tollgate-credits-charged: {credits_text(call.charged_ucr)}\r\n"
    if call.spoken is not None:
        lines += f"x-tollgate-translated: {call.spoken}\r\n"
        if call.dropped:
            lines += f"x-tollgate-dropped: {_listed(call.dropped)}\r\n"
    if call.send_limit is not None:
        lines += f"x-tollgate-output-limit: {call.send_limit}\r\n"
    if available_ucr < low_balance_ucr:
        lines += "x-tollgate-low-balance: true\r\n"
    if call.dialect.request_id_header:
        lines += f"{call.dialect.request_id_header}: {call.id}\r\n"
    if call.client_request_id:
        lines += f"x-client-request-id: {call.client_request_id}\r\n"
    return lines


def _listed(dropped: tuple[str, ...]) -> str:
    """Fields as one header's value. Callers choose their names, so what no header may hold is replaced."""
    listed = ", ".join(_UNPRINTABLE.sub("?", field) for field in dropped)
    return listed if len(listed) <= LISTED_CHARS_MAX else f"{listed[:LISTED_CHARS_MAX]}..."
