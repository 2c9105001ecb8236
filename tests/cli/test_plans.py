"""`tollgate plan` lists plans, subscribes to them, changes, cancels and resumes."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tollgate


@pytest.fixture(autouse=True)
def _acme(tollgate: Tollgate) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0


def available(tollgate: Tollgate) -> str:
    return str(json.loads(tollgate("credits", "balance", "Acme", "--json").stdout)["available"])


def test_the_shipped_plans_are_listed(tollgate: Tollgate) -> None:
    listed = json.loads(tollgate("plan", "list", "--json").stdout)["data"]
    assert [plan["id"] for plan in listed] == ["explorer", "growth", "pro", "enterprise"]
    assert "20,000.000000" in tollgate("plan", "list").stdout


def test_an_org_subscribes_changes_cancels_and_resumes(tollgate: Tollgate) -> None:
    told = tollgate("plan", "subscribe", "Acme", "explorer")
    assert told.exit_code == 0
    assert "Subscribed Acme to Explorer (400.000000 credits a month)." in told.stdout
    assert available(tollgate) == "400.000000"
    later = json.loads(tollgate("plan", "change", "Acme", "growth", "--at-period-end", "--json").stdout)
    assert (later["plan"]["id"], later["next_plan"]["id"], later["cancels"]) == ("explorer", "growth", False)
    assert (
        "has Growth (2,000.000000 credits a month)."
        in tollgate("plan", "change", "Acme", "growth", "--no-proration").stdout
    )
    assert available(tollgate) == "2000.000000"
    assert "tollgate plan resume" in tollgate("plan", "cancel", "Acme").stdout
    assert "Acme keeps Growth" in tollgate("plan", "resume", "Acme").stdout
    assert "has ended" in tollgate("plan", "cancel", "Acme", "--now").stdout
    assert available(tollgate) == "0.000000"
    history = json.loads(tollgate("credits", "history", "Acme", "--json").stdout)["data"]
    assert [row["kind"] for row in history] == ["EXPIRY", "VOID", "GRANT", "GRANT"]


def test_a_plan_of_the_operators_own(tollgate: Tollgate, tmp_path: Path) -> None:
    (tmp_path / "tollgate.toml").write_text('plans_file = "plans.toml"')
    (tmp_path / "plans.toml").write_text('[[plans]]\nid = "own"\nname = "Own"\ncredits = "1.5"\n')
    config = ("--config", str(tmp_path / "tollgate.toml"))
    assert tollgate("plan", "subscribe", "Acme", "own", *config).exit_code == 0
    assert available(tollgate) == "1.500000"
    unknown = tollgate("plan", "change", "Acme", "explorer", *config)
    assert (unknown.exit_code, unknown.stderr) == (
        1,
        "tollgate: There is no plan 'explorer'; there are own. Nothing was changed.\n",
    )
    (tmp_path / "plans.toml").write_text("plan = 1")
    assert "plans.toml:1: plan: unknown key" in tollgate("plan", "list", *config).stderr


def test_what_cannot_be_done_is_refused_in_one_line(tollgate: Tollgate) -> None:
    for command in (("change", "Acme", "growth"), ("cancel", "Acme"), ("resume", "Acme")):
        refused = tollgate("plan", *command)
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "nothing was changed" in refused.stderr
    tollgate("plan", "subscribe", "Acme", "explorer")
    assert "Change its plan instead" in tollgate("plan", "subscribe", "Acme", "growth").stderr
    assert tollgate("plan", "change", "Acme", "growth", "--at-period-end", "--no-proration").exit_code == 2
