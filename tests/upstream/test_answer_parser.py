"""What is an answer, where it ends, and whether its connection may carry another: whatever the pieces it came in."""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.answer_parser import (
    BETWEEN_PIECES_BYTES_MAX,
    FIELD_BYTES_MAX,
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    INTERIM_ANSWERS_MAX,
    AnswerBroken,
    AnswerParser,
)
from tests.fakes.hostile_bytes import LAST_CHUNK, STREAM, STREAM_HEAD, answer, chat, event, piece, stream

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"content-length: 0\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
CLOSE_DELIMITED = OK + b"content-type: text/event-stream\r\n\r\n" + event("Hello")


class Seen(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    content_length: int | None
    body: bytes
    exact: bool
    broken: bool


def seen(*pieces: bytes) -> Seen:
    """All there is to see of an answer that came so, and was then hung up on."""
    parser = AnswerParser()
    body = b""
    exact = broken = False
    try:
        for each in pieces:
            try:
                parser.feed(each)
            finally:
                if parser.pieces:
                    body += parser.take()
        exact = parser.exact
        parser.end_of_file()
    except AnswerBroken:
        broken = True
    return Seen(parser.status, parser.headers, parser.content_length, body, exact, broken)


def cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(wire), *(each % len(wire) for each in cuts)})
    return [wire[start:end] for start, end in pairwise(at)]


def feed_all(parser: AnswerParser, pieces: list[bytes]) -> None:
    for each in pieces:
        parser.feed(each)


ANSWERS = [
    answer(chat("yours")),
    answer(chat("yours"), headers="keep-alive: timeout=5\r\nx-two: a\r\nx-two: b\r\n"),
    answer(chat("yours")) + b"\r\n",
    answer(chat("yours")) + answer(chat("SOMEBODY ELSE'S")),
    answer(chat("yours"), length=10),
    answer(chat("yours"), length=10_000),
    answer(b"\r\n\r\n\r\n\r\n", length=4),
    b"\r\n\r\n" + EMPTY,
    EMPTY,
    HINTS + HINTS + answer(chat("after the hints")),
    HINTS + STREAM,
    HINTS,
    STREAM,
    STREAM + b"\r\n\r\n",
    STREAM + STREAM,
    STREAM + b"HTTP/1.1 200 OK\r\nx: 0\r\n\r\n",
    STREAM + LAST_CHUNK,
    STREAM[:-2],
    CHUNKED + b"3;name=value\r\nabc\r\n" + LAST_CHUNK,
    CHUNKED + b"3\r\nabc\r\n0\r\nx-trailer: 0\r\n\r\n",
    CHUNKED + b"3\r\nabc\r\nzz\r\nnonsense\r\n",
    CLOSE_DELIMITED,
    CLOSE_DELIMITED + b"\r\n\r\n" + answer(chat("part of it")),
    b"HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\nabc",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"220 mail.example ESMTP ready\r\n\r\n",
]


@given(wire=st.sampled_from(ANSWERS), cuts=st.lists(st.integers(0, 2**16)))
def test_an_answer_does_not_depend_on_where_its_bytes_were_cut(wire: bytes, cuts: list[int]) -> None:
    assert seen(*cut(wire, cuts)) == seen(wire)


@pytest.mark.parametrize("wire", ANSWERS)
def test_nor_where_it_was_cut_in_two_or_if_each_byte_came_alone(wire: bytes) -> None:
    whole = seen(wire)
    assert all(seen(wire[:at], wire[at:]) == whole for at in range(1, len(wire)))
    assert seen(*(wire[at : at + 1] for at in range(len(wire)))) == whole


@given(
    wire=st.sampled_from(ANSWERS),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.sampled_from(b"\r\n 0:;,aH\0\xff")), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 2**16)),
)
def test_nor_does_one_that_was_mangled(wire: bytes, changes: list[tuple[int, int]], cuts: list[int]) -> None:
    mangled = bytearray(wire)
    for at, byte in changes:
        mangled[at % len(mangled)] = byte
    assert seen(*cut(bytes(mangled), cuts)) == seen(bytes(mangled))


@given(body=st.binary(max_size=200), sizes=st.lists(st.integers(1, 50)), after=st.binary(max_size=20))
def test_only_an_answer_that_nothing_follows_is_exact(body: bytes, sizes: list[int], after: bytes) -> None:
    chunks, rest = b"", body
    for size in sizes:
        if rest:
            chunks, rest = chunks + piece(rest[:size]), rest[size:]
    if rest:
        chunks += piece(rest)
    for wire in (answer(body), STREAM_HEAD + chunks + LAST_CHUNK):
        found = seen(wire + after)
        assert (found.status, found.body, found.exact) == (200, body, not after)


# --- the head ---------------------------------------------------------------------------------------------------------


def test_a_head_is_read_as_it_came_with_names_in_lower_case() -> None:
    head = seen(
        OK + b"Content-TYPE: a/b\r\nX-Two:a\r\nx-two:  b \t\r\nx-empty:\r\nx-old: \xe9\r\nContent-Length: 0\r\n\r\n"
    )
    assert head.headers == [
        ("content-type", "a/b"),
        ("x-two", "a"),
        ("x-two", "b"),
        ("x-empty", ""),
        ("x-old", "é"),
        ("content-length", "0"),
    ]


def test_interim_answers_leave_no_trace() -> None:
    assert seen(HINTS * INTERIM_ANSWERS_MAX + answer(chat("final"))) == seen(answer(chat("final")))


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body_whatever_their_headers_say(status: int) -> None:
    for header in (b"", b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n"):
        found = seen(b"HTTP/1.1 %d x\r\n" % status + header + b"\r\n")
        assert (found.status, found.content_length, found.body, found.broken) == (status, 0, b"", False)


@pytest.mark.parametrize(
    "head",
    [
        b"content-length: 3\r\ncontent-length: 3\r\n",
        b"content-length: 3\r\ncontent-length: 4\r\n",
        b"content-length: 3, 3\r\n",
        b"content-length: +3\r\n",
        b"content-length: -3\r\n",
        b"content-length: 0x3\r\n",
        b"content-length: 3_0\r\n",
        b"content-length:\r\n",
        b"content-length: 99999999999999999999999\r\n",
        b"content-length: 3\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 3\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: identity\r\n",
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: chunked, gzip\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"content-encoding: gzip\r\n",
        b"content-encoding: identity\r\ncontent-encoding: br\r\n",
        b"x: a\r\n folded\r\n",
        b"x: a\0b\r\n",
        b"x: a\rb\r\n",
        b"x: a\nb: c\r\n",
        b"x : a\r\n",
        b" x: a\r\n",
        b": a\r\n",
        b"x\r\n",
    ],
)
def test_a_head_that_could_be_read_in_two_ways_is_broken(head: bytes) -> None:
    found = seen(OK + head + b"\r\n" + b"3\r\nabc\r\n0\r\n\r\n")
    assert (found.status, found.broken) == (0, True)


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\nx: a\n\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n" + EMPTY,
        b"HTTP/1.1 000 OK\r\n\r\n" + EMPTY,
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\ncontent-length: 3\r\n\r\nabc" + EMPTY,
        b"HTTP/1.1 102 Processing\r\ntransfer-encoding: chunked\r\n\r\n" + LAST_CHUNK + EMPTY,
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ],
)
def test_what_is_no_head_is_broken(wire: bytes) -> None:
    assert seen(wire) == Seen(0, [], None, b"", exact=False, broken=True)


@pytest.mark.parametrize(
    ("wire", "what"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "left HTTP unasked"),
        (HINTS * (INTERIM_ANSWERS_MAX + 1), "sent interim answers without end"),
        (OK + b"content-encoding: gzip\r\n\r\n", "compressed its answer although identity was asked for"),
    ],
)
def test_what_the_upstream_did_is_said(wire: bytes, what: str) -> None:
    with pytest.raises(AnswerBroken) as broken:
        AnswerParser().feed(wire)
    assert broken.value.what == what


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_field_has_a_maximum() -> None:
    assert not seen(answer(b"", headers=f"x: {'h' * (FIELD_BYTES_MAX - 1)}\r\n")).broken
    assert seen(answer(b"", headers=f"x: {'h' * FIELD_BYTES_MAX}\r\n")).status == 0


def test_a_head_has_a_maximum_even_while_its_end_is_not_there() -> None:
    field = f"x: {'h' * 1000}\r\n"
    fitting = HEAD_BYTES_MAX // len(field) - 1
    assert not seen(answer(b"", headers=field * fitting)).broken
    parser = AnswerParser()
    parser.feed(OK)
    with pytest.raises(AnswerBroken):
        feed_all(parser, [field.encode()] * (fitting + 2))


def test_the_number_of_headers_has_a_maximum() -> None:
    framing = 2
    assert not seen(answer(b"", headers="x: y\r\n" * (HEADERS_MAX - framing))).broken
    assert seen(answer(b"", headers="x: y\r\n" * (HEADERS_MAX - framing + 1))).status == 0


@pytest.mark.parametrize("start", [b"0\r\nx-trailer: ", b"3;x=", b"0\r\n"])
def test_what_lies_between_pieces_of_a_body_has_a_maximum(start: bytes) -> None:
    parser = AnswerParser()
    parser.feed(CHUNKED + piece(b"abc") + start)
    line = b"x: yyyy\r\n" if start.endswith(b"\n") else b"y" * 9
    with pytest.raises(AnswerBroken):
        feed_all(parser, [line] * (BETWEEN_PIECES_BYTES_MAX // len(line) + 2))
    assert parser.take() == b"abc"


def test_a_long_stream_of_short_pieces_has_none() -> None:
    parser = AnswerParser()
    parser.feed(CHUNKED)
    for _ in range(BETWEEN_PIECES_BYTES_MAX):
        parser.feed(b"3\r\n")
        parser.feed(b"abc\r\n")
    parser.feed(LAST_CHUNK)
    assert parser.exact
    assert len(parser.take()) == 3 * BETWEEN_PIECES_BYTES_MAX


# --- used again, or not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wire",
    [
        answer(chat("yours")),
        stream(event("yours")),
        HINTS + answer(chat("yours")),
        EMPTY,
        CHUNKED + LAST_CHUNK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_an_exact_answer_leaves_a_usable_connection(wire: bytes) -> None:
    assert seen(wire).exact


@pytest.mark.parametrize(
    "wire",
    [
        answer(chat("yours"), headers="connection: close\r\n"),
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        EMPTY + b"\r\n",
        EMPTY + b"\0",
        b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n" + LAST_CHUNK,
        CHUNKED + b"3\r\nabc\r\n0\r\nx: 1\r\n\r\n",
        CLOSE_DELIMITED,
    ],
)
def test_any_other_does_not(wire: bytes) -> None:
    found = seen(wire)
    assert (found.status // 100, found.exact, found.broken) == (2, False, False)
