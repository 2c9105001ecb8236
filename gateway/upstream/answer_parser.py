"""Bytes in; the head, the body and the end of exactly one answer out. No socket, no clock.

llhttp, the parser of Node.js, reads heads and chunks. What it skips or reads on its own account is watched here: it
takes interim answers (1xx) for whole ones, reads a second answer out of the bytes behind the first, and passes over
line ends between them. A pool that trusted it would hand one tenant's answer to another.
"""

from typing import Final

from httptools import HttpParserError, HttpResponseParser

FIELD_BYTES_MAX: Final = 16 * 1024
HEAD_BYTES_MAX: Final = 64 * 1024
"""Interim answers included."""
HEADERS_MAX: Final = 128
INTERIM_ANSWERS_MAX: Final = 8
BETWEEN_PIECES_BYTES_MAX: Final = 16 * 1024
"""Of chunk extensions and trailers, which nobody reads."""

_NAMES_KNOWN_MAX: Final = 1024
_HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_TELLING: Final = frozenset({"content-length", "transfer-encoding", "content-encoding", "keep-alive"})
_BODILESS: Final = frozenset({204, 304})  # and answers to HEAD, which is never sent

_HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE, _COMPLETE = range(5)
"""What the next byte belongs to."""

_names: Final[dict[bytes, str]] = {}
"""Header names as they come to what they are called: providers send the same few in every answer."""


class AnswerBroken(Exception):
    """What came is no answer that may be relayed. `what` the upstream did, where there is more to say than that."""

    def __init__(self, what: str = "", *, why: str = "") -> None:
        super().__init__(what or why)
        self.what = what


class AnswerParser:
    """Incremental; feed it pieces cut anywhere. `status` is 0 until the head is there; `pieces` is the body so far.

    Its reader takes the pieces away. One serves one answer; the connection gets a new one for the next.
    """

    __slots__ = (
        "_barren_bytes",
        "_body_left",
        "_head_bytes",
        "_http",
        "_interim_count",
        "_keep_alive",
        "_left_over",
        "_next",
        "_raw_headers",
        "_tail",
        "content_length",
        "headers",
        "keep_alive_hint",
        "pieces",
        "status",
        "waiting_bytes",
    )

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        """In the order of the wire, names in lower case, nothing left out."""
        self.content_length: int | None = None
        self.keep_alive_hint = ""
        """The value of `keep-alive`, such as `timeout=5, max=100`."""
        self.pieces: list[bytes] = []
        self.waiting_bytes = 0
        """How much lies in `pieces`."""
        self._next = _HEAD
        self._http: HttpResponseParser | None = HttpResponseParser(self)
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._interim_count = 0
        self._body_left = 0
        self._barren_bytes = 0
        self._tail = b""
        self._keep_alive = False
        self._left_over = False

    @property
    def complete(self) -> bool:
        """The last byte of the answer has come."""
        return self._next == _COMPLETE

    @property
    def exact(self) -> bool:
        """Complete, nothing followed it, and the upstream keeps the connection open: it may carry another answer.

        A chunked answer with trailers is not proven to be exact, and costs a connection.
        """
        return self._next == _COMPLETE and self._keep_alive and not self._left_over

    def feed(self, data: bytes) -> None:
        """Raises AnswerBroken. What had come before the break stays in `pieces`."""
        if self._next == _HEAD:
            data = self._feed_head(data)
            if not data:
                return
        if self._next == _LENGTH:
            self._feed_length(data)
        elif self._next == _CHUNKED:
            self._feed_chunked(data)
        elif self._next == _UNTIL_CLOSE:
            self.pieces.append(data)
            self.waiting_bytes += len(data)
        else:
            self._left_over = True

    def take(self) -> bytes:
        """The body so far, which is then no longer kept here. There is some."""
        pieces, self.pieces = self.pieces, []
        self.waiting_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end_of_file(self) -> None:
        """The upstream has closed the connection. Raises AnswerBroken unless that is how this answer ends."""
        if self._next == _UNTIL_CLOSE:
            self._next = _COMPLETE
        elif self._next != _COMPLETE:
            raise AnswerBroken

    def drop(self) -> None:
        """No more will be fed. llhttp's parser and this one hold each other; that ends here."""
        self._http = None

    # --- what is fed ------------------------------------------------------------------------------------------------

    def _feed_head(self, data: bytes) -> bytes:
        """What of `data` lies behind the final answer's head. llhttp gets heads one by one, and not a byte more."""
        while data and self._next == _HEAD:
            window = self._tail + data if self._tail else data
            at = window.find(_HEAD_END)
            cut = len(data) if at < 0 else at + len(_HEAD_END) - len(self._tail)
            self._tail = window[-3:] if at < 0 else b""
            self._head_bytes += cut
            if self._head_bytes > HEAD_BYTES_MAX:
                raise AnswerBroken
            self._parse(data[:cut])
            assert at >= 0 or self._next == _HEAD, "llhttp ended a head where none ends"
            data = data[cut:]
        if self._next not in (_HEAD, _CHUNKED):
            self._http = None
        return data

    def _feed_length(self, data: bytes) -> None:
        left = self._body_left = self._body_left - len(data)
        if left <= 0:
            self._next = _COMPLETE
            if left < 0:
                self._left_over = True
                data = data[:left]
        self.pieces.append(data)
        self.waiting_bytes += len(data)

    def _feed_chunked(self, data: bytes) -> None:
        pieces_before = len(self.pieces)
        try:
            self._parse(data)
        except AnswerBroken:
            if self._next != _COMPLETE:
                raise
            self._left_over = True
        self._tail = data[-5:] if len(data) >= 5 else (self._tail + data)[-5:]
        if self._next == _COMPLETE:
            self._http = None
            # What may follow the last chunk, ends in the same five bytes and is no error is the head of a second
            # answer; `on_headers_complete` refuses that.
            if self._tail != _LAST_CHUNK:
                self._left_over = True
        elif len(self.pieces) == pieces_before:
            self._barren_bytes += len(data)
            if self._barren_bytes > BETWEEN_PIECES_BYTES_MAX:
                raise AnswerBroken
        else:
            self._barren_bytes = 0

    def _parse(self, data: bytes) -> None:
        assert self._http is not None
        try:
            self._http.feed_data(data)
            return
        except HttpParserError as error:
            # What a callback raises comes as the context of llhttp's own error.
            broken = error.__context__ if isinstance(error.__context__, AnswerBroken) else AnswerBroken(why=str(error))
        try:
            raise broken  # out here, without llhttp's error: its frames would hold this parser and its connection
        finally:
            del broken

    # --- what llhttp calls ------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._raw_headers.append((name, value))  # trailers, too, which nobody reads

    def on_headers_complete(self) -> None:
        assert self._http is not None
        if self._next != _HEAD:
            raise AnswerBroken  # a second answer
        status = self._http.get_status_code()
        if status < 200:
            self._pass_over(status)
        else:
            self._keep_alive = self._http.should_keep_alive()
            self._begin(status, self._read_headers())

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.waiting_bytes += len(piece)

    def on_message_complete(self) -> None:
        if self._next == _CHUNKED:
            self._next = _COMPLETE

    # --- heads ------------------------------------------------------------------------------------------------------

    def _pass_over(self, status: int) -> None:
        self._interim_count += 1
        if status == 101:
            raise AnswerBroken("left HTTP unasked")
        if self._interim_count > INTERIM_ANSWERS_MAX:
            raise AnswerBroken("sent interim answers without end")
        if status < 100 or any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._raw_headers
        ):
            raise AnswerBroken  # it has no body, whatever it says
        self._raw_headers.clear()

    def _read_headers(self) -> dict[str, str]:
        """Fills `headers`; returns what they tell about the body, repeated ones joined as RFC 9110, section 5.3 has it.

        llhttp has refused control characters, folded lines, spaces before the colon and lines that end in LF alone.
        """
        raw = self._raw_headers
        if len(raw) > HEADERS_MAX:
            raise AnswerBroken
        if self._head_bytes > FIELD_BYTES_MAX and any(len(name) + len(value) > FIELD_BYTES_MAX for name, value in raw):
            raise AnswerBroken
        told: dict[str, str] = {}
        for raw_name, raw_value in raw:
            name = _names.get(raw_name) or _learn(raw_name)
            value = raw_value.decode("latin-1").rstrip(" \t")
            self.headers.append((name, value))
            if name in _TELLING:
                told[name] = f"{told[name]}, {value}" if name in told else value
        return told

    def _begin(self, status: int, told: dict[str, str]) -> None:
        if told.get("content-encoding", "").lower() not in ("identity", ""):
            raise AnswerBroken("compressed its answer although identity was asked for")
        coding, length = told.get("transfer-encoding"), told.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise AnswerBroken
            self._next = _CHUNKED
        elif length is not None:
            if not (length.isascii() and length.isdigit()):
                raise AnswerBroken
            self.content_length = self._body_left = int(length)
            self._next = _LENGTH if self._body_left else _COMPLETE
        else:
            self._next = _UNTIL_CLOSE
        if status in _BODILESS:
            self.content_length = 0
            self._next = _COMPLETE
        self.keep_alive_hint = told.get("keep-alive", "")
        self.status = status


def _learn(raw_name: bytes) -> str:
    name = raw_name.decode("latin-1").lower()
    if len(_names) < _NAMES_KNOWN_MAX:
        _names[raw_name] = name
    return name
