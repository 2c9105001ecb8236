"""`tollgate org` creates, lists, suspends and resumes, for people and for programs."""

import json

from tests.cli.conftest import Tollgate


def made(tollgate: Tollgate, name: str) -> str:
    id = json.loads(tollgate("org", "create", name, "--json").stdout)["id"]
    assert isinstance(id, str)
    return id


def test_a_new_org_is_shown_with_what_to_do_next(tollgate: Tollgate) -> None:
    result = tollgate("org", "create", "Acme [bold]& Sons")
    assert result.exit_code == 0
    assert "Acme [bold]& Sons" in result.stdout
    id = json.loads(tollgate("org", "list", "--json").stdout)["data"][0]["id"]
    assert f"tollgate key create {id}" in result.stdout


def test_a_new_org_can_be_granted_credits_at_once(tollgate: Tollgate) -> None:
    id = made(tollgate, "Acme")
    assert json.loads(tollgate("credits", "grant", id, "5", "--json").stdout)["available_ucr"] == 5_000_000


def test_orgs_are_listed_in_pages(tollgate: Tollgate) -> None:
    ids = [made(tollgate, f"org {number}") for number in range(3)]
    page = json.loads(tollgate("org", "list", "--limit", "2", "--offset", "1", "--json").stdout)
    assert ([org["id"] for org in page["data"]], page["total"]) == (ids[1:], 3)
    people = tollgate("org", "list", "--limit", "2").stdout
    assert ids[0] in people
    assert "1 to 2 of 3." in people


def test_an_empty_list_says_so(tollgate: Tollgate) -> None:
    assert "None yet." in tollgate("org", "list").stdout


def test_an_org_is_suspended_and_resumed_by_its_name(tollgate: Tollgate) -> None:
    made(tollgate, "Acme")
    assert "tollgate org resume" in tollgate("org", "suspend", "Acme").stdout
    assert json.loads(tollgate("org", "list", "--json").stdout)["data"][0]["status"] == "suspended"
    assert json.loads(tollgate("org", "resume", "Acme", "--json").stdout)["status"] == "active"


def test_an_unknown_org_is_refused_in_one_line(tollgate: Tollgate) -> None:
    result = tollgate("org", "suspend", "Nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "tollgate: No organisation is called 'Nobody'.\n"


def test_a_name_that_two_orgs_bear_is_refused_with_their_ids(tollgate: Tollgate) -> None:
    ids = [made(tollgate, "Acme"), made(tollgate, "Acme")]
    result = tollgate("org", "suspend", "Acme")
    assert result.exit_code == 1
    assert all(id in result.stderr for id in ids)


def test_a_name_that_is_no_line_is_wrong_usage(tollgate: Tollgate) -> None:
    for name in ("", "two\nlines", "x" * 201):
        assert tollgate("org", "create", name).exit_code == 2
