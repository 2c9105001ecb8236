"""Server-sent events cut out of a byte stream: whole events, their exact bytes, and the data they carry.

Source: WHATWG HTML, section 9.2. The bytes are relayed as they are, so each event keeps its own, blank line included.
"""

import re
from typing import Final

import msgspec

TAIL_BYTES_MAX: Final = 16 * 1024 * 1024

_EVENT_END: Final = re.compile(rb"\n\n|\r\r|\n\r\n|\n\r(?=[^\n])")
"""A line end and an empty line. `\\n\\r` with nothing behind it may yet become `\\n\\r\\n`, so it waits for a byte."""
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class SseTooLong(ValueError):
    """An event did not end within the limit."""


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    raw: bytes
    """Exactly what came, up to the end of the empty line: all raws and the tail add up to the stream."""
    data: bytes | None
    """Its data lines, joined by line feeds; None where it has none (comments, a lone `event:`)."""
    event: str = "message"


class SseParser:
    """Incremental: feed it chunks cut anywhere, even inside a character or a CRLF; the events are the same.

    Raises SseTooLong rather than buffer more than `tail_bytes_max`; it is of no use after that.
    """

    __slots__ = ("_started", "_tail", "_tail_bytes_max", "at_boundary")

    def __init__(self, *, tail_bytes_max: int = TAIL_BYTES_MAX) -> None:
        self._tail = bytearray()
        self._tail_bytes_max = tail_bytes_max
        self._started = False
        self.at_boundary = True
        """Nothing of an unfinished event is held."""

    @property
    def tail(self) -> bytes:
        """What has come of an event that has not ended."""
        return bytes(self._tail)

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that this chunk completes."""
        if self._tail:
            seam = max(len(self._tail) - 2, 0)
            self._tail += chunk
            if _EVENT_END.search(self._tail, seam) is None:
                return self._hold()
            chunk = bytes(self._tail)
            self._tail.clear()
        if b"\r" in chunk:
            raws, rest = _cut(chunk)
            events = [_read_event(raw) for raw in raws]
        else:
            *pieces, rest = chunk.split(b"\n\n")
            events = []
            for piece in pieces:
                raw = piece + b"\n\n"
                usual = piece.startswith(b"data: ") and b"\n" not in piece
                events.append(SseEvent(raw, piece[6:]) if usual else _read_event(raw))
        self.at_boundary = not rest
        if rest:
            self._tail += rest
            self._hold()
        if not self._started and events:
            self._started = True
            events[0] = _without_bom(events[0])
        return events

    def _hold(self) -> list[SseEvent]:
        if len(self._tail) > self._tail_bytes_max:
            raise SseTooLong(f"an event of more than {self._tail_bytes_max} bytes")
        return []


def _cut(text: bytes) -> tuple[list[bytes], bytes]:
    raws = []
    at = 0
    for match in _EVENT_END.finditer(text):
        raws.append(text[at : match.end()])
        at = match.end()
    return raws, text[at:]


def _read_event(raw: bytes) -> SseEvent:
    data: list[bytes] = []
    event = ""
    for line in _LINE_END.split(raw):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            event = value.removeprefix(b" ").decode("utf-8", "replace")
    return SseEvent(raw, b"\n".join(data) if data else None, event or "message")


def _without_bom(first: SseEvent) -> SseEvent:
    if not first.raw.startswith(_BOM):
        return first
    read = _read_event(first.raw.removeprefix(_BOM))
    return SseEvent(first.raw, read.data, read.event)
