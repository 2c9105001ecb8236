"""ETag and If-Match (RFC 9110, sections 8.8.3 and 13.1.1): whoever changes an object has seen it as it is.

Where the database counts an object's changes, the number is its tag; elsewhere a hash of its state is.
"""

import hashlib
import re
from typing import Final

import msgspec

from gateway.core.errors import PreconditionFailed
from gateway.edge.api.ask import ANY_TAG, Ask
from gateway.edge.requests import invalid
from gateway.postgres.once import Guard

ANY_REVISION: Final = 0
"""Whatever it is, as long as there is one."""
_NUMBER: Final = re.compile(r'"([1-9][0-9]{0,17})"')


def etag(state: msgspec.Struct) -> str:
    """Strong: of all that is told of the object's state, so that two states have two tags."""
    return f'"{hashlib.sha256(msgspec.json.encode(_state(state))).hexdigest()[:32]}"'


def if_match(ask: Ask, *, what: str) -> Guard[msgspec.Struct] | None:
    """What refuses a change whose `If-Match` names another state than the object has; None where none was sent."""
    tags = ask.if_match
    if tags is None:
        return None

    def guard(current: msgspec.Struct | None, /) -> None:
        if current is None:
            raise PreconditionFailed(f"There is no such {what} yet, and If-Match asks for one; nothing was changed.")
        if ANY_TAG not in tags and etag(current) not in tags:
            raise PreconditionFailed(f"The {what} is no longer as If-Match says: read it again; nothing was changed.")

    return guard


def tag(ask: Ask, number: int | None) -> None:
    """Tells the number that the database gave the object's state; None: it has none."""
    if number is not None:
        ask.headers["etag"] = f'"{number}"'


def numbers(ask: Ask) -> frozenset[int] | None:
    """Which of an object's numbers allow the change; None: any. A tag that is no number matches nothing."""
    if ask.if_match is None or ANY_TAG in ask.if_match:
        return None
    found = (_NUMBER.fullmatch(tag) for tag in ask.if_match)
    return frozenset(int(tag[1]) for tag in found if tag is not None)


def number(ask: Ask) -> int | None:
    """The one number that allows the change, or ANY_REVISION; None: any, or no object at all.

    Raises InvalidRequest for several, PreconditionFailed for a tag that is no number.
    """
    if ask.if_match is None:
        return None
    seen = numbers(ask)
    if seen is None:
        return ANY_REVISION
    if len(ask.if_match) > 1:
        raise invalid("If-Match", "must be one tag as it came in `ETag`, or `*`")
    if not seen:
        raise PreconditionFailed("It never was as If-Match says: read it again; nothing was changed.")
    return min(seen)


def _state(state: msgspec.Struct) -> dict[str, object]:
    told = msgspec.structs.asdict(state)
    told.pop("repeated", None)
    return told
