import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from gateway.upstream.client import UpstreamClient
from tests.fakes.hostile_upstream import HostileUpstream, server_tls


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Sockets end differently on the two loops: the product runs on uvloop, other people's programs on asyncio."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def hostile() -> AsyncIterator[HostileUpstream]:
    async with HostileUpstream() as server:
        yield server


@pytest.fixture
async def tls_hostile() -> AsyncIterator[HostileUpstream]:
    async with HostileUpstream(tls=server_tls()) as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[UpstreamClient]:
    async with UpstreamClient() as upstream_client:
        yield upstream_client
