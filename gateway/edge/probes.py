"""/livez, /readyz and /metrics: for the machines that watch this one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from gateway.edge.answers import json_answer
from gateway.edge.auth import bearer_token
from gateway.edge.rooms import OBSERVER
from gateway.identity.shared_key import SharedKey
from gateway.ops.clock import Clock
from gateway.ops.metrics import CONTENT_TYPE, Metrics

_FRESH_S: Final = 1.0


class Readiness:
    """Whether this process should be sent calls. `ask_database` says what is wrong with the database, or None; it is
    asked at most once a second, whoever asks us how often.
    """

    def __init__(self, ask_database: Callable[[], Awaitable[str | None]], *, clock: Clock) -> None:
        self._ask_database = ask_database
        self._clock = clock
        self._asking = asyncio.Lock()
        self._trouble: str | None = None
        self._stale_at_s = float("-inf")
        self.shutting_down = False

    async def troubles(self) -> dict[str, str]:
        """What is not ready, by name, and why; empty: all is."""
        troubles = {}
        if self.shutting_down:
            troubles["process"] = "is shutting down"
        async with self._asking:
            if self._clock.monotonic() >= self._stale_at_s:
                self._trouble = await self._ask_database()
                self._stale_at_s = self._clock.monotonic() + _FRESH_S
        if self._trouble is not None:
            troubles["database"] = self._trouble
        return troubles


class Scrape:
    """The metrics as text. Rendering takes milliseconds, so it is done in a thread, one at a time."""

    def __init__(self, metrics: Metrics, *, key: SharedKey | None) -> None:
        self.key = key
        """What /metrics asks for; None: anyone may read."""
        self._metrics = metrics
        self._rendering = asyncio.Lock()

    async def text(self) -> bytes:
        async with self._rendering:
            return await asyncio.to_thread(self._metrics.render)


READINESS: Final = web.AppKey("readiness", Readiness)
SCRAPE: Final = web.AppKey("scrape", Scrape)


async def livez(request: web.Request) -> web.StreamResponse:
    return json_answer({"status": "ok"})


async def readyz(request: web.Request) -> web.StreamResponse:
    troubles = await request.app[READINESS].troubles()
    if troubles:
        return json_answer({"status": "not ready", "troubles": troubles}, status=503)
    return json_answer({"status": "ok"})


async def metrics(request: web.Request) -> web.StreamResponse:
    scrape = request.app[SCRAPE]
    if scrape.key is not None:
        scrape.key.admit(bearer_token(request, whose=scrape.key.whose))
    request.app[OBSERVER].flush()
    return web.Response(body=await scrape.text(), headers={"content-type": CONTENT_TYPE})
