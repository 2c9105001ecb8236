"""The command, run as a person runs it: in a process's own loop, with its output and exit code looked at."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

Tollgate = Callable[..., Result]


@pytest.fixture
def tollgate(dsn: str) -> Tollgate:
    """`tollgate("org", "create", "Acme")` on the test's own database."""

    def run(*arguments: str, env: dict[str, str | None] | None = None) -> Result:
        return CliRunner().invoke(main, arguments, env={"DATABASE_URL": dsn, **(env or {})}, catch_exceptions=False)

    return run
