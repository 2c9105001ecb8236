"""Play an answer over a connection: its pace, its faults, and the books kept while it goes out."""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Final

from aiohttp import web

from gateway.replay.directions import Directions
from gateway.replay.faults import Performance
from gateway.replay.script import Script
from gateway.replay.sent import SentCall

BATCH_PIECES: Final = 64
"""Events written at once where no pace is asked for."""
HANG_LOOK_S: Final = 0.1

_EARLY_HINTS: Final = b"HTTP/1.1 103 Early Hints\r\nlink: </v1>; rel=preconnect\r\n\r\n"
_FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection", "content-encoding", "keep-alive"})


async def play(
    request: web.Request, performance: Performance, directions: Directions, call: SentCall
) -> web.StreamResponse:
    """Write it and book what was written. The caller books the end."""
    script = performance.script
    if directions.early_hints == "yes" and request.transport is not None:
        request.transport.write(_EARLY_HINTS)
    if directions.latency_ms:
        await asyncio.sleep(directions.latency_ms / 1000)
    if directions.hang_at == "headers":
        await _hang(request)
        return _over(request)
    if directions.length:
        return _lie(request, script, directions.length, call)
    if not script.streamed and performance.ending == "complete":
        body = b"".join(script.pieces)
        _book(script, 0, len(script.pieces), call)
        return web.Response(status=script.status, headers=_sendable(script), body=body)
    response = web.StreamResponse(status=script.status, headers=_sendable(script))
    if script.streamed:
        response.enable_chunked_encoding()
    else:
        response.content_length = len(b"".join(script.pieces)) + 2 * len(performance.half)
    await response.prepare(request)
    await _write_pieces(response, script, directions, call)
    return await _end(request, response, performance)


async def _write_pieces(response: web.StreamResponse, script: Script, directions: Directions, call: SentCall) -> None:
    interval_s = directions.interval_ms / 1000
    if directions.first_event_ms:
        await response.write(b"")
        await asyncio.sleep(directions.first_event_ms / 1000)
    # Cut or paced pieces go one by one, with a turn of the loop between them; others in batches, for speed.
    size = 1 if interval_s or directions.cuts is not None or script.recorded else BATCH_PIECES
    pieces = script.pieces
    for at in range(0, len(pieces), size):
        if at:
            await asyncio.sleep(interval_s)
        await response.write(pieces[at] if size == 1 else b"".join(pieces[at : at + size]))
        _book(script, at, min(at + size, len(pieces)), call)


def _book(script: Script, start: int, end: int, call: SentCall) -> None:
    call.chunks += end - start
    call.written_tokens += sum(script.piece_tokens[start:end])
    if script.usage_piece is not None and start <= script.usage_piece < end:
        call.usage_sent = True


async def _end(request: web.Request, response: web.StreamResponse, performance: Performance) -> web.StreamResponse:
    ending = performance.ending
    if performance.half:
        await response.write(performance.half)
    if ending == "hang":
        await _hang(request)
    if ending in ("close", "reset", "hang"):
        # One turn of the loop, so that what was written is on the wire before the connection ends.
        await asyncio.sleep(0)
        _hang_up(request, reset=ending == "reset")
        return response
    await response.write_eof()
    return response


def _lie(request: web.Request, script: Script, by: int, call: SentCall) -> web.StreamResponse:
    """The whole answer under a content-length that is wrong, then the connection closes."""
    body = b"".join(script.pieces)
    lines = [f"HTTP/1.1 {script.status} Replayed", *(f"{name}: {value}" for name, value in _sendable(script).items())]
    lines.append(f"content-length: {max(0, len(body) + by)}\r\n\r\n")
    if request.transport is not None:
        request.transport.write("\r\n".join(lines).encode() + body)
    _book(script, 0, len(script.pieces), call)
    _hang_up(request, reset=False)
    return _over(request)


async def _hang(request: web.Request) -> None:
    """Until the peer is gone; where the server cancels handlers then, until cancelled."""
    # aiohttp offers nothing to wait for; looking is needed only where handlers are not cancelled.
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(HANG_LOOK_S)


def _hang_up(request: web.Request, *, reset: bool) -> None:
    transport = request.transport
    if transport is None:
        return
    if not reset:
        transport.close()
        return
    descriptor = transport.get_extra_info("socket").fileno()
    # uvloop's socket object refuses setsockopt; a duplicate of the descriptor sets the same socket's option.
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _over(request: web.Request) -> web.StreamResponse:
    """For the server, which wants an answer to a connection that no longer is."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _sendable(script: Script) -> dict[str, str]:
    return {name: value for name, value in script.headers if name.lower() not in _FRAMING}
