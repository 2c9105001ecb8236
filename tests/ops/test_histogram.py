"""Our histogram says what prometheus_client's own says of the same observations."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gateway.ops.histogram import Histogram

BUCKETS = (0.5, 1, 2.5)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.5, 0.6, 1.0, 2.0, 2.5, 7.0])), min_size=1))
def test_a_scrape_reads_like_that_of_the_library(observed: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("wait_seconds", "How long.", ["kind"], buckets=BUCKETS, registry=ours)
    model = prometheus_client.Histogram("wait_seconds", "How long.", ["kind"], buckets=BUCKETS, registry=theirs)
    for kind, seconds in observed:
        histogram.labels(kind).observe(seconds)
        model.labels(kind).observe(seconds)

    def lines(registry: CollectorRegistry) -> list[str]:
        return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)

    assert lines(ours) == lines(theirs)
