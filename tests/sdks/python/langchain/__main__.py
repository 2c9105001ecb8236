"""LangChain's own standard tests of a chat model, through a gateway to a replay provider.

    OPENAI_BASE_URL=… OPENAI_API_KEY=… BROKE_API_KEY=… python -m tests.sdks.python.langchain TestOpenAI
    ANTHROPIC_BASE_URL=… ANTHROPIC_API_KEY=… BROKE_API_KEY=… python -m tests.sdks.python.langchain TestAnthropic

prints one JSON object: for each test whether it passed, or why it was skipped.
"""

import contextlib
import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


class Seen:
    """Collects what pytest reports."""

    def __init__(self) -> None:
        self.tests: dict[str, dict[str, str | bool]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.tests[test] = {"crashed": report.longreprtext}
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.tests[test] = {"skipped": report.longrepr[2].removeprefix("Skipped: ")}
        elif report.when == "call":
            self.tests[test] = {"passed": True}


def main(name: str) -> None:
    seen = Seen()
    arguments = [f"{HERE / 'standard_tests.py'}::{name}", "-c", str(HERE / "pytest.ini"), "--confcutdir", str(HERE)]
    with contextlib.redirect_stdout(sys.stderr):
        status = pytest.main([*arguments, "--quiet", "-p", "no:cacheprovider"], plugins=[seen])
    assert status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), status
    print(json.dumps(seen.tests))


if __name__ == "__main__":
    main(sys.argv[1])
