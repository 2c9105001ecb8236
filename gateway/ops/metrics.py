"""Every metric of the process, declared once. Labels come from closed or bounded sets; children are bound once."""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from gateway.core.units import UCR_PER_CREDIT
from gateway.core.usage import Usage
from gateway.ops.histogram import Histogram, Series
from gateway.ops.labels import OTHER, BoundedLabel

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
MODELS_MAX: Final = 200
_EARNED_AT_CALLS: Final = 20
"""Calls after which an organisation that is not listed takes one of the free labels."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_CALL_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_HTTP_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_BATCH_ITEMS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)

_M = TypeVar("_M", bound=MetricWrapperBase)


class EndedCall(msgspec.Struct, frozen=True, gc=False):
    """What is counted of a call. `status` is what the caller got, `org` the organisation's id, `upstream` a configured
    name."""

    org: str
    model: str
    upstream: str
    status: int
    end: str
    duration_s: float
    first_event_s: float | None
    usage: Usage


class _CallSeries(msgspec.Struct, frozen=True):
    requests: Counter
    duration_s: Series
    first_event_s: Series


class TranslatorMetrics:
    """Of one of the processes that translate; the place keeps its number when a process is replaced."""

    def __init__(self, process: str, gauges: tuple[Gauge, Gauge, Gauge, Gauge], restarts: Counter) -> None:
        self.up, self.busy, self.rss_bytes, self.calls = (gauge.labels(process) for gauge in gauges)
        self._restarts = restarts
        self._process = process

    def restarted(self, reason: str) -> None:
        """`reason` is worn, died, silent, memory."""
        self._restarts.labels(self._process, reason).inc()


class Metrics:
    """One registry. The methods are the events that rooms report; each costs a few microseconds.

    `orgs_listed` and the busiest `orgs_top` others have a label of their own, the rest is counted as `other`.
    """

    def __init__(self, *, orgs_listed: Iterable[str] = (), orgs_top: int = 0) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._org = BoundedLabel(listed=orgs_listed, top=orgs_top, earned_at=_EARNED_AT_CALLS)
        self._model = BoundedLabel(top=MODELS_MAX)
        self._children: dict[tuple[object, ...], MetricWrapperBase] = {}
        self._calls: dict[tuple[str, str, str, int, str], _CallSeries] = {}
        self._declare_calls()
        self._declare_credits()
        self._declare_process()
        self._declare_translator()

    def _declare_calls(self) -> None:
        r = self.registry
        by_call = ["org", "model", "upstream", "status", "end"]
        self._requests = Counter("tollgate_requests", "Inference calls that ended.", by_call, registry=r)
        self._call_s = Histogram(
            "tollgate_request_duration_seconds",
            "From a call's arrival to its end.",
            ["model", "upstream", "end"],
            buckets=_CALL_S,
            registry=r,
        )
        self._first_event_s = Histogram(
            "tollgate_time_to_first_event_seconds",
            "From a call's arrival to the first content of its answer.",
            ["model", "upstream"],
            buckets=_CALL_S,
            registry=r,
        )
        self._tokens = Counter(
            "tollgate_tokens",
            "Tokens that calls used. cached and cache_write are parts of prompt, reasoning is a part of output.",
            ["org", "model", "upstream", "kind"],
            registry=r,
        )
        self._http = Histogram(
            "tollgate_http_request_duration_seconds",
            "Requests of every kind as the server saw them, by route pattern.",
            ["route", "method", "status"],
            buckets=_HTTP_S,
            registry=r,
        )

    def _declare_credits(self) -> None:
        r = self.registry
        self._credits = Counter(
            "tollgate_credits",
            "Credits by what happened to them: reserved, settled, released, swept, overage, waived.",
            ["org", "event"],
            registry=r,
        )
        self._refusals = Counter("tollgate_refusals", "Reservations refused.", ["org", "reason"], registry=r)
        self.open_reservations = Gauge(
            "tollgate_open_reservations", "Reservations of this process that have no end yet.", registry=r
        )
        self.waiting_for_credits = Gauge(
            "tollgate_waiting_for_credits", "Calls in the fair queue, waiting for other calls to end.", registry=r
        )
        self.unsettled = Gauge(
            "tollgate_unsettled_endings", "Endings handed over that the database has not committed yet.", registry=r
        )
        self.oldest_snapshot_s = Gauge(
            "tollgate_postgres_oldest_snapshot_seconds",
            "How long the oldest snapshot of the database has been open.",
            registry=r,
        )
        self.outbox_waiting = Gauge(
            "tollgate_outbox_waiting", "Messages that nobody has taken yet; counting ends at 10,001.", registry=r
        )
        self.outbox_oldest_s = Gauge(
            "tollgate_outbox_oldest_seconds", "How long the oldest of them has been waiting.", registry=r
        )
        self.quarantined = Counter(
            "tollgate_quarantined_endings",
            "Endings whose details the database refused; the money is posted.",
            registry=r,
        )
        self._violations = Counter(
            "tollgate_audit_violations",
            "Breaches of the ledger's invariants that the audit found.",
            ["invariant"],
            registry=r,
        )
        self.fenced = Counter("tollgate_fenced", "Times this process found itself declared dead.", registry=r)
        self._batch_items = Histogram(
            "tollgate_ledger_batch_items", "Items in one batch.", ["kind"], buckets=_BATCH_ITEMS, registry=r
        )
        self._batch_s = Histogram(
            "tollgate_ledger_batch_seconds",
            "From sending a batch to its commit.",
            ["kind"],
            buckets=_BATCH_S,
            registry=r,
        )

    def _declare_process(self) -> None:
        r = self.registry
        self.loop_lag_s = Histogram(
            "tollgate_event_loop_lag_seconds", "How late the event loop woke a sleeper.", buckets=_LAG_S, registry=r
        ).labels()
        self.connections = Gauge("tollgate_connections", "Connections of callers that are open.", registry=r)
        self.body_bytes = Gauge("tollgate_request_body_bytes", "Request bodies in memory.", registry=r)
        self.log_lines_dropped = Counter(
            "tollgate_log_lines_dropped", "Log lines lost because their reader was too slow or gone.", registry=r
        )
        self._periodic_failures = Counter(
            "tollgate_periodic_failures", "Runs of periodic work that failed.", ["task"], registry=r
        )

    def _declare_translator(self) -> None:
        r, by = self.registry, ["process"]
        self._translator = (
            Gauge("tollgate_translator_up", "A process that translates takes calls.", by, registry=r),
            Gauge("tollgate_translator_busy", "Calls that are open in it.", by, registry=r),
            Gauge("tollgate_translator_resident_bytes", "Its memory.", by, registry=r),
            Gauge("tollgate_translator_calls", "Calls that it and its predecessors have taken.", by, registry=r),
        )
        self._translator_restarts = Counter(
            "tollgate_translator_restarts", "Processes that were replaced.", [*by, "reason"], registry=r
        )

    # --- events -----------------------------------------------------------------------------------------------------

    def calls_ended(self, calls: Iterable[EndedCall]) -> None:
        """Many at once: what several add to one counter is added once."""
        added: dict[Counter, int] = {}
        for call in calls:
            org, model, upstream = self._org.of(call.org), self._model.of(call.model), call.upstream
            series = self._calls.get((org, model, upstream, call.status, call.end))
            if series is None:
                series = self._series_of(org, model, upstream, call.status, call.end)
            series.duration_s.observe(call.duration_s)
            if call.first_event_s is not None:
                series.first_event_s.observe(call.first_event_s)
            added[series.requests] = added.get(series.requests, 0) + 1
            usage = call.usage
            for kind, tokens in (
                ("prompt", usage.prompt_tokens),
                ("cached", usage.cached_tokens),
                ("cache_write", usage.cache_write_tokens),
                ("output", usage.output_tokens),
                ("reasoning", usage.reasoning_tokens),
            ):
                if tokens:
                    counter = self._bound(self._tokens, org, model, upstream, kind)
                    added[counter] = added.get(counter, 0) + tokens
        for counter, amount in added.items():
            counter.inc(amount)

    def _series_of(self, org: str, model: str, upstream: str, status: int, end: str) -> "_CallSeries":
        series = self._calls[org, model, upstream, status, end] = _CallSeries(
            self._requests.labels(org, model, upstream, str(status), end),
            self._call_s.labels(model, upstream, end),
            self._first_event_s.labels(model, upstream),
        )
        return series

    def http_answered(self, *, route: str, method: str, status: int, duration_s: float) -> None:
        """`route` is the URL table's pattern, never the path that was sent."""
        self._http.labels(route, method if method in _METHODS else OTHER, str(status)).observe(duration_s)

    def credits_moved(self, event: str, *, org: str, ucr: int) -> None:
        """`event` is one of those that the metric's help lists."""
        self._bound(self._credits, self._org.of(org), event).inc(ucr / UCR_PER_CREDIT)

    def refused(self, reason: str, *, org: str) -> None:
        self._bound(self._refusals, self._org.of(org), reason).inc()

    def batch_committed(self, kind: str, *, items: int, duration_s: float) -> None:
        """`kind` is reserve, extend, settle or another of the batcher's few."""
        self._batch_items.labels(kind).observe(items)
        self._batch_s.labels(kind).observe(duration_s)

    def translator(self, process: str) -> TranslatorMetrics:
        return TranslatorMetrics(process, self._translator, self._translator_restarts)

    def violation_found(self, invariant: str) -> None:
        self._bound(self._violations, invariant).inc()

    def periodic_failed(self, task: str) -> None:
        self._bound(self._periodic_failures, task).inc()

    def render(self) -> bytes:
        """The text of a scrape. Takes milliseconds: call it in a thread."""
        return generate_latest(self.registry)

    def _bound(self, metric: _M, *labels: str) -> _M:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child  # type: ignore[return-value]  # What is stored under a metric is its own child.
