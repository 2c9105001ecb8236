"""Commands find their database: the one that is named, the data folder's, started for the time or shared."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.cli.place import default_data_dir
from gateway.postgres.embedded import EmbeddedPostgres


def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, env={"DATABASE_URL": None, **(env or {})}, catch_exceptions=False)


def is_running(data_dir: Path) -> bool:
    return (data_dir / "postgres" / "cluster" / "postmaster.pid").exists()


@pytest.fixture
def data_dir(open_folder: Path, request: pytest.FixtureRequest) -> Path:
    return open_folder / f"data-{request.node.name[:24]}"


def test_where_nothing_runs_a_database_is_made_started_and_stopped_again(data_dir: Path) -> None:
    made = run("org", "create", "Acme", "--data-dir", str(data_dir), "--json")
    assert made.exit_code == 0
    assert "making a PostgreSQL" in made.stderr
    assert not is_running(data_dir)
    again = run("org", "list", "--data-dir", str(data_dir), "--json")
    assert json.loads(again.stdout)["data"] == [json.loads(made.stdout)]
    assert not is_running(data_dir)


def test_beside_a_running_gateway_its_database_is_used_and_left_running(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir / "postgres", durable=False)
    server.start_blocking()
    try:
        behind = run("org", "list", "--data-dir", str(data_dir))
        assert (behind.exit_code, "tollgate migrate" in behind.stderr) == (1, True)
        assert run("migrate", "--data-dir", str(data_dir)).exit_code == 0
        assert run("org", "create", "Acme", "--data-dir", str(data_dir)).exit_code == 0
        assert is_running(data_dir)
    finally:
        server.stop_blocking()
    assert not is_running(data_dir)


def test_a_folder_that_is_named_goes_before_database_url(data_dir: Path) -> None:
    result = run(
        "migrate", "--data-dir", str(data_dir), env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    )
    assert result.exit_code == 0
    assert data_dir.exists()


def test_the_default_folder_is_roots_or_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir({"XDG_DATA_HOME": "/elsewhere"}) == Path("/var/lib/tollgate")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_dir({"XDG_DATA_HOME": "/elsewhere"}) == Path("/elsewhere/tollgate")
    for given in ({}, {"XDG_DATA_HOME": ""}, {"XDG_DATA_HOME": "relative"}):
        assert default_data_dir(given) == tmp_path / ".local" / "share" / "tollgate"
