"""One request in the hands of a hostile upstream's behaviour."""

import asyncio
import socket
import struct
from dataclasses import dataclass


@dataclass
class Request:
    behaviour: str
    head: bytes
    body: bytes
    connection: int
    """Which connection it came on, counted from 1."""
    turn: int
    """The how-manieth request of its connection, counted from 1."""


@dataclass
class Call:
    """One request in a behaviour's hands."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    step_s: float
    go_on: asyncio.Event
    stopping: asyncio.Event
    extra_sent: asyncio.Event

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def hang(self) -> None:
        """Until the peer hangs up or the server stops."""
        gone = asyncio.ensure_future(self.reader.read())
        stop = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({gone, stop}, return_when=asyncio.FIRST_COMPLETED)
        for waiter in (gone, stop):
            waiter.cancel()
        await asyncio.gather(gone, stop, return_exceptions=True)

    def reset(self) -> None:
        """RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
