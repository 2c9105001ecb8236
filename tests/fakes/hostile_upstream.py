"""An upstream that breaks HTTP and SSE in ways that no HTTP library would: raw bytes on raw sockets.

Each behaviour is a function of `hostile_behaviours` or `hostile_chats`, or fixed bytes of `hostile_heads`; the first
path segment of the base URL chooses it by name:

    async with HostileUpstream() as hostile:
        upstream = Upstream(name="h", provider="openai", base_url=hostile.url("two_answers_in_one_write"), api_key="k")

`hostile.requests` holds every request in the order it came; `hostile.closed` is set whenever a connection is over.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from gateway.upstream.tls import ResumingContext
from tests.fakes.hostile_behaviours import BEHAVIOURS, HEAD_ALONE
from tests.fakes.hostile_bytes import answer, chat
from tests.fakes.hostile_call import Call, Request
from tests.fakes.hostile_chats import CHATS
from tests.fakes.hostile_heads import HEADS

_ALL: Final = BEHAVIOURS | CHATS | HEADS
LOCALHOST_PEM: Final = Path(__file__).parent / "localhost.pem"


def server_tls() -> ssl.SSLContext:
    """For `HostileUpstream(tls=…)`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(LOCALHOST_PEM)
    return context


def client_tls() -> ssl.SSLContext:
    """Trusts what `server_tls` shows."""
    return ResumingContext.trusting(str(LOCALHOST_PEM))


@dataclass
class HostileUpstream:
    """A server on a port of the system's choosing. `step_s` is the pace of the behaviours that trickle."""

    step_s: float = 0.005
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the test to let a behaviour take its second step."""
    extra_sent: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by late_extra_answer once the extra bytes are in the socket."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever one of the connections is over, from whichever side."""
    sessions_resumed: int = 0
    """Connections whose TLS began with the session of an earlier one."""
    speaks_first: bool = False
    """Greets whoever connects with bytes that nobody asked for (and that are no TLS)."""
    tls: ssl.SSLContext | None = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._stopping.set()
        self.go_on.set()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def url(self, behaviour: str) -> str:
        """The base URL under which the server behaves so."""
        assert behaviour in _ALL, behaviour
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/{behaviour}/v1"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.sessions_resumed += self.tls is not None and writer.get_extra_info("ssl_object").session_reused
        task = asyncio.ensure_future(self._converse(reader, writer, self.connections))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        try:
            await self._serve(reader, writer, connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the peer hung up, which is what some tests wait for
        finally:
            writer.close()
            self.closed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        if self.speaks_first:
            writer.write(answer(chat("SOMEBODY ELSE'S")))
        turn = 0
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            turn += 1
            behaviour = head.split(b" ", 2)[1].split(b"/")[1].decode()
            body = b""
            if behaviour not in HEAD_ALONE:
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            request = Request(behaviour, head, body, connection, turn)
            self.requests.append(request)
            call = Call(request, reader, writer, self.step_s, self.go_on, self._stopping, self.extra_sent)
            if not await _ALL[behaviour](call):
                return
