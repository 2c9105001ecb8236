"""JSON objects that can be read in one way only, and where in the bytes their values stand: the ground for splicing.

msgspec keeps the last of duplicate keys, other servers keep the first or ignore case; an object that they would read
differently must be refused. msgspec parses and validates; this module adds the proof and the places.
"""

import re
from collections.abc import Collection, Iterable
from itertools import chain
from typing import Final

import msgspec

RawObject = dict[str, msgspec.Raw]
Spans = dict[str, tuple[int, int]]
"""[start, end) of the value of each key, in bytes."""

KEYS_MAX: Final = 1_000
"""Of one object; no API has a tenth of them."""

_OBJECT: Final = msgspec.json.Decoder(RawObject)
_OBJECTS: Final = msgspec.json.Decoder(list[RawObject])

_SPACE: Final = rb"[ \t\n\r]*+"
_KEY: Final = re.compile(_SPACE + rb"[{,]" + _SPACE + rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"' + _SPACE + rb":" + _SPACE)
_END: Final = re.compile(_SPACE + rb"\}" + _SPACE + rb"\Z")


class Ambiguous(ValueError):
    """A key is there twice (whatever its spellings), or is spelled so that servers may read it differently."""

    def __init__(self, key: str | None = None) -> None:
        super().__init__(f"the key `{key[:64]}` is there twice" if key is not None else "a key is there twice")
        self.key = key


def read_object(text: bytes) -> tuple[bytes, RawObject]:
    """The object without white space (`text` itself where it has none), and its values.

    Raises Ambiguous, msgspec.DecodeError, and RecursionError for what is nested too deeply.
    """
    values = _OBJECT.decode(text)
    if len(values) > KEYS_MAX:
        raise msgspec.ValidationError(f"more than {KEYS_MAX} keys")
    if not _is_compact(len(text), values):
        text = msgspec.json.format(text, indent=-1)
        values = _OBJECT.decode(text)
        if not _is_compact(len(text), values):
            _spans_by_walking(text, values)
    return text, values


def read_objects(array: bytes | msgspec.Raw) -> list[RawObject]:
    """The same for an array of objects, however many. A key spelled with needless escapes counts as ambiguous here."""
    objects = _OBJECTS.decode(array)
    if not _are_compact(len(memoryview(array)), objects):
        compact = msgspec.json.format(bytes(array), indent=-1)
        if not _are_compact(len(compact), _OBJECTS.decode(compact)):
            raise Ambiguous
    return objects


def spans_of(text: bytes) -> Spans:
    """Where each value of this object stands, in order. Raises as read_object does."""
    values = _OBJECT.decode(text)
    return _spans_of_compact(values) if _is_compact(len(text), values) else _spans_by_walking(text, values)


def misspelled(keys: Iterable[str], deciding: Collection[str]) -> tuple[str, str] | None:
    """The first of `keys` that some server could take for one of `deciding`, and which: another case (as Unicode folds
    it, so the Kelvin sign is a k), camelCase, dashes."""
    folded = {_fold(key): key for key in deciding}
    for key in keys:
        meant = folded.get(_fold(key))
        if meant is not None and key != meant:
            return key, meant
    return None


def _fold(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "")


def _is_compact(size: int, values: RawObject) -> bool:
    """Whether a text of this size is the shortest that can spell the object.

    A duplicate key, white space or an escape in a key only adds bytes. So the shortest text has none of them, and no
    walk is needed. Most clients send compact JSON. (Keys count by characters: with keys that are not ASCII, or that
    need an escape, no text is this short, and the walk decides.)
    """
    quotes_colons_commas = 4 * len(values)  # the comma that the last one lacks stands for the closing brace
    return len(b"".join(values.values())) + len("".join(values)) + quotes_colons_commas + 1 == size


def _are_compact(size: int, objects: list[RawObject]) -> bool:
    """The same of an array of objects."""
    keys = list(chain.from_iterable(objects))
    values_size = len(b"".join(chain.from_iterable(map(dict.values, objects))))
    keys_size = len("".join(keys).encode())
    empty = 0 if all(objects) else objects.count({})
    return values_size + keys_size + 4 * len(keys) + empty + 2 * len(objects) + (1 if objects else 2) == size


def _spans_of_compact(values: RawObject) -> Spans:
    spans: Spans = {}
    at = 1
    for key, value in values.items():
        at += len(key) + 3
        end = at + len(memoryview(value))
        spans[key] = (at, end)
        at = end + 1
    return spans


def _spans_by_walking(text: bytes, values: RawObject) -> Spans:
    """Each step is certain: a whole JSON value that stands at a place, followed by what may follow a value, is the one
    that msgspec read there. Where another one stands (the first of two duplicates), the key is a duplicate."""
    spans: Spans = {}
    if not values:
        return spans
    at = 0
    key = ""
    while (match := _KEY.match(text, at)) is not None:
        key = _key_text(match[1])
        value = values[key]
        at = match.end()
        if key in spans or not text.startswith(value, at):
            raise Ambiguous(key)
        spans[key] = (at, at := at + len(memoryview(value)))
    if _END.match(text, at) is None:
        raise Ambiguous(key)  # a number goes on here: the last duplicate was a prefix of this one
    return spans


def _key_text(spelled: bytes) -> str:
    return spelled.decode() if b"\\" not in spelled else msgspec.json.decode(b'"%b"' % spelled, type=str)
