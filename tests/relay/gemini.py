"""Requests of Gemini's dialects for the tests of the road, and a provider that is told its stream event by event."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from gateway.relay.catalogue import Served
from tests.road import upstream_at


def path(action: str = "generateContent", model: str = "plain", query: str = "", version: str = "v1beta") -> str:
    return f"/{version}/models/{model}:{action}{'?' * bool(query)}{query}"


def stream(model: str = "plain") -> str:
    return path("streamGenerateContent", model, "alt=sse")


def generate(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts) or [{"text": "hi"}]}], **fields}


def limited(tokens: int = 100, **config: Any) -> dict[str, Any]:
    return generate(generationConfig={"maxOutputTokens": tokens, **config})


def speaking_gemini(base_url: str, name: str = "main", **habits: Any) -> Served:
    dialects = frozenset({"gemini-generate", "gemini-embed"})
    return upstream_at(base_url, name, **{"dialects": dialects, "auth_header": "x-goog-api-key", **habits})


def event(**chunk: Any) -> bytes:
    return b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n"


def says_part(*parts: dict[str, Any], finish: str | None = None, index: int = 0, **usage: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    told = {"usageMetadata": usage} if usage else {}
    return event(candidates=[candidate], **told, modelVersion="plain-001", responseId="r1")


def text(words: str, **usage: Any) -> bytes:
    return says_part({"text": words}, **usage)


def end(**usage: Any) -> bytes:
    return says_part({"text": ""}, finish="STOP", **usage)


ERROR = event(error={"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"})


@asynccontextmanager
async def says(
    pieces: Iterable[bytes], *, content_type: str = "text/event-stream", then_hang: bool = False
) -> AsyncIterator[str]:
    """The base URL of a provider that answers every call with these bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"content-type": content_type})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if then_hang:
            await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_post("/v1beta/{rest:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1beta"
    finally:
        await runner.cleanup()
