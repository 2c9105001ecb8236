import io
import json
import logging
import os
import threading
from collections.abc import Iterator

import pytest
import structlog

from gateway.ops.log import LineWriter, RequestLine, RequestLog, configure

LINE = RequestLine(
    at="2026-01-02T03:04:05Z", id="01", method="POST", route="/v1/chat/completions", status=200, duration_ms=12.5
)


class Drops:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def stream() -> io.BytesIO:
    return io.BytesIO()


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_request_is_one_json_line_without_empty_fields(stream: io.BytesIO) -> None:
    writer = LineWriter(stream, on_drop=Drops())
    RequestLog(writer).write([LINE])
    writer.stop()
    assert stream.getvalue().count(b"\n") == 1
    assert json.loads(stream.getvalue()) == {
        "event": "request",
        "at": "2026-01-02T03:04:05Z",
        "id": "01",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "duration_ms": 12.5,
    }


def test_a_name_with_a_line_break_stays_inside_its_line(stream: io.BytesIO) -> None:
    writer = LineWriter(stream, on_drop=Drops())
    hostile = 'gpt\n{"event":"request","status":200}'
    RequestLog(writer).write([RequestLine(at="", id="", method="", route="", status=0, duration_ms=0, model=hostile)])
    writer.stop()
    assert stream.getvalue().count(b"\n") == 1
    assert json.loads(stream.getvalue())["model"] == hostile


def test_stopping_writes_every_line_that_waits_in_order(stream: io.BytesIO) -> None:
    drops = Drops()
    writer = LineWriter(stream, on_drop=drops)
    for number in range(5_000):
        writer.put(b"%d" % number)
    writer.stop()
    assert stream.getvalue().split() == [b"%d" % number for number in range(5_000)]
    assert drops.count == 0


def test_many_lines_at_once_are_kept_or_dropped_together() -> None:
    stream, drops = io.BytesIO(), Drops()
    writer = LineWriter(stream, on_drop=drops, lines_max=3)
    writer.put(b"1\n2\n3\n4", lines=4)
    assert drops.count == 4
    RequestLog(writer).write([LINE, LINE])
    writer.stop()
    assert stream.getvalue().count(b"\n") == 2


def test_lines_that_a_stuck_reader_cannot_take_are_dropped_and_counted() -> None:
    reader, pipe = os.pipe()
    drops = Drops()
    with os.fdopen(pipe, "wb", buffering=0) as stuck:
        writer = LineWriter(stuck, on_drop=drops, lines_max=10)
        writer.put(b"x" * 1_000_000)  # More than a pipe holds: the thread is stuck in this write.
        for _ in range(200):
            writer.put(b"y")
        assert drops.count >= 180
        freed = threading.Thread(target=drain, args=[reader])
        freed.start()
        writer.stop()
    freed.join(10)


def drain(reader: int) -> None:
    while os.read(reader, 1 << 20):
        pass
    os.close(reader)


def test_a_broken_stream_loses_lines_and_counts_them_but_raises_nothing() -> None:
    reader, pipe = os.pipe()
    os.close(reader)
    drops = Drops()
    with os.fdopen(pipe, "wb", buffering=0) as broken:
        writer = LineWriter(broken, on_drop=drops)
        writer.put(b"lost")
        writer.stop()
        writer.put(b"too late")
    assert drops.count == 2


@pytest.mark.usefixtures("_logging_as_before")
def test_events_and_library_logs_become_json_with_their_errors(stream: io.BytesIO) -> None:
    writer = LineWriter(stream, on_drop=Drops())
    configure(writer)
    structlog.get_logger().info("reservation.settled", charge_ucr=17)
    structlog.get_logger().debug("not.shown")
    try:
        raise OSError("disk on fire")
    except OSError:
        logging.getLogger("aiohttp.server").exception("Error handling request")
    writer.stop()
    event, library = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (event["event"], event["charge_ucr"], event["level"]) == ("reservation.settled", 17, "info")
    assert event["at"].endswith("Z")
    assert (library["event"], library["logger"], library["level"]) == (
        "Error handling request",
        "aiohttp.server",
        "error",
    )
    assert "disk on fire" in library["exception"]
