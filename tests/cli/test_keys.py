"""`tollgate key` shows a key once and never again, and revokes it."""

import json
import uuid

import pytest

from gateway.identity.keys import hash_of
from tests.cli.conftest import Tollgate


@pytest.fixture(autouse=True)
def _acme(tollgate: Tollgate) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0


def test_a_new_key_is_printed_alone_on_its_line(tollgate: Tollgate) -> None:
    result = tollgate("key", "create", "Acme", "--name", "web")
    assert result.exit_code == 0
    token = next(line.strip() for line in result.stdout.splitlines() if line.strip().startswith("tg-"))
    assert hash_of(token) is not None
    assert token not in tollgate("key", "list", "Acme").stdout


def test_a_key_keeps_its_models_and_expiry(tollgate: Tollgate) -> None:
    made = json.loads(
        tollgate(
            "key",
            "create",
            "Acme",
            "--name",
            "web",
            "--model",
            "a",
            "--model",
            "b",
            "--expires-at",
            "2100-01-31",
            "--json",
        ).stdout
    )
    assert (made["models"], made["expires_at"]) == (["a", "b"], "2100-01-31T00:00:00Z")
    listed = json.loads(tollgate("key", "list", "Acme", "--json").stdout)["data"]
    assert listed == [{field: value for field, value in made.items() if field != "key"}]
    assert "2100-01-31" in tollgate("key", "list", "Acme").stdout


def test_a_key_has_a_kind_and_networks(tollgate: Tollgate) -> None:
    wish = ("--kind", "management", "--ip-allow", "10.0.0.0/8", "--ip-allow", "2001:DB8::1")
    made = json.loads(tollgate("key", "create", "Acme", "--name", "web", *wish, "--json").stdout)
    assert (made["kind"], made["ip_allow"]) == ("management", ["10.0.0.0/8", "2001:db8::1/128"])
    assert "management" in tollgate("key", "list", "Acme").stdout


def test_a_rotated_key_names_the_one_in_its_place(tollgate: Tollgate) -> None:
    old = json.loads(tollgate("key", "create", "Acme", "--name", "web", "--json").stdout)
    new = json.loads(tollgate("key", "rotate", "Acme", old["id"], "--overlap-s", "60", "--json").stdout)
    assert hash_of(new["key"]) not in (None, hash_of(old["key"]))
    listed = json.loads(tollgate("key", "list", "Acme", "--json").stdout)["data"]
    assert [(key["replaced_by"], key["expires_at"] is None) for key in listed] == [(new["id"], False), (None, True)]
    again = tollgate("key", "rotate", "Acme", old["id"])
    assert (again.exit_code, "replaced before" in again.stderr) == (1, True)
    assert "    tg-" in tollgate("key", "rotate", "Acme", new["id"]).stdout


def test_a_revoked_key_is_listed_as_revoked(tollgate: Tollgate) -> None:
    id = json.loads(tollgate("key", "create", "Acme", "--name", "web", "--json").stdout)["id"]
    assert "Revoked the key web" in tollgate("key", "revoke", "Acme", id).stdout
    assert json.loads(tollgate("key", "list", "Acme", "--json").stdout)["data"][0]["revoked_at"]


def test_an_unknown_key_is_refused(tollgate: Tollgate) -> None:
    assert tollgate("key", "revoke", "Acme", str(uuid.uuid4())).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "Acme"),
        ("create", "Acme", "--name", "web", "--expires-at", "tomorrow"),
        ("create", "Acme", "--name", "web", "--expires-at", "2001-01-01"),
        ("create", "Acme", "--name", "web", "--kind", "root"),
        ("create", "Acme", "--name", "web", "--ip-allow", "10.0.0.1/8"),
        ("rotate", "Acme", "web"),
        ("revoke", "Acme", "web"),
    ],
)
def test_wrong_usage_is_told_from_a_refusal(tollgate: Tollgate, arguments: tuple[str, ...]) -> None:
    assert tollgate("key", *arguments).exit_code == 2
