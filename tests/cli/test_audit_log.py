"""`tollgate audit-log` shows what was changed, says whether the log is what was written, and names what is not."""

import asyncio
import json
from typing import Any

import asyncpg

from tests.cli.conftest import Tollgate


async def tamper(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement)
    finally:
        await connection.close()


def verified(tollgate: Tollgate, *arguments: str) -> tuple[int, dict[str, object]]:
    result = tollgate("audit-log", "verify", "--json", *arguments)
    answer: dict[str, object] = json.loads(result.stdout)
    return result.exit_code, answer


def test_a_sound_log_is_said_to_be_sound_and_its_end_is_told(tollgate: Tollgate) -> None:
    for name in ("Acme", "Other"):
        assert tollgate("org", "create", name).exit_code == 0
    exit_code, answer = verified(tollgate)
    assert (exit_code, answer["sound"], answer["position"], answer["waiting"]) == (0, True, 2, 0)
    assert answer["first"] is None
    result = tollgate("audit-log", "verify")
    assert result.exit_code == 0
    assert result.stdout.startswith("The audit log is sound: 2 entries.")
    assert f"2:{answer['hash']}" in result.stdout


def test_entries_are_listed_of_an_organisation_and_of_the_gateway(tollgate: Tollgate, dsn: str) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0
    assert tollgate("user", "create", "Acme", "u-1", "--name", "One").exit_code == 0
    asyncio.run(tamper(dsn, "SELECT set_markup('all', '', 700, NULL, ROW('operator', '', NULL, 'dearer')::origin)"))

    def listed(*arguments: str) -> dict[str, Any]:
        result = tollgate("audit-log", "list", "--json", *arguments)
        assert result.exit_code == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    first = listed("Acme", "--limit", "1")
    assert [entry["action"] for entry in first["data"]] == ["user.created"]
    rest = listed("Acme", "--before", first["before"])
    assert ([entry["action"] for entry in rest["data"]], rest["before"]) == (["org.created"], None)
    assert listed("Acme", "--action", "key.revoked")["data"] == []
    [entry] = listed()["data"]
    assert (entry["action"], entry["after"]["basis_points"], entry["reason"]) == ("markup.set", 700, "dearer")
    assert "markup.set" in tollgate("audit-log", "list").stdout
    assert tollgate("audit-log", "list", "Nobody").exit_code == 1


def test_what_was_changed_is_named(tollgate: Tollgate, dsn: str) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0
    assert verified(tollgate)[0] == 0
    asyncio.run(tamper(dsn, "UPDATE audit_log SET actor = 'nobody'"))
    exit_code, answer = verified(tollgate)
    assert exit_code == 1
    assert isinstance(answer["first"], dict)
    assert (answer["first"]["what"], answer["first"]["position"]) == ("changed", 1)
    result = tollgate("audit-log", "verify")
    assert result.exit_code == 1
    assert result.stdout.startswith("changed at position 1, entry ")


def test_a_note_is_compared(tollgate: Tollgate) -> None:
    assert tollgate("org", "create", "Acme").exit_code == 0
    _, answer = verified(tollgate)
    assert tollgate("org", "create", "Other").exit_code == 0
    assert verified(tollgate, "--noted", f"1:{answer['hash']}")[0] == 0
    exit_code, answer = verified(tollgate, "--noted", f"1:{'0' * 64}")
    assert exit_code == 1
    assert isinstance(answer["first"], dict)
    assert answer["first"]["what"] == "end_differs"


def test_a_note_out_of_form_is_wrong_usage(tollgate: Tollgate) -> None:
    for note in ("x", "0:" + "0" * 64, "1:abc"):
        assert tollgate("audit-log", "verify", "--noted", note).exit_code == 2
