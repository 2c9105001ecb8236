"""deploy/alerts.yml speaks of metrics that there are."""

import re
from pathlib import Path

from gateway.ops.metrics import Metrics

ALERTS = Path(__file__).parents[1] / "deploy" / "alerts.yml"


def test_every_rule_is_about_a_metric_that_there_is() -> None:
    known = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in Metrics().registry.collect()
    }
    rules = re.findall(r"- alert: (\w+)\n\s+expr: (.*)\n", ALERTS.read_text("utf-8"))
    assert len(rules) == ALERTS.read_text("utf-8").count("- alert:")
    for name, expression in rules:
        assert re.search(r"tollgate_\w+", expression), name
        assert set(re.findall(r"tollgate_\w+", expression)) <= known, name
