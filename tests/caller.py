"""The caller's side of a road: what he gets, read at once, as it comes, or byte by byte."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import aiohttp
import msgspec

WITHIN_S: Final = 10.0
"""For whatever is waited for: far more than it takes, so that only a fault runs into it."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> Mapping[str, Any]:
        """OpenAI's error object, whole."""
        assert self.headers["content-type"].startswith("application/json"), self.headers
        body = self.json
        assert set(body) == {"error"}
        error = body["error"]
        assert {"message", "type", "param", "code"} <= set(error) <= {"message", "type", "param", "code", "metadata"}
        assert isinstance(error, dict)
        return error

    @property
    def events(self) -> list[bytes]:
        """The data of each event of a stream; every event is whole."""
        assert self.headers["content-type"].startswith("text/event-stream")
        assert self.body.endswith(b"\n\n")
        events = [part for part in self.body.split(b"\n\n")[:-1] if not part.startswith(b":")]
        assert all(event.startswith(b"data: ") for event in events), events
        return [event.removeprefix(b"data: ") for event in events]

    @property
    def chunks(self) -> list[Any]:
        return [msgspec.json.decode(event) for event in self.events if event != b"[DONE]"]

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or "" for chunk in self.chunks for choice in chunk.get("choices", ())
        )

    @property
    def last_error(self) -> Mapping[str, Any]:
        """Of a stream that ended badly: its last frame's error."""
        assert self.events[-1] != b"[DONE]"
        frame = self.chunks[-1]
        assert "choices" not in frame, "some would take it for a chunk like any other"
        error = frame["error"]
        assert isinstance(error, dict)
        return error


class Caller:
    """One request under way, whose answer is read as it comes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.read = b""

    async def until_read(self, text: bytes) -> None:
        async with asyncio.timeout(WITHIN_S):
            while text not in self.read:
                piece = await self.response.content.readany()
                assert piece, f"ended without {text!r}: {self.read!r}"
                self.read += piece

    async def rest(self) -> Answer:
        async with asyncio.timeout(WITHIN_S):
            self.read += await self.response.content.read()
        return Answer(self.status, self.headers, self.read)

    def leave(self) -> None:
        self.response.close()


@dataclass
class Wire:
    """A connection of the caller's own, byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """The next answer, which has a content-length."""
        async with asyncio.timeout(WITHIN_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split(" ")[1]), headers, body)

    async def until_read(self, text: bytes) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.readuntil(text)

    async def end(self) -> bytes:
        """What comes until the other side hangs up."""
        async with asyncio.timeout(WITHIN_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
