"""`tollgate migrate` brings a schema up to date, says what it did, and what it would do."""

import json

from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.postgres.migrate import FUNCTIONS, shipped

NAMES = [*(step.name for step in shipped()), FUNCTIONS]


def on(dsn: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"DATABASE_URL": dsn}, catch_exceptions=False)


def test_pending_migrations_are_applied_once(empty_dsn: str) -> None:
    assert on(empty_dsn, "migrate").stdout.splitlines() == [f"applied: {name}" for name in NAMES]
    assert on(empty_dsn, "migrate").stdout == "The schema is up to date.\n"
    assert json.loads(on(empty_dsn, "migrate", "--json").stdout) == {"applied": []}


def test_a_check_changes_nothing_and_tells_by_its_exit_code(empty_dsn: str) -> None:
    for _ in range(2):
        result = on(empty_dsn, "migrate", "--check", "--json")
        assert (result.exit_code, json.loads(result.stdout)) == (1, {"pending": NAMES})
    on(empty_dsn, "migrate")
    assert on(empty_dsn, "migrate", "--check").exit_code == 0


def test_a_command_refuses_a_schema_that_is_behind(empty_dsn: str) -> None:
    result = on(empty_dsn, "org", "list")
    assert result.exit_code == 1
    assert "run `tollgate migrate`" in result.stderr


def test_a_database_that_is_away_is_one_line(dsn: str) -> None:
    result = on(dsn.replace("test_", "nowhere_"), "org", "list")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "database" in result.stderr
