"""A request's body as a JSON object that can be read in one way only, and its plain values: for any dialect."""

import re
from collections.abc import Collection, Mapping
from typing import Final, TypeVar

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import KEYS_MAX, Ambiguous, RawObject, misspelled, read_object, read_objects

NULL: Final = msgspec.Raw(b"null")
_AT: Final = re.compile(r"\$\[(\d+)\]")

Scalars = TypeVar("Scalars")


def read_body(body: bytes) -> tuple[bytes, RawObject]:
    """The object without white space, and its values. Raises InvalidRequest, and RecursionError for deep nesting."""
    try:
        if not body.isascii():
            str(body, "utf-8")  # msgspec does not look into strings that it keeps raw
        return read_object(body)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    except Ambiguous as error:
        param = error.key and error.key[:64]
        raise InvalidRequest(f"The body can be read in two ways: {error}.", param=param) from None
    except msgspec.ValidationError:
        raise InvalidRequest(f"The body must be a JSON object of at most {KEYS_MAX} keys.") from None
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from None


def read_scalars(
    values: RawObject, names: tuple[str, ...], decoder: "msgspec.json.Decoder[Scalars]", must_be: Mapping[str, str]
) -> Scalars:
    """The fields that are read as values, gathered into one array so that one typed decode checks them all.

    `names` are in the order of the decoder's type. Raises InvalidRequest.
    """
    try:
        return decoder.decode(b"[%b]" % b",".join([values.get(name, NULL) for name in names]))
    except msgspec.DecodeError as error:
        at = _AT.search(str(error))
        name = names[int(at[1])] if at else "model"
        raise InvalidRequest(f"`{name}` {must_be[name]}.", param=name) from None


def refuse_misspelled(values: RawObject, deciding: Collection[str]) -> None:
    """Raises InvalidRequest for a key that some server could take for one that decides the price."""
    if found := misspelled(values.keys() - deciding, deciding):
        raise InvalidRequest(f"Unknown parameter: `{found[0][:64]}`. Did you mean `{found[1]}`?", param=found[1])


def is_set(values: RawObject, name: str) -> bool:
    return name in values and values[name] != NULL


def objects_of(array: msgspec.Raw, param: str) -> list[RawObject]:
    """Raises InvalidRequest for what is not an array of objects, each key once."""
    try:
        return read_objects(array)
    except Ambiguous as error:
        raise InvalidRequest(f"In `{param}` {error}.", param=param) from None
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{param}` must be an array of objects.", param=param) from None


def object_of(value: msgspec.Raw, param: str) -> RawObject:
    """Raises InvalidRequest for what is not an object, each key once."""
    try:
        return read_object(bytes(value))[1]
    except Ambiguous as error:
        raise InvalidRequest(f"In `{param}` {error}.", param=param) from None
    except msgspec.DecodeError:
        raise InvalidRequest(f"`{param}` must be an object.", param=param) from None


def not_yours(param: str) -> InvalidRequest:
    """Organisations share the provider's account, so an id of something stored there could be anybody's."""
    return InvalidRequest(
        f"`{param}` names an object stored at the provider; only what the request itself holds can be used.",
        param=param,
        code="unknown_id",
    )
