"""Requests of the plainest form, which is the form that SDKs send: read here, past aiohttp's parser and its machinery.

Plain is a whole HTTP/1.1 head in one piece, each header once, a short body of known length, and nothing that changes
framing. Whatever differs from that in one byte is `None` here and aiohttp's to read or to refuse, so nothing is decided
in this module that two parsers could see in two ways.
"""

import asyncio
import re
from typing import Final

from aiohttp import HttpVersion11
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict

BODY_BYTES_MAX: Final = 128 * 1024
"""As much as aiohttp lets wait unread of a body; longer ones need its flow control."""
HEADERS_MAX: Final = 64

_HEAD: Final = re.compile(
    rb"POST (/[\x21-\x7e]*+) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e]*+\r\n)++)\r\n"
)
_FIELD: Final = re.compile(r"([^:]++):([^\r]*+)\r\n")
"""A line of a head that `_HEAD` has matched."""
_LENGTH: Final = re.compile(r"0|[1-9][0-9]{0,5}")
_CHANGES_FRAMING: Final = frozenset({"transfer-encoding", "expect", "upgrade", "te", "trailer", "proxy-connection"})


class Content:
    """A body of known length as it comes. Reads like aiohttp's StreamReader, as far as anybody here does."""

    __slots__ = ("_broken", "_missing", "_parts", "_waiter")

    def __init__(self, length: int, begun: bytes = b"") -> None:
        self._missing = length - len(begun)
        self._parts = [begun] if begun else []
        self._waiter: asyncio.Future[None] | None = None
        self._broken = False

    def feed(self, data: bytes) -> bytes:
        """Takes what belongs to the body and returns the rest."""
        rest = data[self._missing :]
        if self._missing and data:
            self._parts.append(data[: self._missing] if rest else data)
            self._missing -= len(self._parts[-1])
            self._wake()
        return rest

    def break_off(self) -> None:
        """The connection is lost."""
        self._broken = bool(self._missing)
        self._wake()

    def is_eof(self) -> bool:
        """All of it has come, be it read or not."""
        return not self._missing

    def read_nowait(self, n: int = -1) -> bytes:
        """Whatever has come, of which nothing is left then."""
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def readany(self) -> bytes:
        """At least one byte; b"" at the end. Raises ConnectionResetError where it broke off."""
        while not self._parts and self._missing:
            if self._broken:
                raise ConnectionResetError("the request body broke off")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.read_nowait()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class PlainRequest:
    """What a handler may ask of a request, by the names that aiohttp's request has for it."""

    __slots__ = ("content", "content_length", "headers", "protocol", "raw_path")

    method: Final = "POST"
    version: Final = HttpVersion11
    keep_alive: Final = True

    def __init__(
        self, raw_path: str, headers: CIMultiDict[str], length: int, begun: bytes, protocol: RequestHandler
    ) -> None:
        self.raw_path = raw_path
        self.headers = headers
        self.content_length: int | None = length
        self.content = Content(length, begun)
        self.protocol = protocol

    @property
    def transport(self) -> asyncio.Transport | None:
        return self.protocol.transport


def read_plain(data: bytes, protocol: RequestHandler, *, head_bytes_max: int) -> tuple[PlainRequest, bytes] | None:
    """The request that `data` begins with, and what follows it; None: it is not of the plain form.

    Of its body as much has been fed as `data` holds.
    """
    head = _HEAD.match(data, 0, head_bytes_max)
    if head is None:
        return None
    lines = _FIELD.findall(head[2].decode("ascii"))
    fields = {name.lower(): value.strip(" \t") for name, value in lines}
    length = fields.get("content-length", "")
    if (
        len(fields) != len(lines)  # a header is there twice
        or len(fields) > HEADERS_MAX
        or "host" not in fields
        or not _CHANGES_FRAMING.isdisjoint(fields)
        or fields.get("connection", "keep-alive").lower() != "keep-alive"
        or _LENGTH.fullmatch(length) is None
        or int(length) > BODY_BYTES_MAX
    ):
        return None
    body_at = head.end()
    body_end = body_at + int(length)
    begun = data[body_at:body_end]
    return PlainRequest(head[1].decode("ascii"), CIMultiDict(fields), int(length), begun, protocol), data[body_end:]
