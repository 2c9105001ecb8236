"""Texts that a model reads each by itself, as several dialects have them: one or many, strings or token numbers."""

from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import Ambiguous, read_objects
from gateway.core.request_body import NULL

INPUTS_MAX: Final = 2_048
"""Of one call; as many as OpenAI takes."""
_OF_NUMBERS: Final = b"0123456789,[]"
_TEXTS: Final = msgspec.json.Decoder(str | list[str | dict[str, msgspec.Raw]])


class TextInputs(msgspec.Struct, frozen=True, gc=False):
    count: int = 0
    text_bytes: int = 0
    """What bounds the tokens of those that are texts from above."""
    token_ids: int = 0
    """Tokens of those that come as numbers."""


def read_text_inputs(value: msgspec.Raw, param: str, *, objects: bool = False) -> TextInputs:
    """A string, an array of strings, of token numbers, or of arrays of those; with `objects` also of `{"text": …}`.

    `value` has no white space, as `read_body` gives it. Raises InvalidRequest.
    """
    spelled = bytes(value)
    if not spelled.translate(None, _OF_NUMBERS):
        return _read_numbers(spelled, param)
    try:
        given = _TEXTS.decode(spelled)
    except msgspec.DecodeError:
        raise _must_be(param) from None
    if type(given) is str:
        return TextInputs(count=1, text_bytes=len(spelled))
    kinds = set(map(type, given))
    if kinds == {dict} and objects:
        _read_text_objects(value, param)
    elif kinds != {str}:
        raise _must_be(param)
    return TextInputs(count=_count(len(given), param), text_bytes=len(spelled))


def _read_numbers(spelled: bytes, param: str) -> TextInputs:
    """Counted by their commas: a million of them as objects would hold up everybody else's calls."""
    inner = spelled.count(b"[") - 1
    if inner == 0 and spelled != b"[]":
        return TextInputs(count=1, token_ids=spelled.count(b",") + 1)
    apart = spelled.count(b"],[")
    flat = apart == inner - 1 == spelled.count(b"],") == spelled.count(b",[")
    if not (spelled.startswith(b"[[") and flat) or b"[[[" in spelled or b"[]" in spelled:
        raise _must_be(param)
    return TextInputs(count=_count(inner, param), token_ids=spelled.count(b",") + 1)


def _count(count: int, param: str) -> int:
    if count > INPUTS_MAX:
        raise InvalidRequest(
            f"`{param}` has {count} inputs, and a call may have {INPUTS_MAX}; nothing was reserved or sent.",
            param=param,
        )
    return count


def _must_be(param: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{param}` must be a text, an array of token numbers, or an array of up to {INPUTS_MAX} of either.",
        param=param,
    )


def _read_text_objects(array: msgspec.Raw, param: str) -> None:
    """Of what is more than text (an image by its address) the bytes bound nothing."""
    try:
        given = read_objects(array)
    except Ambiguous as error:
        raise InvalidRequest(f"In `{param}` {error}.", param=param) from None
    for at, one in enumerate(given):
        if one.keys() != {"text"} or one["text"] == NULL or memoryview(one["text"])[0] != ord('"'):
            raise InvalidRequest(
                f"`{param}[{at}]` must be a text, or an object of a `text` and nothing else: what is more than text is "
                "not metered yet; nothing was reserved or sent.",
                param=param,
                code="content_by_reference",
            )


def text_bytes(value: msgspec.Raw, param: str) -> int:
    """Of a string, as JSON spells it. Raises InvalidRequest for anything else."""
    if memoryview(value)[0] != ord('"'):
        raise InvalidRequest(f"`{param}` must be a text.", param=param)
    return len(memoryview(value))
