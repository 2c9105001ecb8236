"""What the messages of a chat request make the provider read: how many there are, and whether their bytes bound it.

Contents that are plain text are passed over unread; content arrays are read as far as their keys and URLs.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import Ambiguous, RawObject, misspelled, read_object
from gateway.core.request_body import NULL, not_yours, objects_of

MEDIA_PARTS_MAX: Final = 4_096

_MESSAGE_KEYS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call", "reasoning_content"}
)
_DECIDING_KEYS: Final = frozenset({"role", "content", "audio"})
_TEXT_PART_KEYS: Final = frozenset(
    {"type", "text", "refusal", "thinking", "signature", "cache_control", "prompt_cache_breakpoint"}
)
"""A part with no other keys is all there. Any other key may name something that is not in the body."""
_STORED_ID_KEYS: Final = ("file_id", "container_id")

_STRING: Final = msgspec.json.Decoder(str)
_QUOTE, _BRACE, _BRACKET = b'"{['


class MessageFacts(msgspec.Struct, gc=False):
    count: int = 0
    images: int = 0
    """Inline images, as data: URIs."""
    image_bytes: int = 0
    audio: bool = False
    by_reference: bool = False


class _TextMessage(msgspec.Struct, gc=False):
    role: msgspec.Raw
    content: msgspec.Raw


_TEXT_MESSAGES: Final = msgspec.json.Decoder(list[_TextMessage])
_TEXT_MESSAGE_BYTES: Final = len('{"role":,"content":},')
"""Of one message, its values aside; the comma that the last one lacks stands for one of the array's brackets."""


def read_messages(array: msgspec.Raw) -> MessageFacts:
    """Raises InvalidRequest for what is not a non-empty array of messages that can be read in one way only."""
    count = _count_text_messages(array)
    if count:
        return MessageFacts(count=count)
    messages = objects_of(array, "messages")
    if not messages:
        raise InvalidRequest("`messages` must not be empty.", param="messages")
    facts = MessageFacts(count=len(messages))
    if not _MESSAGE_KEYS.issuperset(chain.from_iterable(messages)):
        unknown = set(chain.from_iterable(messages)) - _MESSAGE_KEYS
        if found := misspelled(unknown, _DECIDING_KEYS):
            raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param="messages")
        if "audio" in unknown:
            _refuse_stored_audio(messages)
    for param, part in _media_parts(messages):
        _read_part(part, param, facts)
    return facts


def _count_text_messages(array: msgspec.Raw) -> int:
    """How many there are, if each is a role and a text and nothing else, spelled in the fewest bytes that can say it;
    0: that is not so, and they need a closer look. Most requests need none."""
    try:
        messages = _TEXT_MESSAGES.decode(array)
    except msgspec.DecodeError:
        return 0
    contents = [message.content for message in messages]
    roles = [message.role for message in messages]
    for content in contents:
        if memoryview(content)[0] != _QUOTE:
            return 0
    size = len(b"".join(contents)) + len(b"".join(roles)) + len(messages) * _TEXT_MESSAGE_BYTES + 1
    return len(messages) if size == len(memoryview(array)) else 0


def _refuse_stored_audio(messages: list[RawObject]) -> None:
    for at, message in enumerate(messages):
        if message.get("audio", NULL) != NULL:
            raise not_yours(f"messages[{at}].audio")


def _media_parts(messages: list[RawObject]) -> Iterator[tuple[str, RawObject]]:
    """The parts that are more than text."""
    media = 0
    for at, message in enumerate(messages):
        content = message.get("content")
        if content is None or (first := memoryview(content)[0]) == _QUOTE or content == NULL:
            continue
        param = f"messages[{at}].content"
        if first != _BRACKET:
            raise InvalidRequest(f"`{param}` must be a string or an array.", param=param)
        parts = objects_of(content, param)
        if _TEXT_PART_KEYS.issuperset(chain.from_iterable(parts)):
            continue
        for index, part in enumerate(parts):
            if not part.keys() <= _TEXT_PART_KEYS:
                media += 1
                if media > MEDIA_PARTS_MAX:
                    raise InvalidRequest(f"More than {MEDIA_PARTS_MAX} content parts that are not text.", param=param)
                yield f"{param}[{index}]", part


def _read_part(part: RawObject, param: str, facts: MessageFacts) -> None:
    others = part.keys() - _TEXT_PART_KEYS
    inner = {key: _fields(part[key], param) for key in others}
    for keys in (others, *inner.values()):
        if any(key in _STORED_ID_KEYS for key in keys) or misspelled(keys, _STORED_ID_KEYS):
            raise not_yours(param)
    if others == {"image_url"} and (url := _inline_image(part["image_url"], inner["image_url"])):
        facts.images += 1
        facts.image_bytes += len(url)
    elif "input_audio" in others:  # whatever stands beside it
        facts.audio = True
    else:
        facts.by_reference = True


def _inline_image(value: msgspec.Raw, fields: RawObject) -> str:
    """The data: URI of `"image_url": "…"` or `"image_url": {"url": "…"}`; "" for anything else, such as a document of
    many pages under that name."""
    if fields:
        if not fields.keys() <= {"url", "detail"}:
            return ""
        value = fields.get("url", NULL)
    if memoryview(value)[0] != _QUOTE:
        return ""
    url = _STRING.decode(value)
    return url if url.startswith("data:image/") else ""


def _fields(value: msgspec.Raw, param: str) -> RawObject:
    if memoryview(value)[0] != _BRACE:
        return {}
    try:
        return read_object(bytes(value))[1]
    except Ambiguous as error:
        raise InvalidRequest(f"In `{param}` {error}.", param=param) from None
