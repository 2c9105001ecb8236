"""How an upstream can break HTTP and SSE: each function answers one request, in the way that its name says.

Returning True keeps the connection for the next request. Those of hostile_chats.py break the chat dialect instead.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from tests.fakes.hostile_bytes import LAST_CHUNK, STREAM, STREAM_HEAD, answer, chat, event, piece, stream
from tests.fakes.hostile_call import Call


async def well_behaved(call: Call) -> bool:
    """A correct answer, on a connection that stays open."""
    await call.send(answer(chat(f"turn {call.request.turn}")))
    return True


async def well_behaved_stream(call: Call) -> bool:
    """A correct chunked stream, on a connection that stays open."""
    await call.send(STREAM)
    return True


async def goes_on_when_told(call: Call) -> bool:
    """A correct stream: an event at once, the rest as soon as `go_on` is set."""
    await call.send(STREAM_HEAD + piece(event("Hello")))
    await call.go_on.wait()
    await call.send(piece(event("", finish="stop")) + piece(b"data: [DONE]\n\n") + LAST_CHUNK)
    return True


async def two_answers_in_one_write(call: Call) -> bool:
    """The answer and, in the same bytes, another that nobody asked for."""
    await call.send(answer(chat("yours")) + answer(chat("SOMEBODY ELSE'S")))
    return True


async def two_streams_in_one_write(call: Call) -> bool:
    """As two_answers_in_one_write, chunked."""
    await call.send(STREAM + stream(event("SOMEBODY ELSE'S"), b"data: [DONE]\n\n"))
    return True


async def half_an_answer_more(call: Call) -> bool:
    """The answer and, in the same bytes, the beginning of another; its rest comes when the connection is used again."""
    extra = answer(chat("SOMEBODY ELSE'S"))
    if call.request.turn == 1:
        await call.send(answer(chat("yours")) + extra[:20])
    else:
        await call.send(extra[20:])
    return True


async def line_ends_after_a_stream(call: Call) -> bool:
    """A correct stream followed by empty lines, which parsers skip between messages."""
    await call.send(STREAM + b"\r\n\r\n")
    return True


async def late_extra_answer(call: Call) -> bool:
    """A correct answer; another one on the idle connection as soon as `go_on` is set."""
    await call.send(answer(chat("yours")))
    await call.go_on.wait()
    await call.send(answer(chat("SOMEBODY ELSE'S")))
    call.extra_sent.set()
    return True


async def closes_idle_connection(call: Call) -> bool:
    """A correct answer with keep-alive, then the connection is closed all the same."""
    await call.send(answer(chat("yours")))
    return False


async def closes_before_answering(call: Call) -> bool:
    """Reads the request and hangs up."""
    return False


async def closes_at_second_request(call: Call) -> bool:
    """The first request of a connection is answered, the second is read and then hung up on."""
    if call.request.turn == 1:
        await call.send(answer(chat("first")))
        return True
    return False


async def resets_before_answering(call: Call) -> bool:
    """Reads the request and resets."""
    call.reset()
    return False


async def length_too_long(call: Call) -> bool:
    """content-length promises 100 bytes more than come, then the connection closes."""
    body = chat("short")
    await call.send(answer(body, length=len(body) + 100))
    return False


async def length_too_short(call: Call) -> bool:
    """content-length announces 10 bytes less than come."""
    body = chat("long")
    await call.send(answer(body, length=len(body) - 10))
    return True


async def length_and_chunked(call: Call) -> bool:
    """Both framings at once: the classic of request smuggling."""
    await call.send(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n"
        b"transfer-encoding: chunked\r\n\r\n" + piece(chat("both")) + LAST_CHUNK
    )
    return True


async def two_lengths(call: Call) -> bool:
    """Two content-length headers that differ."""
    body = chat("two")
    await call.send(answer(body, headers="content-length: 3\r\n"))
    return True


async def closes_mid_stream(call: Call) -> bool:
    """Two whole events and half of the third, then a clean close without the last chunk."""
    await call.send(STREAM_HEAD + piece(event("Hello")) + piece(event(" there")) + piece(event(" cut")[:30]))
    return False


async def resets_mid_stream(call: Call) -> bool:
    """Two whole events, then a reset as soon as `go_on` is set."""
    await call.send(STREAM_HEAD + piece(event("Hello")) + piece(event(" there")))
    await call.go_on.wait()
    call.reset()
    return False


async def resets_close_delimited(call: Call) -> bool:
    """A stream delimited by close alone, which is reset as soon as `go_on` is set: must not pass for its end."""
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event("Hello"))
    await call.go_on.wait()
    call.reset()
    return False


async def ends_without_terminal_event(call: Call) -> bool:
    """Correct HTTP, but the stream ends without [DONE] and without a finish_reason."""
    await call.send(stream(event("Hello"), event(" there")))
    return True


async def close_delimited(call: Call) -> bool:
    """A whole stream with neither length nor chunks; the close is its end."""
    await call.send(
        b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        + event("Hello")
        + event("", finish="stop")
        + b"data: [DONE]\n\n"
    )
    return False


async def chunk_size_garbage(call: Call) -> bool:
    """One whole chunk; as soon as `go_on` is set, a chunk size that is no number."""
    await call.send(STREAM_HEAD + piece(event("Hello")))
    await call.go_on.wait()
    await call.send(b"zz\r\nnonsense\r\n")
    await call.hang()
    return False


async def header_flood(call: Call) -> bool:
    """Headers without end."""
    await call.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        await call.send(b"x-flood-%d: %s\r\n" % (number, b"f" * 100))
    return False


async def one_huge_header(call: Call) -> bool:
    """A single header of 1 MiB."""
    await call.send(answer(chat("huge"), headers=f"x-huge: {'h' * 2**20}\r\n"))
    return True


async def trickles_headers(call: Call) -> bool:
    """A byte of the head each step, for ever."""
    with contextlib.suppress(ConnectionError):
        await call.send(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while not call.stopping.is_set():
            await call.send(b"s")
            await asyncio.sleep(call.step_s)
    return False


async def trickles_body(call: Call) -> bool:
    """A comment of the stream each step, for ever, and never an event."""
    with contextlib.suppress(ConnectionError):
        await call.send(STREAM_HEAD)
        while not call.stopping.is_set():
            await call.send(piece(b": still here\n\n"))
            await asyncio.sleep(call.step_s)
    return False


async def hangs_before_headers(call: Call) -> bool:
    """Reads the request and says nothing."""
    await call.hang()
    return False


async def hangs_mid_head(call: Call) -> bool:
    """Half a head, then nothing."""
    await call.send(b"HTTP/1.1 200 OK\r\ncontent-type: ")
    await call.hang()
    return False


async def hangs_before_first_event(call: Call) -> bool:
    """The head of a stream, then nothing."""
    await call.send(STREAM_HEAD)
    await call.hang()
    return False


async def hangs_mid_body(call: Call) -> bool:
    """Two whole events, then nothing."""
    await call.send(STREAM_HEAD + piece(event("Hello")) + piece(event(" there")))
    await call.hang()
    return False


async def early_hints(call: Call) -> bool:
    """103 Early Hints and the answer, in one write."""
    await call.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n" + answer(chat("after the hints")))
    return True


async def early_hints_apart(call: Call) -> bool:
    """103 Early Hints, a step later the answer."""
    await call.send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n")
    await asyncio.sleep(call.step_s)
    await call.send(answer(chat("after the hints")))
    return True


async def interim_answers_without_end(call: Call) -> bool:
    """102 Processing, over and over."""
    with contextlib.suppress(ConnectionError):
        while not call.stopping.is_set():
            await call.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await asyncio.sleep(0)
    return False


async def switches_protocols(call: Call) -> bool:
    """101, as if a websocket had been asked for."""
    await call.send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nnot http")
    await call.hang()
    return False


async def keeps_alive_for_a_second(call: Call) -> bool:
    """A correct answer that says how long its connection may idle: too short to be worth it."""
    await call.send(answer(chat("hurry"), headers="keep-alive: timeout=1, max=100\r\n"))
    return True


async def keeps_alive_for_a_minute(call: Call) -> bool:
    """A correct answer that says how long its connection may idle."""
    await call.send(answer(chat("no hurry"), headers="keep-alive: timeout=60\r\n"))
    return True


async def redirects(call: Call) -> bool:
    """307 to another place, which would receive the credential."""
    await call.send(answer(b"", status="307 Temporary Redirect", headers="location: http://192.0.2.1/steal\r\n"))
    return True


async def compressed(call: Call) -> bool:
    """gzip although identity was asked for."""
    await call.send(answer(b"\x1f\x8b\x08not really gzip", headers="content-encoding: gzip\r\n"))
    return True


async def sets_a_cookie(call: Call) -> bool:
    """A cookie that must not come back with another call."""
    await call.send(answer(chat("cookie"), headers="set-cookie: tenant=somebody\r\nx-two: a\r\nx-two: b\r\n"))
    return True


async def answers_before_reading(call: Call) -> bool:
    """413 with the head alone read; the rest of the request is never taken, the connection stays open."""
    call.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await call.send(answer(b'{"error":{"message":"too large"}}', status="413 Content Too Large"))
    await call.go_on.wait()
    return False


async def reads_late(call: Call) -> bool:
    """Takes the rest of the request only once `go_on` is set; says nothing. `request.body` is what was still sent."""
    call.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await call.go_on.wait()
    call.writer.transport.resume_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        while taken := await call.reader.read(2**16):
            call.request.body += taken
    return False


async def no_http(call: Call) -> bool:
    """Another protocol's greeting."""
    await call.send(b"220 mail.example ESMTP ready\r\n")
    await call.hang()
    return False


async def broken_json(call: Call) -> bool:
    """200 with a body that ends in the middle of JSON."""
    await call.send(answer(chat("broken")[:-20]))
    return True


async def broken_sse(call: Call) -> bool:
    """200 with events that are no JSON."""
    await call.send(stream(event("Hello"), b"data: {oops\n\n", b"nonsense\n\n", b"data: [DONE]\n\n"))
    return True


async def big_body(call: Call) -> bool:
    """8 MiB in one answer."""
    await call.send(answer(b"x" * 2**23))
    return True


async def big_body_reported(call: Call) -> bool:
    """32 MiB in one answer; `extra_sent` is set once the last of them is on its way."""
    call.writer.transport.set_write_buffer_limits(high=0)
    await call.send(answer(b"x" * 2**25))
    call.extra_sent.set()
    return True


async def endless_event(call: Call) -> bool:
    """One event without end."""
    with contextlib.suppress(ConnectionError):
        await call.send(STREAM_HEAD + piece(b'data: {"never": "'))
        while not call.stopping.is_set():
            await call.send(piece(b"e" * 2**16))
    return False


Behaviour = Callable[[Call], Awaitable[bool]]
BEHAVIOURS: Final[dict[str, Behaviour]] = {
    name: thing
    for name, thing in list(globals().items())
    if asyncio.iscoroutinefunction(thing) and thing.__module__ == __name__
}


HEAD_ALONE: Final = frozenset({"answers_before_reading", "reads_late"})
"""Behaviours that begin when the request's head is there, whatever its body does."""
