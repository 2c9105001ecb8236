"""`tollgate audit --full`, run as an operator runs it."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

from tests.e2e.running import REPOSITORY

AUDIT_WITHIN_S: Final = 60.0


async def audit(dsn: str | None = None, *, data_dir: Path | None = None) -> list[dict[str, Any]]:
    """The breaches it finds; empty where the books are sound."""
    assert (dsn is None) != (data_dir is None)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    if dsn is not None:
        environment["DATABASE_URL"] = dsn
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "audit", "--full", "--json"),
        *(() if data_dir is None else ("--data-dir", str(data_dir))),
        cwd=REPOSITORY,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(AUDIT_WITHIN_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode in (0, 1), errors.decode()
    violations: list[dict[str, Any]] = json.loads(output)["violations"]
    assert process.returncode == bool(violations)
    return violations
