"""Texts that a model reads each by itself, as several dialects have them: one or many, strings or token numbers."""

from typing import Annotated, Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import Ambiguous, read_objects
from gateway.core.request_body import NULL

INPUTS_MAX: Final = 2_048
"""Of one call; as many as OpenAI takes."""
TOKEN_NUMBER_MAX: Final = 2**31 - 1

_TokenNumber = Annotated[int, msgspec.Meta(ge=0, le=TOKEN_NUMBER_MAX)]
_ONE: Final = msgspec.json.Decoder(str | list[str | _TokenNumber | list[_TokenNumber] | dict[str, msgspec.Raw]])


class TextInputs(msgspec.Struct, frozen=True, gc=False):
    count: int = 0
    text_bytes: int = 0
    """What bounds the tokens of those that are texts from above."""
    token_ids: int = 0
    """Tokens of those that come as numbers."""


def read_text_inputs(value: msgspec.Raw, param: str, *, objects: bool = False) -> TextInputs:
    """A string, an array of strings, of token numbers, or of arrays of those; with `objects` also of `{"text": …}`.

    Raises InvalidRequest.
    """
    must_be = InvalidRequest(
        f"`{param}` must be a text, an array of token numbers, or an array of up to {INPUTS_MAX} of either.",
        param=param,
    )
    try:
        given = _ONE.decode(value)
    except msgspec.DecodeError:
        raise must_be from None
    if type(given) is str:
        return TextInputs(count=1, text_bytes=len(memoryview(value)))
    kinds = set(map(type, given))
    if len(kinds) != 1:
        raise must_be  # none, or such that servers may read them in several ways
    (kind,) = kinds
    if kind is int:
        return TextInputs(count=1, token_ids=len(given))
    if len(given) > INPUTS_MAX:
        raise InvalidRequest(
            f"`{param}` has {len(given)} inputs, and a call may have {INPUTS_MAX}; nothing was reserved or sent.",
            param=param,
        )
    if kind is str:
        return TextInputs(count=len(given), text_bytes=len(memoryview(value)))
    if kind is list:
        return TextInputs(count=len(given), token_ids=sum(map(len, given)))
    if not objects:
        raise must_be
    _read_text_objects(value, param)
    return TextInputs(count=len(given), text_bytes=len(memoryview(value)))


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
