from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.running import RunningGateway, running_gateway


@pytest.fixture
async def replay() -> AsyncIterator[ReplayServer]:
    """The provider behind the gateway."""
    async with ReplayServer() as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """A gateway process on a fresh database."""
    async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path) as running:
        yield running
