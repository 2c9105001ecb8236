"""How the suites of this folder are run: the cases that the command line names, or all, as one JSON object."""

import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

Seen = dict[str, Any]


def run_cases(*cases: Callable[[], Seen]) -> None:
    by_name = {case.__name__: case for case in cases}
    seen: dict[str, Seen] = {}
    for name in sys.argv[1:] or by_name:
        try:
            seen[name] = by_name[name]()
        except Exception:  # noqa: BLE001 - the other cases are still worth seeing
            seen[name] = {"crashed": traceback.format_exc()}
    print(json.dumps(seen))


def failure(call: Callable[[], object], *expected: type[Exception]) -> Seen:
    """What an application that catches `expected` is told."""
    try:
        call()
    except expected as error:
        return {
            "raised": type(error).__name__,
            "status": getattr(error, "status_code", None),
            "message": str(error),
        }
    raise AssertionError("the call succeeded")


def replay(**directions: object) -> dict[str, str]:
    """Headers that direct the replay provider; an application of yours sends none."""
    return {f"x-replay-{name.replace('_', '-')}": str(value) for name, value in directions.items()}


BREAKS = replay(output_tokens=20, **{"break": 5})
"""A provider that hangs up in mid-stream: that must never look like the end of an answer."""
