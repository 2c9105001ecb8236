"""A line to a server that can be cut, stall or lose an answer: how networks and databases fail half way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

_CHUNK_BYTES: Final = 65_536


class TcpProxy:
    """Listens on 127.0.0.1 and passes bytes to a server, on a TCP address or a unix socket.

    `cut` breaks the connections that are open; `refuse` also breaks new ones until `mend`. `stall` keeps everything
    open and passes nothing on. `lose_answer_to(marker)` breaks the connection that next sends `marker`, when the server
    has answered: the work is done and nobody hears of it. `refuse_marked` breaks the connections that have sent `mark`,
    and those that will, until `mend`; the others stay.
    """

    def __init__(
        self, *, host: str | None = None, port: int | None = None, unix_path: str | None = None, mark: bytes = b""
    ) -> None:
        self._host, self._port_there, self._unix_path = host, port, unix_path
        self._mark = mark
        self._refusing_marked = False
        self.marked: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        """Those that are open."""
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._marker: bytes | None = None
        self.lost = asyncio.Event()
        """Set when an answer was lost as asked."""
        self.connections = 0
        """Accepted since the start."""

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._flowing.set()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def refuse(self) -> None:
        self._refusing = True
        self.cut()

    def stall(self) -> None:
        self._flowing.clear()

    def refuse_marked(self) -> None:
        self._refusing_marked = True
        for pair in list(self.marked):
            for writer in pair:
                writer.transport.abort()

    def mend(self) -> None:
        self._refusing = self._refusing_marked = False
        self._flowing.set()

    def lose_answer_to(self, marker: bytes) -> None:
        self._marker = marker
        self.lost.clear()

    # ----------------------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await self._open()
            pair = (writer, back)
            self._pairs.add(pair)
            doomed = asyncio.Event()
            try:
                await asyncio.gather(self._up(reader, pair, doomed), self._down(there, writer, doomed))
            finally:
                self._pairs.discard(pair)
                self.marked.discard(pair)
                for end in pair:
                    end.transport.abort()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._unix_path is not None:
            return await asyncio.open_unix_connection(self._unix_path)
        return await asyncio.open_connection(self._host, self._port_there)

    async def _up(
        self,
        reader: asyncio.StreamReader,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        doomed: asyncio.Event,
    ) -> None:
        _, writer = pair
        while data := await reader.read(_CHUNK_BYTES):
            if self._mark and self._mark in data:
                if self._refusing_marked:
                    raise ConnectionAbortedError
                self.marked.add(pair)
            if self._marker is not None and self._marker in data:
                self._marker = None
                doomed.set()
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if doomed.is_set():
                writer.transport.abort()
                self.lost.set()
                return
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def tcp_proxy(
    *, host: str | None = None, port: int | None = None, unix_path: str | None = None, mark: bytes = b""
) -> AsyncIterator[TcpProxy]:
    proxy = TcpProxy(host=host, port=port, unix_path=unix_path, mark=mark)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
