"""What is said of a request once it is over: one log line, and the metrics."""

from datetime import UTC, datetime

from gateway.ops.clock import Clock
from gateway.ops.log import RequestLine, RequestLog
from gateway.ops.metrics import Metrics
from gateway.relay.call import Call

CLIENT_GONE_STATUS = 499
"""nginx's status for a caller that left before it was answered; only ever logged."""


class Observer:
    """Writes the line and moves the metrics of each call that reached its reservation or was refused one."""

    def __init__(self, *, log: RequestLog, metrics: Metrics, clock: Clock) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock

    def call_ended(self, call: Call, *, method: str, route: str) -> None:
        duration_s = self._clock.monotonic() - call.started_at
        first_s = None if call.first_event_at is None else call.first_event_at - call.started_at
        status = call.status or CLIENT_GONE_STATUS
        end = call.end.value if call.end is not None else "refused"
        org = str(call.caller.org_id)
        usage = call.usage
        self._metrics.call_ended(
            org=org,
            model=call.model_label,
            upstream=call.upstream or "none",
            status=status,
            end=end,
            duration_s=duration_s,
            first_event_s=first_s,
            usage=usage,
        )
        self._log.write(
            RequestLine(
                at=datetime.fromtimestamp(call.started_unix_ms / 1000 + duration_s, UTC).isoformat(
                    timespec="milliseconds"
                ),
                id=str(call.id),
                method=method,
                route=route,
                status=status,
                duration_ms=round(duration_s * 1000, 3),
                error=call.error_code,
                org=org,
                key=str(call.caller.key_id),
                model=call.request.model,
                upstream=call.upstream,
                upstream_model=call.upstream_model,
                provider_id=call.provider_id,
                streamed=call.request.stream,
                end=end,
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
        )
