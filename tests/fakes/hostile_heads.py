"""Answers that could be read in more ways than one, or without end: fixed bytes, and then silence."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from tests.fakes.hostile_bytes import LAST_CHUNK, STREAM_HEAD, answer, chat, event, piece
from tests.fakes.hostile_call import Call

_OK: Final = b"HTTP/1.1 200 OK\r\n"

NO_ANSWERS: Final = {
    "chunked_twice": _OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n" + LAST_CHUNK,
    "unknown_coding": _OK + b"transfer-encoding: gzip, chunked\r\n\r\n" + piece(chat("x")) + LAST_CHUNK,
    "length_twice": answer(chat("twice"), headers=f"content-length: {len(chat('twice'))}\r\n"),
    "length_with_sign": _OK + b"content-length: +5\r\n\r\nhello",
    "folded_header": answer(chat("folded"), headers="x: a\r\n set-cookie: b\r\n"),
    "bare_line_feeds": b"HTTP/1.1 200 OK\nset-cookie: a\ncontent-length: 0\n\n",
    "line_feed_in_header": answer(chat("split"), headers="x: a\nset-cookie: b\r\n"),
    "too_many_headers": answer(chat("many"), headers="x: y\r\n" * 1000),
    "interim_answer_with_a_length": b"HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\nhello" + answer(chat("x")),
}
"""None of these has a head that may be relayed."""

BREAK_OFF: Final = {
    "trailers_without_end": STREAM_HEAD + piece(event("Hello")) + b"0\r\n" + b"x: y\r\n" * 100_000,
    "chunk_extension_without_end": STREAM_HEAD + piece(event("Hello")) + b"5;" + b"e" * 1_000_000,
    "chunk_longer_than_its_size": STREAM_HEAD + piece(event("Hello")) + b"3\r\nabcdef\r\n" + LAST_CHUNK,
    "chunk_size_without_bounds": STREAM_HEAD + piece(event("Hello")) + b"f" * 40 + b"\r\n",
}
"""These have, and an event behind it."""


async def _send_and_hang(wire: bytes, call: Call) -> bool:
    await call.send(wire)
    await call.hang()
    return False


HEADS: Final[dict[str, Callable[[Call], Awaitable[bool]]]] = {
    name: partial(_send_and_hang, wire) for name, wire in (NO_ANSWERS | BREAK_OFF).items()
}
