"""Requests of Anthropic's dialect for the tests of the road, and a provider that is told its stream event by event."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiohttp import web

from gateway.relay.catalogue import Served
from tests.road import upstream_at

MESSAGES: Final = "/v1/messages"
EVENT_STREAM: Final = "text/event-stream; charset=utf-8"
COUNT_TOKENS: Final = "/v1/messages/count_tokens"


def message(model: str = "plain", **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **fields}


def speaking_messages(base_url: str, name: str = "main", **habits: Any) -> Served:
    habits = {"dialects": frozenset({"anthropic-messages"}), "auth_header": "x-api-key", **habits}
    return upstream_at(base_url, name, **habits)


def event(type: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode({"type": type, **fields}))


def start(**usage: object) -> bytes:
    return event("message_start", message={"id": "msg_1", "model": "plain", "usage": usage})


def text(words: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


def delta(**usage: object) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)


OPENED: Final = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
PING: Final = event("ping")
STOP: Final = event("message_stop")
ERROR: Final = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@asynccontextmanager
async def says(
    pieces: Iterable[bytes],
    *,
    then_hang: bool = False,
    path: str = MESSAGES,
    kind: str = "text/event-stream; charset=utf-8",
    heard: list[Any] | None = None,
) -> AsyncIterator[str]:
    """The base URL of a provider that answers every call with these bytes. The bodies it was sent go into `heard`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if heard is not None:
            heard.append(body)
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        if then_hang:
            await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_post(path, answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()
