"""`tollgate user` and `tollgate policy`: people, what they begin with, and whose credits pay first."""

import json

import pytest

from tests.cli.conftest import Tollgate


@pytest.fixture(autouse=True)
def _acme(tollgate: Tollgate) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0


def test_a_user_is_created_with_what_the_rule_gives(tollgate: Tollgate) -> None:
    tollgate("credits", "grant", "Acme", "100")
    assert tollgate("policy", "set", "Acme", "--allocation", "member=transfer:30").exit_code == 0
    made = json.loads(tollgate("user", "create", "Acme", "u-7", "--name", "Ada [bold]", "--json").stdout)
    assert (made["external_id"], made["role"], made["status"], made["email"]) == ("u-7", "member", "active", None)
    assert "Ada [bold] is a member of Acme" in tollgate("user", "create", "Acme", "u-7", "--name", "Ada [bold]").stdout
    moved = json.loads(tollgate("credits", "history", "Acme", "--json").stdout)["data"]
    assert sorted((row["kind"], row["amount"]) for row in moved) == [
        ("GRANT", "100.000000"),
        ("TRANSFER_IN", "30.000000"),
        ("TRANSFER_OUT", "-30.000000"),
    ]
    tollgate("policy", "set", "Acme", "--allocation", "member=transfer:71")
    refused = tollgate("user", "create", "Acme", "u-8", "--name", "Bob")
    assert refused.exit_code == 1
    assert "the user was not created" in refused.stderr


def test_users_are_listed_in_pages(tollgate: Tollgate) -> None:
    for number in range(3):
        tollgate("user", "create", "Acme", f"u-{number}", "--name", "Ada", "--role", "viewer", "--email", "a@b.test")
    page = json.loads(tollgate("user", "list", "Acme", "--limit", "2", "--offset", "1", "--json").stdout)
    assert ([user["external_id"] for user in page["data"]], page["total"]) == (["u-1", "u-2"], 3)
    assert "1 to 3 of 3." in tollgate("user", "list", "Acme").stdout


def test_a_policy_is_shown_and_changed(tollgate: Tollgate) -> None:
    shown = json.loads(tollgate("policy", "show", "Acme", "--json").stdout)
    del shown["organization_id"]
    assert shown == {
        "payment_order": "allocation_first",
        "time_zone": "UTC",
        "unsupported_fields": "default",
        "allocation_rules": [],
    }
    assert "empty account" in tollgate("policy", "show", "Acme").stdout
    changed = tollgate(
        "policy", "set", "Acme", "--payment-order", "pool_first", "--time-zone", "Europe/Berlin",
        "--allocation", "member=quota:1.5/month", "--allocation", "viewer=transfer:2", "--json",
    )  # fmt: skip
    view = json.loads(changed.stdout)
    assert (view["payment_order"], view["time_zone"]) == ("pool_first", "Europe/Berlin")
    assert view["allocation_rules"] == [
        {"role": "member", "kind": "quota", "amount": "1.500000", "period": "month"},
        {"role": "viewer", "kind": "transfer", "amount": "2.000000", "period": None},
    ]
    people = tollgate("policy", "set", "Acme", "--no-allocation", "member").stdout
    assert "pool_first" in people
    assert "member" not in people


@pytest.mark.parametrize(
    "options",
    [
        ("--payment-order", "mine"),
        ("--allocation", "boss=transfer:1"),
        ("--allocation", "member=gift:1"),
        ("--allocation", "member=quota:1"),
        ("--allocation", "member=transfer:1/month"),
        ("--allocation", "member=transfer:0"),
        ("--allocation", "member"),
    ],
)
def test_a_policy_that_makes_no_sense_is_wrong_usage(tollgate: Tollgate, options: tuple[str, ...]) -> None:
    assert tollgate("policy", "set", "Acme", *options).exit_code == 2


def test_an_unknown_zone_is_refused(tollgate: Tollgate) -> None:
    refused = tollgate("policy", "set", "Acme", "--time-zone", "Europe/Atlantis")
    assert refused.exit_code == 1
    assert "IANA name" in refused.stderr
