"""The command as the shell sees it."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from gateway import __version__
from gateway.cli import main


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, f"tollgate {__version__}"),
        (["--help"], 0, "serve"),
        (["org", "--help"], 0, "suspend"),
        (["nothing"], 2, "No such command"),
        (["org", "nothing"], 2, "No such command"),
        (["org", "create"], 2, "Missing argument"),
    ],
)
def test_usage_is_told_by_words_and_exit_code(arguments: list[str], code: int, said: str) -> None:
    result = CliRunner().invoke(main, arguments, prog_name="tollgate")
    assert (result.exit_code, said in result.output) == (code, True)


def test_the_package_runs_as_a_command_and_its_output_can_be_piped(dsn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "org", "create", "Größe", "--json"],
        capture_output=True,
        env={"DATABASE_URL": dsn, "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert '"name": "Größe"'.encode() in done.stdout
