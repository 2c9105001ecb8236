"""Events do not depend on where the bytes were cut, and no byte is lost or invented."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.sse import SseEvent, SseParser, SseTooLong

PIECES = [
    b"data: x",
    b"data:y",
    b"data",
    b"event: error",
    b": hello",
    b"id: 1",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
]
STREAMS = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


def parse_in_pieces(stream: bytes, cuts: list[int]) -> tuple[list[SseEvent], bytes]:
    parser = SseParser()
    events: list[SseEvent] = []
    at = 0
    for cut in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        events += parser.feed(stream[at:cut])
        at = cut
    return events, parser.tail


def dispatched(stream: bytes) -> list[tuple[str, bytes]]:
    """The standard's own algorithm, line by line: what a client would be told."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[tuple[str, bytes]] = []
    event, data = "", list[bytes]()
    for line in text.split(b"\n")[:-1]:
        if not line:
            if data:
                found.append((event or "message", b"\n".join(data)))
            event, data = "", []
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            event = value.removeprefix(b" ").decode("utf-8", "replace")
    return found


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
@example(b"data: x\r\n\r\ndata: y\r\n\r\n", [9, 10, 11])
@example(b"data: x\n\r\ndata: y\n\n", [8, 9])
@example(b"data: x\r\rdata: y\r\r", [8, 9])
def test_events_do_not_depend_on_where_the_bytes_were_cut(stream: bytes, cuts: list[int]) -> None:
    assert parse_in_pieces(stream, cuts) == parse_in_pieces(stream, [])


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8))
def test_raw_events_and_the_tail_add_up_to_the_stream(stream: bytes, cuts: list[int]) -> None:
    events, tail = parse_in_pieces(stream, cuts)
    assert b"".join(event.raw for event in events) + tail == stream


@given(STREAMS)
@example(b"data: x\n\rdata: y\n\n")
@example(b"data: x\r\rdata: y\r\n\r\n")
def test_what_is_dispatched_is_what_the_standard_says(stream: bytes) -> None:
    events, tail = parse_in_pieces(stream, [])
    expected = dispatched(stream)
    found = [(event.event, event.data) for event in events if event.data is not None]
    # A lone CR after LF at the very end may be half a CRLF: the event it would end is still waiting.
    assert found == (expected[: len(found)] if tail.endswith(b"\n\r") else expected)


def test_byte_by_byte_gives_every_event_at_its_last_byte() -> None:
    stream = b"data: 1\n\ndata: 2\r\n\r\n: note\n\ndata: 3\r\r"
    parser = SseParser()
    ends = [at for at, byte in enumerate(stream) if parser.feed(bytes([byte]))]
    assert ends == [8, 19, 27, 36]
    assert parser.at_boundary


def test_a_comment_between_events_has_no_data() -> None:
    (event,) = SseParser().feed(b": OPENROUTER PROCESSING\n\n")
    assert event == SseEvent(b": OPENROUTER PROCESSING\n\n", None)


def test_several_data_lines_are_one_data() -> None:
    (event,) = SseParser().feed(b"data: a\ndata:b\ndata\nevent: error\n\n")
    assert (event.event, event.data) == ("error", b"a\nb\n")


def test_a_byte_order_mark_is_skipped_once_and_kept_in_the_raw_bytes() -> None:
    first, second = SseParser().feed(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n")
    assert (first.raw, first.data) == (b"\xef\xbb\xbfdata: a\n\n", b"a")
    assert second.data is None


def test_an_event_without_end_is_not_buffered_for_ever() -> None:
    parser = SseParser(tail_bytes_max=64)
    for _ in range(8):
        parser.feed(b"data: xx")
    with pytest.raises(SseTooLong):
        parser.feed(b"x")


def test_a_long_event_in_small_chunks_takes_time_linear_in_its_bytes() -> None:
    parser = SseParser()
    for _ in range(16_000):
        assert parser.feed(b"x" * 1_000) == []
    assert not parser.at_boundary
    (event,) = parser.feed(b"\n\n")
    assert len(event.raw) == 16_000_002
