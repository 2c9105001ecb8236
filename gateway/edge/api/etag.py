"""ETag and If-Match (RFC 9110, sections 8.8.3 and 13.1.1): whoever changes an object has seen it as it is."""

import hashlib
import re
from typing import Final

import msgspec

from gateway.core.errors import PreconditionFailed
from gateway.edge.api.ask import Ask
from gateway.edge.requests import invalid
from gateway.postgres.once import Guard

_TAGS_MAX: Final = 16
_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')


def etag(state: msgspec.Struct) -> str:
    """Strong: of all that is told of the object's state, so that two states have two tags."""
    return f'"{hashlib.sha256(msgspec.json.encode(_state(state))).hexdigest()[:32]}"'


def if_match(ask: Ask, *, what: str) -> Guard[msgspec.Struct] | None:
    """What refuses a change whose `If-Match` names another state than the object has; None where none was sent.

    Raises InvalidRequest for what is no list of tags.
    """
    if ask.if_match is None:
        return None
    tags = {tag.strip(" \t") for tag in ask.if_match.split(",")}
    if len(tags) > _TAGS_MAX or not all(tag == "*" or _TAG.fullmatch(tag) for tag in tags):
        raise invalid("If-Match", f"must be `*`, or at most {_TAGS_MAX} tags as they came in `ETag`")

    def guard(current: msgspec.Struct | None, /) -> None:
        if current is None:
            raise PreconditionFailed(f"There is no such {what} yet, and If-Match asks for one; nothing was changed.")
        if "*" not in tags and etag(current) not in tags:
            raise PreconditionFailed(f"The {what} is no longer as If-Match says: read it again; nothing was changed.")

    return guard


def _state(state: msgspec.Struct) -> dict[str, object]:
    told = msgspec.structs.asdict(state)
    told.pop("repeated", None)
    return told
