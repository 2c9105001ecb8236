"""Answers written straight to the socket: the hot path past a response object's machinery.

Both give aiohttp's server what it asks of a response, and no more: `prepare`, `write_eof`, `prepared` and `keep_alive`.
Headers are given as the lines that they are on the wire, each with its end. Their names and values come from our own
tables or from a parser that refused line ends in them.
"""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, cast

from aiohttp import HttpVersion11

from gateway.edge.connection import Connection, Request

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class RawAnswer:
    """An answer with a length, in one write."""

    __slots__ = ("_body", "_headers", "keep_alive", "prepared", "status")

    def __init__(self, status: int, headers: str, body: bytes) -> None:
        self.status = status
        self._headers = headers
        self._body = body
        self.prepared = False
        self.keep_alive = True

    async def prepare(self, request: Request) -> None:
        """Writes all of it. Raises ClientConnectionResetError if the caller is gone."""
        self.prepared = True
        self.keep_alive = request.keep_alive
        framing = f"content-length: {len(self._body)}\r\n"
        head = _head(request, self.status, self._headers, framing, keep_alive=self.keep_alive)
        connection = cast(Connection, request.protocol)
        connection.send(head + self._body)
        if connection.writing_paused:
            await connection.drained()

    async def write_eof(self) -> None:
        """Nothing is left to write."""


class RawStream:
    """An answer in pieces: of a known length, else chunked; for HTTP/1.0 without a length, ended by closing."""

    __slots__ = ("_chunked", "_connection", "_ended", "_headers", "_length", "keep_alive", "prepared", "status")

    def __init__(self, status: int, headers: str, *, length: int | None) -> None:
        self.status = status
        self._headers = headers
        self._length = length
        self._chunked = False
        self._ended = False
        self._connection: Connection | None = None
        self.prepared = False
        self.keep_alive = True

    async def prepare(self, request: Request) -> None:
        """Writes the head, once. Raises ClientConnectionResetError if the caller is gone."""
        if self.prepared:
            return
        self.prepared = True
        self._connection = connection = cast(Connection, request.protocol)
        if self._length is not None:
            framing = f"content-length: {self._length}\r\n"
        elif request.version >= HttpVersion11:
            self._chunked, framing = True, "transfer-encoding: chunked\r\n"
        else:
            framing = ""
        self.keep_alive = request.keep_alive and framing != ""
        connection.send(_head(request, self.status, self._headers, framing, keep_alive=self.keep_alive))
        await connection.drained()

    async def write(self, piece: bytes) -> None:
        """Waits while the caller is slow to take. Raises ClientConnectionResetError if he is gone."""
        connection = self._connection
        assert connection is not None
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        if connection.writing_paused:
            await connection.drained()

    async def write_eof(self) -> None:
        """The end, once."""
        connection = self._connection
        if not self._ended and connection is not None:
            self._ended = True
            if self._chunked:
                connection.send(b"0\r\n\r\n")
                await connection.drained()


def _head(request: Request, status: int, headers: str, framing: str, *, keep_alive: bool) -> bytes:
    if not keep_alive:
        framing += "connection: close\r\n"
    elif request.version < HttpVersion11:
        framing += "connection: keep-alive\r\n"
    status_line = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n"
    return f"{status_line}{headers}{_DATE.line()}server: tollgate\r\n{framing}\r\n".encode("latin-1", "replace")


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._line = second, f"date: {formatdate(second, usegmt=True)}\r\n"
        return self._line


_DATE: Final = _Date()
