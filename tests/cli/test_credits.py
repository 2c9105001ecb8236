"""`tollgate credits` grants exactly, shows the balance and what changed it."""

import json

import pytest

from tests.cli.conftest import Tollgate


@pytest.fixture(autouse=True)
def _acme(tollgate: Tollgate) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0


def test_a_grant_says_what_can_be_spent_now(tollgate: Tollgate) -> None:
    result = tollgate("credits", "grant", "Acme", "1234.000001", "--type", "PURCHASE", "--reason", "WELCOME_BONUS")
    assert result.exit_code == 0
    assert "Granted 1,234.000001 credits to Acme, for good." in result.stdout
    assert "It can spend 1,234.000001 now." in result.stdout


def test_the_balance_is_in_microcredits_and_decimals(tollgate: Tollgate) -> None:
    tollgate("credits", "grant", "Acme", "2.5")
    balance = json.loads(tollgate("credits", "balance", "Acme", "--json").stdout)
    del balance["organization_id"]
    assert balance == {
        "balance_ucr": 2_500_000,
        "held_ucr": 0,
        "available_ucr": 2_500_000,
        "receivable_ucr": 0,
        "balance": "2.500000",
        "held": "0.000000",
        "available": "2.500000",
        "receivable": "0.000000",
    }
    assert "2.500000" in tollgate("credits", "balance", "Acme").stdout


def test_the_history_is_latest_first_with_reasons(tollgate: Tollgate) -> None:
    tollgate("credits", "grant", "Acme", "1", "--description", "first")
    tollgate(
        "credits", "grant", "Acme", "3", "--description", "[second]", "--reason", "REFERRAL_BONUS", "--type", "BONUS"
    )
    history = json.loads(tollgate("credits", "history", "Acme", "--json").stdout)
    assert [(row["amount"], row["reason"], row["transaction_type"]) for row in history["data"]] == [
        ("3.000000", "REFERRAL_BONUS", "BONUS"),
        ("1.000000", "MANUAL_ADJUSTMENT", "ADJUSTMENT"),
    ]
    assert history["total"] == 2
    smallest = tollgate("credits", "history", "Acme", "--order-by", "amount", "--order-direction", "asc", "--json")
    assert json.loads(smallest.stdout)["data"][0]["amount"] == "1.000000"
    people = tollgate("credits", "history", "Acme", "--offset", "7").stdout
    assert "Nothing from row 8 on: there are 2." in people
    assert "REFERRAL_BONUS: [second]" in tollgate("credits", "history", "Acme").stdout


def test_a_grant_may_expire(tollgate: Tollgate) -> None:
    result = tollgate("credits", "grant", "Acme", "1", "--expires-at", "2100-01-31T12:00:00+02:00", "--priority", "0")
    assert "until 2100-01-31 10:00:00Z." in result.stdout


@pytest.mark.parametrize("amount", ["0", "-1", "1e999", "NaN", "0.0000001", "9007199254.740992", "1_0", "many"])
def test_an_amount_that_is_none_is_wrong_usage(tollgate: Tollgate, amount: str) -> None:
    result = tollgate("credits", "grant", "Acme", "--", amount)
    assert result.exit_code == 2
    assert "AMOUNT" in result.stderr


@pytest.mark.parametrize(
    "options", [("--type", "GIFT"), ("--reason", "because"), ("--priority", "-1"), ("--expires-at", "2001-01-01")]
)
def test_wrong_options_are_wrong_usage(tollgate: Tollgate, options: tuple[str, ...]) -> None:
    assert tollgate("credits", "grant", "Acme", "1", *options).exit_code == 2


def test_credits_past_the_largest_balance_are_refused(tollgate: Tollgate) -> None:
    assert tollgate("credits", "grant", "Acme", "9007199254.740991").exit_code == 0
    result = tollgate("credits", "grant", "Acme", "0.000001")
    assert result.exit_code == 1
    assert "largest amount" in result.stderr
