from collections.abc import AsyncIterator

import pytest

from gateway.upstream.client import UpstreamClient
from tests.fakes.hostile_upstream import HostileUpstream


@pytest.fixture
async def hostile() -> AsyncIterator[HostileUpstream]:
    async with HostileUpstream() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    async with UpstreamClient() as upstream_client:
        yield upstream_client
