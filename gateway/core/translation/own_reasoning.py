"""Reasoning that only the gateway can read, taken out of a request that goes on in the words it came in.

A conversation may be translated at one turn and not at the next: its alias has targets of both kinds, or was changed.
What another provider thought was then handed to the client in a wrapping of ours, which no provider takes back.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from gateway.core.dialect import DialectName
from gateway.core.translation.reasoning import CARRIED

MARK: Final = CARRIED.encode()
"""Where a body lacks it there is nothing to take out."""

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ANY: Final = msgspec.json.Decoder(dict[str, Any])


def without_in_messages(body: bytes) -> bytes:
    """A Messages request without our thinking blocks, and without turns that hold nothing else."""
    return _with_list(body, "messages", lambda turn: _with_list(turn, "content", _block, none_if_empty=True))


def without_in_responses(body: bytes) -> bytes:
    """A Responses request without our reasoning items."""
    return _with_list(body, "input", lambda item: None if _is_ours(item, "encrypted_content") else item)


OWN_REASONING: Final[Mapping[DialectName, Callable[[bytes], bytes]]] = {
    "anthropic-messages": without_in_messages,
    "openai-responses": without_in_responses,
}
"""By the dialect whose clients may hand it back. They never raise: what is malformed stays for others to refuse."""


def _block(block: bytes) -> bytes | None:
    return None if _is_ours(block, "signature", "data") else block


def _is_ours(value: bytes, *keys: str) -> bool:
    try:
        found = _ANY.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return False
    return any(str(found.get(key, "")).startswith(CARRIED) for key in keys)


def _with_list(
    value: bytes, key: str, changed: Callable[[bytes], bytes | None], *, none_if_empty: bool = False
) -> bytes:
    """The object with what became of each of its list's elements, as they are spelled; None: it is left out."""
    try:
        fields = _FIELDS.decode(value)
        elements = _LIST.decode(fields[key])
    except (KeyError, msgspec.DecodeError, RecursionError):
        return value
    kept = [changed(each) if MARK in each else each for each in map(bytes, elements)]
    fields[key] = msgspec.Raw(msgspec.json.encode([msgspec.Raw(each) for each in kept if each]))
    if none_if_empty and not any(kept):
        return b""
    return msgspec.json.encode(fields)
