"""A short run of `make simulate`: one accident of each kind. SIMULATE_SEED repeats one."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.accidents import ACCIDENTS
from tests.simulation.run import simulate, temporary_folder

WITHIN_S: Final = 240.0


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_folder() as folder:
        yield folder


async def test_each_accident_once_and_the_books_hold(folder: Path) -> None:
    seed = int(os.environ.get("SIMULATE_SEED") or secrets.randbelow(2**32))
    print(f"SIMULATE_SEED={seed}")
    async with asyncio.timeout(WITHIN_S):
        report = await simulate(seconds=1, seed=seed, folder=folder, say=print)
    assert report.wrong == []
    assert report.accidents == dict.fromkeys(ACCIDENTS, 1)
    assert {"add", "deduct", "settle", "take"} <= set(report.operations)
