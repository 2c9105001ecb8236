"""An answer with a length, written to the socket in one piece: the hot path past a response object's machinery."""

import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aiohttp import ClientConnectionResetError, HttpVersion11, web

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
DRAIN_BYTES: Final = 64 * 1024
"""After a body of this size the writer waits until the caller has taken some of it."""


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def now(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_DATE: Final = _Date()


class RawAnswer:
    """What aiohttp's server asks of a response, and no more: `prepare`, `write_eof`, `prepared` and `keep_alive`.

    Header names and values come from our own tables or from a parser that refused line ends in them.
    """

    __slots__ = ("_body", "_headers", "keep_alive", "prepared", "status")

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self._headers = headers
        self._body = body
        self.prepared = False
        self.keep_alive = True

    async def prepare(self, request: web.BaseRequest) -> None:
        """Writes all of it. Raises ClientConnectionResetError if the caller is gone."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ClientConnectionResetError("the caller is gone")
        self.keep_alive = request.keep_alive
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, '')}"]
        lines += [f"{name}: {value}" for name, value in self._headers]
        lines.append(f"date: {_DATE.now()}\r\nserver: tollgate\r\ncontent-length: {len(self._body)}")
        if not self.keep_alive:
            lines.append("connection: close")
        elif request.version < HttpVersion11:
            lines.append("connection: keep-alive")
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.prepared = True
        transport.write(head.encode("latin-1", "replace") + self._body)
        if len(self._body) > DRAIN_BYTES:
            await request.protocol._drain_helper()

    async def write_eof(self) -> None:
        """Nothing is left to write."""
