"""JSON objects taken apart key by key: what no rule has taken at the end is what the other dialect cannot say.

Values that pass as they are (schemas, arguments, cache marks) stay bytes, so numbers and spellings survive.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import KEYS_MAX, Ambiguous, RawObject, read_object

NULL: Final = msgspec.Raw(b"null")
NAME_CHARS_MAX: Final = 64
"""Of a key in a message; the caller chose it."""

_T = TypeVar("_T")
Decode = Callable[[msgspec.Raw], _T]

_INDEX: Final = re.compile(r"\[\d+\]")
_OBJECT: Final = msgspec.json.Decoder(RawObject).decode
_OBJECTS: Final = msgspec.json.Decoder(list[RawObject]).decode
_STRING: Final = msgspec.json.Decoder(str).decode
_STRINGS: Final = msgspec.json.Decoder(list[str]).decode
_BOOL: Final = msgspec.json.Decoder(bool).decode
_INTEGER: Final = msgspec.json.Decoder(int).decode
_NUMBER: Final[Decode[int | float]] = msgspec.json.Decoder(int | float).decode
_QUOTE, _BRACKET = b'"['


class Translated(msgspec.Struct, frozen=True):
    """A body in the other dialect."""

    body: bytes
    dropped: tuple[str, ...] = ()
    """What it could not say, by path and without indices (`messages[].name`, `tools[].type=web_search_20250305`),
    each once, in order."""


class UnreadableAnswer(ValueError):
    """A provider's answer is not of its own dialect. `field` says where; None: it is no JSON object at all."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


@contextmanager
def reading_answer() -> Iterator[None]:
    """What a request would be refused for makes an answer unreadable. Raises UnreadableAnswer."""
    try:
        yield
    except InvalidRequest as error:
        where = f"`{error.param}` is not what it should be" if error.param else "it is not JSON as it should be"
        raise UnreadableAnswer(f"The provider's answer cannot be read: {where}.", error.param) from None
    except msgspec.DecodeError as error:
        raise UnreadableAnswer(f"The provider's answer cannot be read: {error}.") from None
    except RecursionError:
        raise UnreadableAnswer("The provider's answer is nested too deeply.") from None


class Losses:
    """What the other dialect cannot say: refused by its name, or with `drop` left out and listed."""

    __slots__ = ("_drop", "_dropped")

    def __init__(self, *, drop: bool) -> None:
        self._drop = drop
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(self._dropped)

    def add(self, param: str, *, value: str | None = None, why: str | None = None) -> None:
        """`value` is the value that cannot be said, where other values of the field can; `why` ends "`param` …".

        Raises InvalidRequest, unless dropping.
        """
        shown = None if value is None else value[:NAME_CHARS_MAX]
        if self._drop:
            self._dropped[_INDEX.sub("[]", param) + (f"={shown}" if shown is not None else "")] = None
            return
        what = f"`{param}`" if shown is None else f"`{param}` of `{shown}`"
        why = why or "cannot be said in the dialect of this model's provider"
        raise InvalidRequest(f"{what} {why}; nothing was sent.", param=param, code="unsupported_parameter")

    def leave(self, param: str) -> None:
        """A hint: without it the answer costs or takes more, and is the same. Listed, and never refused."""
        self._dropped[_INDEX.sub("[]", param)] = None


class Fields:
    """One object's keys. A key that is null counts as absent. Each `take…` takes a key away and raises InvalidRequest
    for what is not of its type; `close` hands the rest to the losses."""

    __slots__ = ("_losses", "_rest", "path")

    def __init__(self, values: Mapping[str, msgspec.Raw], path: str, losses: Losses) -> None:
        self._rest = {key: value for key, value in values.items() if value != NULL}
        self._losses = losses
        self.path = path
        """"" for the body itself."""

    def name(self, key: str) -> str:
        """What an error calls this key."""
        key = key[:NAME_CHARS_MAX]
        return f"{self.path}.{key}" if self.path else key

    def __contains__(self, key: str) -> bool:
        return key in self._rest

    def take(self, key: str) -> msgspec.Raw | None:
        """As it stands."""
        return self._rest.pop(key, None)

    def peek(self, key: str) -> msgspec.Raw | None:
        """Without taking it."""
        return self._rest.get(key)

    def ignore(self, *keys: str) -> None:
        """They say nothing that the other dialect would have to say."""
        for key in keys:
            self._rest.pop(key, None)

    def ignore_if(self, neutral: Mapping[str, Collection[bytes]]) -> None:
        """Keys with a value that says what their absence says."""
        for key in neutral.keys() & self._rest.keys():
            if bytes(self._rest[key]) in neutral[key]:
                del self._rest[key]

    def take_text(self, key: str) -> str | None:
        return self._typed(key, _STRING, "a string")

    def take_texts(self, key: str) -> list[str] | None:
        return self._typed(key, _STRINGS, "an array of strings")

    def take_flag(self, key: str) -> bool | None:
        return self._typed(key, _BOOL, "true or false")

    def take_integer(self, key: str) -> int | None:
        return self._typed(key, _INTEGER, "an integer")

    def take_number(self, key: str) -> int | float | None:
        return self._typed(key, _NUMBER, "a number")

    def take_object(self, key: str) -> "Fields | None":
        values = self._typed(key, _OBJECT, "an object")
        return None if values is None else Fields(values, self.name(key), self._losses)

    def is_text(self, key: str) -> bool:
        value = self._rest.get(key)
        return value is not None and memoryview(value)[0] == _QUOTE

    def peek_object(self, key: str) -> "Fields | None":
        """Without taking it."""
        value = self._rest.get(key)
        found = self.take_object(key)
        if value is not None:
            self._rest[key] = value
        return found

    def take_text_or_object(self, key: str) -> "str | Fields | None":
        return self.take_text(key) if self.is_text(key) else self.take_object(key)

    def take_objects(self, key: str) -> "list[Fields]":
        """Of an array; none where it is absent."""
        name = self.name(key)
        objects = self._typed(key, _OBJECTS, "an array of objects") or []
        return [Fields(values, f"{name}[{at}]", self._losses) for at, values in enumerate(objects)]

    def take_content(self, key: str) -> "str | list[Fields]":
        """A string or an array of parts; "" where it is absent."""
        value = self._rest.get(key)
        if value is None or memoryview(value)[0] != _BRACKET:
            return self._typed(key, _STRING, "a string or an array") or ""
        return self.take_objects(key)

    def lose(self, key: str, *, value: str | None = None, why: str | None = None) -> None:
        """Raises InvalidRequest, unless dropping."""
        self._rest.pop(key, None)
        self._losses.add(self.name(key), value=value, why=why)

    def leave(self, *hints: str) -> None:
        """They are left out and listed, and never refused."""
        for key in hints:
            if self._rest.pop(key, None) is not None:
                self._losses.leave(self.name(key))

    def lose_all(self, value: str) -> None:
        """The object itself, for its type."""
        self._rest.clear()
        self._losses.add(self.name("type"), value=value)

    def close(self) -> None:
        """Whatever nobody took is lost."""
        for key in list(self._rest):
            self.lose(key)

    def invalid(self, key: str, must: str) -> InvalidRequest:
        return InvalidRequest(f"`{self.name(key)}` {must}; nothing was sent.", param=self.name(key))

    def required(self, key: str, value: _T | None) -> _T:
        if value is None:
            raise self.invalid(key, "is required")
        return value

    def _typed(self, key: str, decode: Decode[_T], must_be: str) -> _T | None:
        value = self._rest.pop(key, None)
        if value is None:
            return None
        try:
            return decode(value)
        except msgspec.DecodeError:
            raise self.invalid(key, f"must be {must_be}") from None


def read_body(body: bytes, losses: Losses) -> Fields:
    """A request. Raises InvalidRequest; RecursionError for what is nested too deeply."""
    try:
        if not body.isascii():
            str(body, "utf-8")  # msgspec does not look into strings that it keeps raw
        return Fields(read_object(body)[1], "", losses)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}); nothing was sent.") from None
    except Ambiguous as error:
        param = error.key and error.key[:NAME_CHARS_MAX]
        raise InvalidRequest(f"The body can be read in two ways: {error}; nothing was sent.", param=param) from None
    except msgspec.ValidationError:
        raise InvalidRequest(f"The body must be a JSON object of at most {KEYS_MAX} keys.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None


def read_arguments(text: str) -> msgspec.Raw | None:
    """The JSON object that a string of arguments spells, byte for byte; `{}` for an empty one, None if it is none."""
    if not text or text.isspace():
        return msgspec.Raw(b"{}")
    try:
        _OBJECT(msgspec.Raw(text.encode()))
    except (msgspec.DecodeError, RecursionError):
        return None
    return msgspec.Raw(text.strip(" \t\r\n").encode())
