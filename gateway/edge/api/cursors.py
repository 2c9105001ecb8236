"""Where a list goes on, as text that means nothing to whoever sends it back. It holds where the last row stands."""

import base64
import binascii
import struct
from enum import Enum
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.edge.requests import invalid
from gateway.usage.transactions import Direction, OrderBy, Place

Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=96, pattern=r"^[A-Za-z0-9_-]+$")]
"""A list's own `next_cursor`."""

_ROW: Final = struct.Struct(">cc16sq")
_ID: Final = struct.Struct(">c16s")
_LETTERS: Final = {"created_at": b"c", "amount": b"a", "asc": b"u", "desc": b"d"}
_SCOPES: Final = {"all": b"A", "org": b"O", "plan": b"P"}


class ListById(Enum):
    """A list in the order of its ids, and the letter that tells its cursors from those of others."""

    AUDIT_LOG = b"l"
    RESERVATIONS = b"r"
    JOBS = b"j"


def place_cursor(place: Place, order_by: OrderBy, direction: Direction) -> str:
    return _text(_ROW.pack(_LETTERS[order_by], _LETTERS[direction], place.id.bytes, place.amount_ucr))


def read_place(cursor: str, order_by: OrderBy, direction: Direction) -> Place:
    """Raises InvalidRequest, also for a cursor of another order."""
    by, way, id, amount_ucr = _parts(cursor, _ROW)
    if (by, way) != (_LETTERS[order_by], _LETTERS[direction]):
        raise invalid("cursor", "is of a list in another order")
    return Place(id=UUID(bytes=id), amount_ucr=amount_ucr)


def id_cursor(of: ListById, id: UUID) -> str:
    return _text(_ID.pack(of.value, id.bytes))


def read_id(of: ListById, cursor: str) -> UUID:
    """Raises InvalidRequest, also for a cursor of another list."""
    letter, id = _parts(cursor, _ID)
    if letter != of.value:
        raise _foreign()
    return UUID(bytes=id)


def markup_cursor(scope: str, scope_id: str) -> str:
    return _text(_SCOPES[scope] + scope_id.encode())


def read_markup(cursor: str) -> tuple[str, str]:
    """Scope and scope's id. Raises InvalidRequest."""
    data = _bytes(cursor)
    for scope, letter in _SCOPES.items():
        rest = data[1:]
        if data[:1] == letter and rest.isascii() and b"\0" not in rest:
            return scope, rest.decode()
    raise _foreign()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _parts(cursor: str, shape: struct.Struct) -> tuple[Any, ...]:
    try:
        return shape.unpack(_bytes(cursor))
    except struct.error:
        raise _foreign() from None


def _bytes(cursor: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except binascii.Error:
        raise _foreign() from None


def _foreign() -> InvalidRequest:
    return invalid("cursor", "is none that this list has given")
