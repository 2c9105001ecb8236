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
def gateway_config() -> str:
    """TOML; a module that needs other settings has a fixture of this name."""
    return ""


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path, gateway_config: str) -> AsyncIterator[RunningGateway]:
    """A gateway process on a fresh database. It must also stop well, with nothing to complain of."""
    async with running_gateway(
        dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path, config=gateway_config
    ) as running:
        yield running
        if running.process.returncode is None:
            assert await running.stop() == 0
            assert running.said.complaints() == []
