"""Upstreams of the price map's own providers, for dialects whose models have kinds, and a provider of fixed answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.relay.catalogue import Served
from gateway.upstream.providers import PROVIDERS
from tests.road import upstream_at

EMBEDDINGS: Final = "/v1/embeddings"
EMBED: Final = "/v1/embed"
COMPLETIONS: Final = "/v1/completions"
MODERATIONS: Final = "/v1/moderations"
RERANK: Final = "/v1/rerank"


def upstream_of(provider: str, base_url: str, **habits: Any) -> Served:
    """All of the provider's priced models."""
    habits = {"provider": provider, "dialects": frozenset(PROVIDERS[provider].dialects), **habits}
    return Served(upstream_at(base_url, habits.pop("name", provider), **habits).upstream)


@asynccontextmanager
async def answers(body: Mapping[str, Any] | bytes, *, path: str, status: int = 200) -> AsyncIterator[str]:
    """The base URL of a provider that answers every call of the path with these bytes."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return web.Response(status=status, body=data, content_type="application/json")

    app = web.Application()
    app.router.add_post(path, answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
