"""What one connection does with its transport, step by step."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.upstream.answer_parser import AnswerBroken
from gateway.upstream.connection import BUFFER_BYTES_MAX, Connection
from tests.fakes.hostile_bytes import answer, chat

REQUEST = b"POST / HTTP/1.1\r\n\r\n"


class Transport(asyncio.Transport):
    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.written = b""
        self.unwritten_bytes = 0
        self.reads = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unwritten_bytes

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


@pytest.fixture
def transport() -> Iterator[Transport]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Transport(ours)


@pytest.fixture
async def connection(transport: Transport) -> Connection:
    made = Connection(asyncio.get_running_loop(), on_lost=lambda _: None)
    made.connection_made(transport)
    return made


async def test_it_stops_reading_while_much_waits_and_goes_on_when_more_is_wanted(
    connection: Connection, transport: Transport
) -> None:
    coming = connection.ask(REQUEST, total_s=60)
    connection.data_received(answer(b"", length=2 * BUFFER_BYTES_MAX) + b"x" * BUFFER_BYTES_MAX)
    assert transport.reads
    connection.data_received(b"x")
    assert not transport.reads
    connection.data_received(b"x")  # was on its way
    assert len(coming.take()) == BUFFER_BYTES_MAX + 2
    waiting = asyncio.ensure_future(connection.wait(60))
    await asyncio.sleep(0)
    assert transport.reads
    connection.data_received(b"x")
    await waiting


async def test_it_reads_again_once_its_call_is_over(connection: Connection, transport: Transport) -> None:
    connection.ask(REQUEST, total_s=60)
    connection.data_received(answer(b"x" * 2 * BUFFER_BYTES_MAX))
    assert not transport.reads
    assert connection.finish()
    assert transport.reads


@pytest.mark.parametrize("beneath", [False, True])
async def test_it_is_not_to_be_used_again_before_the_whole_request_is_out(
    connection: Connection, transport: Transport, beneath: bool
) -> None:
    if beneath:
        connection.secured(Transport(transport.get_extra_info("socket")))
    connection.ask(REQUEST, total_s=60)
    connection.data_received(answer(chat("too soon")))
    transport.unwritten_bytes = 1
    assert not connection.finish()


async def test_a_byte_that_nobody_asked_for_closes_it(connection: Connection, transport: Transport) -> None:
    connection.data_received(b"H")
    assert transport.closed
    assert not connection.is_open()


async def test_the_first_failure_stays_the_reason(connection: Connection, transport: Transport) -> None:
    connection.ask(REQUEST, total_s=60)
    connection.data_received(b"220 mail.example\r\n")
    assert transport.closed
    connection.connection_lost(ConnectionResetError())
    assert isinstance(connection.failure, AnswerBroken)


async def test_what_still_comes_after_it_was_given_up_is_nobodys(connection: Connection) -> None:
    coming = connection.ask(REQUEST, total_s=60)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\n")
    connection.abort(TimeoutError())
    connection.data_received(b"late")
    connection.eof_received()
    assert (coming.pieces, coming.complete) == ([], False)


async def test_nothing_wakes_a_wait_but_what_it_waits_for(connection: Connection) -> None:
    coming = connection.ask(REQUEST, total_s=60)
    waiting = asyncio.ensure_future(connection.wait(60))
    await asyncio.sleep(0)
    for part in (b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"):
        connection.data_received(part)
        await asyncio.sleep(0)
        assert not waiting.done()
    connection.data_received(b"\r\n")
    await waiting
    assert coming.status == 200
    waiting = asyncio.ensure_future(connection.wait(60))
    await asyncio.sleep(0)
    connection.data_received(b"3\r\n")
    await asyncio.sleep(0)
    assert not waiting.done()
    connection.data_received(b"a")
    await waiting
    assert coming.take() == b"a"
