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
from multidict import CIMultiDict, CIMultiDictProxy

BODY_BYTES_MAX: Final = 128 * 1024
"""As much as aiohttp lets wait unread of a body; longer ones need its flow control."""
HEADERS_MAX: Final = 64

_HEAD: Final = re.compile(
    rb"POST (/[\x21-\x7e]*+) HTTP/1\.1\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e]*+\r\n)++)\r\n"
)
_FIELD: Final = re.compile(r"([^:]++):([^\r]*+)\r\n")
"""A line of a head that `_HEAD` has matched."""
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,5}")
_LENGTH_LINE: Final = re.compile(rb"\r\ncontent-length:[\t ]*+(0|[1-9][0-9]{0,5})[\t ]*+\r\n", re.IGNORECASE)
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


class PlainHead:
    """A head of the plain form, but for the number that its content-length is: that of all requests of one client.

    An SDK sends the same head with each request, so a connection keeps the last one, and what was made of it.
    """

    __slots__ = ("_after_length", "_before_length", "headers", "raw_path", "sender")

    def __init__(self, raw_path: str, headers: CIMultiDict[str], before_length: bytes, after_length: bytes) -> None:
        self.raw_path = raw_path
        self.headers = CIMultiDictProxy(headers)
        """All but content-length."""
        self.sender: object = None
        """What the handler found it to say about who sends; the next request with this head need not be asked again."""
        self._before_length = before_length
        self._after_length = after_length

    def length_in(self, data: bytes, *, head_bytes_max: int) -> tuple[int, int] | None:
        """The length of the body and where it begins, if `data` begins with this head; whatever number it has there."""
        if not data.startswith(self._before_length):
            return None
        number = _LENGTH.match(data, len(self._before_length))
        if number is None or not data.startswith(self._after_length, number.end()):
            return None
        body_at = number.end() + len(self._after_length)
        return (int(number[0]), body_at) if body_at <= head_bytes_max else None


class PlainRequest:
    """What a handler may ask of a request, by the names that aiohttp's request has for it."""

    __slots__ = ("content", "content_length", "head", "headers", "protocol", "raw_path")

    method: Final = "POST"
    version: Final = HttpVersion11
    keep_alive: Final = True

    def __init__(self, head: PlainHead, length: int, begun: bytes, protocol: RequestHandler) -> None:
        self.head = head
        self.raw_path = head.raw_path
        self.headers = head.headers
        self.content_length: int | None = length
        self.content = Content(length, begun)
        self.protocol = protocol

    @property
    def transport(self) -> asyncio.Transport | None:
        return self.protocol.transport


def read_plain(
    data: bytes, protocol: RequestHandler, *, head_bytes_max: int, last: PlainHead | None = None
) -> tuple[PlainRequest, bytes] | None:
    """The request that `data` begins with, and what follows it; None: it is not of the plain form.

    `last` is the head of the connection's last request. Of the body as much has been fed as `data` holds.
    """
    found = last.length_in(data, head_bytes_max=head_bytes_max) if last is not None else None
    if last is not None and found is not None:
        head, (length, body_at) = last, found
    else:
        read = _read_head(data, head_bytes_max)
        if read is None:
            return None
        head, length, body_at = read
    if length > BODY_BYTES_MAX:
        return None
    body_end = body_at + length
    return PlainRequest(head, length, data[body_at:body_end], protocol), data[body_end:]


def _read_head(data: bytes, head_bytes_max: int) -> tuple[PlainHead, int, int] | None:
    """With the length of the body and where it begins."""
    match = _HEAD.match(data, 0, head_bytes_max)
    if match is None:
        return None
    lines = _FIELD.findall(match[2].decode("ascii"))
    fields = {name.lower(): value.strip(" \t") for name, value in lines}
    if (
        len(fields) != len(lines)  # a header is there twice
        or len(fields) > HEADERS_MAX
        or "host" not in fields
        or not _CHANGES_FRAMING.isdisjoint(fields)
        or fields.get("connection", "keep-alive").lower() != "keep-alive"
        or fields.pop("content-length", None) is None
    ):
        return None
    body_at = match.end()
    number = _LENGTH_LINE.search(data, 0, body_at)
    if number is None:
        return None
    head = PlainHead(
        match[1].decode("ascii"), CIMultiDict(fields), data[: number.start(1)], data[number.end(1) : body_at]
    )
    return head, int(number[1]), body_at
