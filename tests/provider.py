"""The replay provider, and what it knows of the calls that reached it."""

import asyncio
import time
from typing import Any, Self

import aiohttp

from gateway.replay.server import ReplayServer
from tests.caller import WITHIN_S


class Provider:
    def __init__(self, server: ReplayServer) -> None:
        self.base_url = server.base_url
        self._url = server.url
        self._session = aiohttp.ClientSession()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def sent(self) -> Any:
        async with self._session.get(f"{self._url}/_sent") as response:
            return await response.json()

    async def forget(self) -> None:
        """What it has sent, and what it keeps."""
        async with self._session.post(f"{self._url}/_sent/reset") as response:
            assert response.status == 204

    async def calls(self, count: int) -> list[Any]:
        """All calls, once there were so many and none is open."""
        page = await self._page(lambda page: len(page["calls"]) >= count and not page["open_calls"])
        calls = page["calls"]
        assert len(calls) == count, calls
        return list(calls)

    async def call(self) -> Any:
        """The only call, once it is over."""
        (call,) = await self.calls(1)
        return call

    async def being_asked(self) -> None:
        """A call has reached it and is under way."""
        await self._page(lambda page: page["open_calls"] > 0)

    async def _page(self, is_so: Any) -> Any:
        give_up_at = time.monotonic() + WITHIN_S
        while not is_so(page := await self.sent()):
            assert time.monotonic() < give_up_at, page
            await asyncio.sleep(0.005)
        return page
