"""Logs: JSON lines, written by a thread of their own, so that a slow reader of the log never slows a call.

Two kinds: events of the process (structlog, standard error) and one line per request (standard output). Neither ever
holds a prompt, an answer, a key or a header.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Final
from uuid import UUID

import msgspec
import structlog

LINES_MAX: Final = 20_000
"""Lines in memory; what comes while that many wait is dropped and counted."""
_GATHER_S: Final = 0.05
"""How long lines gather before the thread wakes again: waking it for each would cost the loop more than the line."""


class LineWriter:
    """Writes lines to a stream from a thread. `put` never blocks and never raises; `on_drop` is called per lost line,
    in either thread.
    """

    def __init__(self, stream: BinaryIO, *, on_drop: Callable[[], None], lines_max: int = LINES_MAX) -> None:
        self._stream = stream
        self._on_drop = on_drop
        self._lines_max = lines_max
        self._lock = threading.Lock()
        self._waiting: list[tuple[bytes, int]] = []
        self._waiting_lines = 0
        self._something = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, text: bytes, *, lines: int = 1) -> None:
        """One line, or so many, without the last one's end."""
        with self._lock:
            if not self._stopping.is_set() and self._waiting_lines + lines <= self._lines_max:
                self._waiting.append((text, lines))
                self._waiting_lines += lines
                if len(self._waiting) == 1:
                    self._something.set()
                return
        self._drop(lines)

    def stop(self, *, timeout_s: float = 5.0) -> None:
        """Write what waits and end. A stream that takes nothing is given up after `timeout_s`."""
        with self._lock:
            self._stopping.set()
            self._something.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            self._something.wait()
            with self._lock:
                batch, self._waiting, self._waiting_lines = self._waiting, [], 0
                self._something.clear()
                stopping = self._stopping.is_set()
            if batch:
                self._write(batch)
            self._stopping.wait(_GATHER_S)

    def _write(self, batch: list[tuple[bytes, int]]) -> None:
        try:
            self._stream.write(b"\n".join([*(text for text, _ in batch), b""]))
            self._stream.flush()
        except (OSError, ValueError):  # A closed pipe, a full disk, a stream closed by somebody else.
            self._drop(sum(lines for _, lines in batch))

    def _drop(self, lines: int) -> None:
        for _ in range(lines):
            self._on_drop()


class RequestLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event", tag="request"):
    """What the log keeps of one request. Fields left at their default are left out of the line."""

    at: str
    """When it ended: RFC 3339, UTC."""
    id: UUID | str
    """x-request-id, and for inference also the reservation's and the generation's id."""
    method: str
    route: str
    """The URL table's pattern, never the path or the query that was sent."""
    status: int
    """499, as nginx has it, where the caller was gone before one could be sent."""
    duration_ms: float
    error: str = ""
    """The error's code."""
    org: UUID | str = ""
    key: UUID | str = ""
    """The key's id, never the key."""
    model: str = ""
    upstream: str = ""
    upstream_model: str = ""
    provider_id: str = ""
    streamed: bool = False
    end: str = ""
    finish_reason: str = ""
    first_event_ms: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    reserved_ucr: int = 0
    cost_ucr: int = 0


class RequestLog:
    """One JSON line per request, at its end."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._encoder = msgspec.json.Encoder()

    def write(self, lines: list[RequestLine]) -> None:
        self._writer.put(self._encoder.encode_lines(lines).removesuffix(b"\n"), lines=len(lines))


def configure(writer: LineWriter, *, level: str = "info") -> None:
    """Send structlog's events, and what libraries log through the standard library, to `writer` as JSON."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    render = structlog.processors.JSONRenderer(serializer=_encode)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Lines(writer),
        cache_logger_on_first_use=False,
    )
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


class _Lines:
    """What structlog calls a logger: takes the rendered line whatever its level."""

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer

    def msg(self, line: str) -> None:
        self._writer.put(line.encode())

    debug = info = warning = error = critical = exception = msg


class _Handler(logging.Handler):
    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        self._writer.put(self.format(record).encode())


def _encode(event: dict[str, Any], **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
