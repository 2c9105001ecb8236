"""Reading request bodies: bounded in size, in pace, and in the sum over the process."""

import asyncio

import msgspec
from aiohttp import StreamReader, hdrs, web

from gateway.core.errors import InvalidRequest, Overloaded, RequestTimeout, RequestTooLarge, UnsupportedEncoding
from gateway.edge.plain_request import Content, PlainRequest


class BodyLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    body_bytes_max: int = 32 * 1024 * 1024
    """One request body."""
    bodies_bytes_max: int = 512 * 1024 * 1024
    """All request bodies of this process at one time."""
    body_first_s: float = 10.0
    """A body may always take this long …"""
    body_bytes_per_s_min: int = 16 * 1024
    """… and longer only while it comes at this pace."""


class BodyBudget:
    """The sum of request bytes that this process holds. Taken before reading, given back when the call is over."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self.taken = 0

    def take(self, size: int) -> None:
        """Raises Overloaded when the process holds too much already."""
        if self.taken + size > self.limits.bodies_bytes_max:
            raise Overloaded("The gateway is holding as many request bytes as it may; nothing was read. Retry shortly.")
        self.taken += size

    def give_back(self, size: int) -> None:
        self.taken -= size


class Body:
    """A request body and its share of the budget; `close` gives the share back."""

    __slots__ = ("_budget", "_share", "data")

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._share = 0
        self.data = b""

    async def read(self, request: web.BaseRequest | PlainRequest) -> bytes:
        """Raises RequestTooLarge, UnsupportedEncoding, RequestTimeout, Overloaded, or InvalidRequest: it broke off."""
        headers, limits = request.headers, self._budget.limits
        encoding = headers.get(hdrs.CONTENT_ENCODING)
        if encoding is not None and encoding.lower() != "identity":
            raise UnsupportedEncoding(
                f"Request bodies must not be compressed (content-encoding: {encoding[:64]}); it was not read."
            )
        length = request.content_length
        if length is not None:
            if length > limits.body_bytes_max:
                raise _too_large(limits)
            self._grow(length)
        if headers.get(hdrs.EXPECT, "").lower() == "100-continue":
            if request.transport is None:
                raise InvalidRequest("The connection was lost before the request body; nothing was reserved.")
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        content = request.content
        try:
            if content.is_eof():
                self.data = content.read_nowait(-1)
            else:
                self.data = await self._read_paced(content)
        except (web.RequestPayloadError, ConnectionError, asyncio.IncompleteReadError) as error:
            raise InvalidRequest("The request body broke off or is not valid HTTP; nothing was reserved.") from error
        if len(self.data) > limits.body_bytes_max:
            raise _too_large(limits)
        return self.data

    async def _read_paced(self, content: StreamReader | Content) -> bytes:
        limits = self._budget.limits
        loop = asyncio.get_running_loop()
        began = loop.time()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(limits.body_first_s) as timer:
                while chunk := await content.readany():
                    parts.append(chunk)
                    size += len(chunk)
                    if size > limits.body_bytes_max:
                        raise _too_large(limits)
                    if size > self._share:
                        self._grow(size - self._share)
                    timer.reschedule(began + limits.body_first_s + size / limits.body_bytes_per_s_min)
        except TimeoutError:
            raise RequestTimeout(
                f"The request body came slower than {limits.body_bytes_per_s_min} bytes a second; nothing was reserved."
            ) from None
        return b"".join(parts)

    def _grow(self, size: int) -> None:
        self._budget.take(size)
        self._share += size

    def close(self) -> None:
        self._budget.give_back(self._share)
        self._share = 0
        self.data = b""


def _too_large(limits: BodyLimits) -> RequestTooLarge:
    return RequestTooLarge(
        f"The request body is larger than {limits.body_bytes_max} bytes; it was not read and nothing was reserved."
    )


async def answer_expect_later(request: web.Request) -> None:
    """Keeps aiohttp from answering `expect: 100-continue` by itself: that waits until the caller is known."""
