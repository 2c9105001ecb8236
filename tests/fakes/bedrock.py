"""Bedrock's Converse on a local port: what it was asked, and answers as a test says, in Amazon's event stream too."""

import asyncio
import json
import struct
import zlib
from collections.abc import Iterable
from typing import Any, Self

from aiohttp import web

WORDS = ("A ", "toll ", "is ", "paid.")
EVENT_STREAM = "application/vnd.amazon.eventstream"


def usage(prompt: int, output: int, **more: int) -> dict[str, int]:
    return {"inputTokens": prompt, "outputTokens": output, "totalTokens": prompt + output, **more}


def frame(kind: str, payload: Any, *, message: str = "event") -> bytes:
    """Source: "Event stream encoding" in the reference of Amazon Transcribe, which Bedrock shares."""
    headers = b""
    name = ":event-type" if message == "event" else ":exception-type"
    for key, value in ((name, kind), (":content-type", "application/json"), (":message-type", message)):
        headers += struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    start = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return start + struct.pack("!I", zlib.crc32(start))


class Bedrock:
    """Asked at `url`. Set what it shall do before asking it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.pictures = 0
        """Requests for anything but a model: what the translator must never make."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.usage: dict[str, int] | None = usage(7, 5)
        self.hold_after: int | None = None
        """So many words are sent, then it waits for `go_on`."""
        self.go_on = asyncio.Event()
        self.held = asyncio.Event()
        self.left = asyncio.Event()
        """A held stream was given up by the other side."""
        self.break_off = False
        """After the words the stream is cut."""
        self.hang_up = False
        """The connection is closed in place of an answer."""
        self.exception = False
        """After the words the stream has an exception in place of its end."""
        self.played: bytes | None = None
        """Sent in place of an answer of its own."""
        self.open = 0
        self.open_most = 0
        self.words: tuple[str, ...] = WORDS
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/model/{model}/converse", self._whole)
        app.router.add_post("/model/{model}/converse-stream", self._stream)
        app.router.add_route("*", "/{any:.*}", self._picture)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go_on.set()
        await self._runner.cleanup()

    async def _picture(self, _: web.Request) -> web.Response:
        self.pictures += 1
        return web.Response(status=404)

    async def _whole(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        if self.hang_up:
            assert request.transport is not None
            request.transport.close()
        if self.status != 200:
            return self._refusal()
        if self.hold_after is not None:
            self.open += 1
            self.open_most = max(self.open, self.open_most)
            self.held.set()
            await self.go_on.wait()
            self.open -= 1
        if self.played is not None:
            return web.Response(body=self.played, content_type="application/json")
        message = {"role": "assistant", "content": [{"text": "".join(self.words)}]}
        answer = {"output": {"message": message}, "stopReason": "end_turn", "metrics": {"latencyMs": 1}}
        return web.json_response({**answer, **({"usage": self.usage} if self.usage is not None else {})})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        if self.hang_up:
            assert request.transport is not None
            request.transport.close()
        if self.status != 200:
            return self._refusal()
        response = web.StreamResponse(headers={"content-type": EVENT_STREAM})
        await response.prepare(request)
        try:
            async for piece in self._pieces():
                await response.write(piece)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise
        if self.break_off:
            assert request.transport is not None
            request.transport.close()
        return response

    async def _pieces(self) -> Any:
        if self.played is not None:
            yield self.played
            return
        yield frame("messageStart", {"role": "assistant"})
        for number, word in enumerate(self.words):
            if number == self.hold_after:
                self.held.set()
                await self.go_on.wait()
            yield frame("contentBlockDelta", {"delta": {"text": word}, "contentBlockIndex": 0})
        if self.exception:
            yield frame("modelStreamErrorException", {"message": "it choked"}, message="exception")
        elif not self.break_off:
            for piece in self._end():
                yield piece

    def _end(self) -> Iterable[bytes]:
        yield frame("contentBlockStop", {"contentBlockIndex": 0})
        yield frame("messageStop", {"stopReason": "end_turn"})
        if self.usage is not None:
            yield frame("metadata", {"usage": self.usage, "metrics": {"latencyMs": 1}})

    def _refusal(self) -> web.Response:
        location = {"location": f"{self.url}/elsewhere"} if 300 <= self.status < 400 else {}
        return web.json_response(
            {"message": f"refused with {self.status}"}, status=self.status, headers={**self.headers, **location}
        )
