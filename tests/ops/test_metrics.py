from gateway.core.usage import Usage
from gateway.ops.metrics import EndedCall, Metrics


def call(metrics: Metrics, *, org: str = "acme", usage: Usage | None = None) -> None:
    metrics.calls_ended(
        [
            EndedCall(
                org=org,
                model="gpt-5",
                upstream="openai",
                status=200,
                end="ok",
                duration_s=1.5,
                first_event_s=0.2,
                usage=usage or Usage(),
            )
        ]
    )


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_call_is_counted_by_org_model_upstream_status_and_end() -> None:
    metrics = Metrics(orgs_listed=["acme"])
    call(metrics)
    call(metrics)
    labels = {"model": "gpt-5", "upstream": "openai"}
    assert sample(metrics, "tollgate_requests_total", org="acme", status="200", end="ok", **labels) == 2
    assert sample(metrics, "tollgate_request_duration_seconds_sum", end="ok", **labels) == 3
    assert sample(metrics, "tollgate_time_to_first_event_seconds_count", **labels) == 2


def test_tokens_are_counted_by_kind() -> None:
    metrics = Metrics(orgs_listed=["acme"])
    call(metrics, usage=Usage(prompt_tokens=100, cached_tokens=40, output_tokens=7))
    labels = {"org": "acme", "model": "gpt-5", "upstream": "openai"}
    assert sample(metrics, "tollgate_tokens_total", kind="prompt", **labels) == 100
    assert sample(metrics, "tollgate_tokens_total", kind="cached", **labels) == 40
    assert sample(metrics, "tollgate_tokens_total", kind="output", **labels) == 7
    assert sample(metrics, "tollgate_tokens_total", kind="reasoning", **labels) is None


def test_orgs_without_a_label_of_their_own_are_counted_together() -> None:
    metrics = Metrics(orgs_listed=["acme"])
    for org in ("acme", "umbrella", "initech"):
        metrics.credits_moved("settled", org=org, ucr=2_500_000)
    assert sample(metrics, "tollgate_credits_total", org="acme", event="settled") == 2.5
    assert sample(metrics, "tollgate_credits_total", org="other", event="settled") == 5


def test_an_invented_method_does_not_become_a_label() -> None:
    metrics = Metrics()
    metrics.http_answered(route="/v1/models", method="BREW", status=405, duration_s=0.001)
    labels = {"route": "/v1/models", "method": "other", "status": "405"}
    assert sample(metrics, "tollgate_http_request_duration_seconds_count", **labels) == 1


def test_a_scrape_holds_what_happened_and_the_process() -> None:
    metrics = Metrics()
    metrics.batch_committed("settle", items=12, duration_s=0.004)
    metrics.refused("busy", org="acme")
    metrics.violation_found("1")
    metrics.periodic_failed("sweeper")
    metrics.open_reservations.set(3)
    text = metrics.render().decode()
    for line in (
        'tollgate_ledger_batch_items_sum{kind="settle"} 12.0',
        'tollgate_refusals_total{org="other",reason="busy"} 1.0',
        'tollgate_audit_violations_total{invariant="1"} 1.0',
        'tollgate_periodic_failures_total{task="sweeper"} 1.0',
        "tollgate_open_reservations 3.0",
        "process_cpu_seconds_total",
    ):
        assert line in text


def test_two_gateways_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    call(first)
    assert "tollgate_requests_total{" not in second.render().decode()
