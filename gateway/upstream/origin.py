"""Where connections go: a host and a port, its addresses for a while, and TLS if it is https; or a unix socket."""

import abc
import asyncio
import math
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiohappyeyeballs import AddrInfoType, start_connection

from gateway.upstream.connection import Connection

ADDRESSES_S: Final = 10.0
"""So long a name's addresses are remembered: a burst of new connections asks for them once."""
NEXT_ADDRESS_S: Final = 0.25
"""An address that has not answered by then gets a competitor of the other family (RFC 8305)."""


class Origin(abc.ABC):
    """One place to connect to. `idle` are its connections that wait for a call, the one used last at the end."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.tls: Final = tls
        self.idle: Final[dict[Connection, None]] = {}

    @abc.abstractmethod
    async def connect(self, make: Callable[[], Connection]) -> Connection:
        """Until the connection can be asked. Raises OSError."""


class UnixOrigin(Origin):
    def __init__(self, path: str) -> None:
        super().__init__(None)
        self.path: Final = path

    async def connect(self, make: Callable[[], Connection]) -> Connection:
        _, connection = await asyncio.get_running_loop().create_unix_connection(make, self.path)
        return connection


class TcpOrigin(Origin):
    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        super().__init__(tls)
        self.host: Final = host
        self.port: Final = port
        self._addresses: list[AddrInfoType] = []
        self._addresses_until = -math.inf
        self._resolving: Final = asyncio.Lock()

    async def connect(self, make: Callable[[], Connection]) -> Connection:
        """Resolve, connect, shake hands: the certificate must be this host's. Raises OSError, UnicodeError."""
        loop = asyncio.get_running_loop()
        addresses = await self._resolve(loop)
        try:
            sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=loop)
        except OSError:
            self._addresses_until = -math.inf  # they may have changed
            raise
        transport, connection = await loop.create_connection(make, sock=sock)
        if not connection.is_open():
            raise ConnectionError("the peer spoke or hung up before it was asked")
        if self.tls is not None:
            await self._secure(loop, transport, connection, self.tls)
        return connection

    async def _secure(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        connection: Connection,
        tls: ssl.SSLContext,
    ) -> None:
        # Not done by create_connection, because the connection needs to know the transport beneath, too.
        try:
            secured = await loop.start_tls(transport, connection, tls, server_hostname=self.host.rstrip("."))
        except BaseException:
            transport.abort()
            raise
        if secured is None or not connection.is_open():
            raise ConnectionError("the peer hung up in the handshake")
        connection.secured(secured)

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> list[AddrInfoType]:
        async with self._resolving:
            if loop.time() >= self._addresses_until:
                found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
                self._addresses = list(found)
                self._addresses_until = loop.time() + ADDRESSES_S
            return self._addresses
