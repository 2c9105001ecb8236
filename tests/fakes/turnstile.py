"""A turnstile before a server: lets the bytes of both directions through as they are and notes each request.

What an SDK retries, and after how long, is seen here and nowhere else without asking either side.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Passed:
    """One request, when its head had come."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    at_s: float
    """Of a monotonic clock."""


@dataclass
class Turnstile:
    """`async with Turnstile("http://127.0.0.1:8080") as turnstile:` and clients go to `turnstile.url`."""

    before: str
    passed: list[Passed] = field(default_factory=list)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def passed_with(self, **headers: str) -> list[Passed]:
        """The requests with these headers, in the order they came; `x_case` is `x-case`."""
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}
        return [one for one in self.passed if all(one.headers.get(name) == value for name, value in wanted.items())]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = urlsplit(self.before)
        assert place.hostname is not None
        try:
            there_reader, there = await asyncio.open_connection(place.hostname, place.port)
        except ConnectionError:
            writer.close()
            return
        ways = [
            asyncio.ensure_future(self._requests(reader, there)),
            asyncio.ensure_future(_answers(there_reader, writer)),
        ]
        try:
            # Whoever hangs up first has hung up for both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for side in (writer, there):
                side.close()

    async def _requests(self, reader: asyncio.StreamReader, there: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head.decode("latin-1").strip().split("\r\n")
                method, path, _ = line.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
                assert "transfer-encoding" not in headers, "the SDKs send bodies of a known length"
                self.passed.append(Passed(method, path, headers, time.monotonic()))
                there.write(head + await reader.readexactly(int(headers.get("content-length", "0"))))
                await there.drain()


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
