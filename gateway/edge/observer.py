"""What is said of a request once it is over: one log line, the metrics, and what the next quote can learn from it.

Calls that ended are gathered and told of together: in a loop of its own the telling costs a quarter of what it does
between the other steps of a call, which have driven its code and data from the caches each time.
"""

import asyncio
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from gateway.core.caller import Caller
from gateway.ops.clock import Clock
from gateway.ops.log import RequestLine, RequestLog
from gateway.ops.metrics import EndedCall, Metrics
from gateway.relay.call import Call
from gateway.relay.quoter import Quoter

CLIENT_GONE_STATUS: Final = 499
"""nginx's status for a caller that left before it was answered; only ever logged."""
REFUSED: Final = "refused"
"""The end of a call that never reserved."""
GATHERED_MAX: Final = 64
GATHER_S: Final = 0.1
"""Ended calls are told of when so many have gathered, or after so long."""


class Observer:
    """Inference calls have metrics of their own; every other request is counted by its route.

    `flush` before the metrics are read, and when no more calls come. Made and used inside a running loop.
    """

    def __init__(self, *, log: RequestLog, metrics: Metrics, quoter: Quoter, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._quoter = quoter
        self._clock = clock
        self._ended: list[tuple[Call, float]] = []
        """Calls, and how many seconds they took."""
        self._timer: asyncio.TimerHandle | None = None

    def request_ended(
        self, *, id: UUID, method: str, route: str, status: int, error: str, began: float, caller: Caller | None = None
    ) -> None:
        """Any request but an inference call that got as far as its model."""
        duration_s = self._clock.monotonic() - began
        status = status or CLIENT_GONE_STATUS
        self._metrics.http_answered(route=route, method=method, status=status, duration_s=duration_s)
        self._log.write(
            [
                RequestLine(
                    at=_rfc3339(self._clock.unix_ms()),
                    id=id,
                    method=method,
                    route=route,
                    status=status,
                    duration_ms=round(duration_s * 1000, 3),
                    error=error,
                    org=caller.org_id if caller is not None else "",
                    key=caller.key_id if caller is not None else "",
                )
            ]
        )

    def call_ended(self, call: Call) -> None:
        """Lets go of the request's body, and keeps the rest until it is told of."""
        call.request.body = b""
        if call.said is not None:
            call.said.body = b""
        self._ended.append((call, self._clock.monotonic() - call.started_at))
        if len(self._ended) >= GATHERED_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def flush(self) -> None:
        """Tells of the calls that have gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ended, self._ended = self._ended, []
        if not ended:
            return
        self._metrics.calls_ended([_counted(call, duration_s) for call, duration_s in ended])
        self._log.write([_line(call, duration_s) for call, duration_s in ended])
        for call, _ in ended:
            self._quoter.learn(call.upstream_model, call.said or call.request, call.usage)


def _counted(call: Call, duration_s: float) -> EndedCall:
    return EndedCall(
        org=str(call.caller.org_id),
        model=call.model_label,
        upstream=call.upstream or "none",
        status=call.status or CLIENT_GONE_STATUS,
        end=str(call.end or REFUSED),
        duration_s=duration_s,
        first_event_s=_first_event_s(call),
        usage=call.usage,
    )


def _line(call: Call, duration_s: float) -> RequestLine:
    first_s = _first_event_s(call)
    usage = call.usage
    return RequestLine(
        at=_rfc3339(call.started_unix_ms + int(duration_s * 1000)),
        id=call.id,
        method="POST",
        route=call.route,
        status=call.status or CLIENT_GONE_STATUS,
        duration_ms=round(duration_s * 1000, 3),
        error=call.error_code,
        org=call.caller.org_id,
        key=call.caller.key_id,
        model=call.request.model,
        upstream=call.upstream,
        upstream_model=call.upstream_model,
        provider_id=call.provider_id,
        streamed=call.request.stream,
        end=call.end or REFUSED,
        finish_reason=call.finish_reason,
        first_event_ms=None if first_s is None else round(first_s * 1000, 3),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        reserved_ucr=call.held_ucr,
        cost_ucr=call.charged_ucr or 0,
    )


def _first_event_s(call: Call) -> float | None:
    return None if call.first_event_at is None else call.first_event_at - call.started_at


def _rfc3339(unix_ms: int) -> str:
    second, ms = divmod(unix_ms, 1000)
    return f"{_second_text(second)}.{ms:03d}Z"


@lru_cache(maxsize=16)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]
