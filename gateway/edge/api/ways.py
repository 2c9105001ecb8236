"""Bodies that say a thing in one of several ways, such as an amount or a model's tokens: which fields go together.

    class Expected(msgspec.Struct):
        ways: ClassVar[Ways] = (Way(needs=("amount",), without=("model",)), Way(needs=("model",), without=("amount",)))

The handlers check it and name the field that is wrong; the document says it, as `oneOf`. Of any body one way is right.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec


class Way(msgspec.Struct, frozen=True, kw_only=True):
    needs: tuple[str, ...] = ()
    """Fields that must be given, and not be null."""
    without: tuple[str, ...] = ()
    """Fields that must be left out; null, or what they are when left out, says the same."""
    only: Mapping[str, Any] = {}
    """By field, what its schema says more."""


Ways = tuple[Way, ...]
_NULL: Final = {"type": "null"}


def ways_of(struct: type[msgspec.Struct]) -> Ways:
    ways: Ways = getattr(struct, "ways", ())
    return ways


def one_of(struct: type[msgspec.Struct], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the struct's schema says more: one of these, and no other."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    alternatives = []
    for way in ways_of(struct):
        assert fields.keys() >= {*way.needs, *way.without, *way.only}, struct
        said = {name: _given(schema["properties"][name]) for name in way.needs}
        said |= {name: _left_out(fields[name]) for name in way.without}
        said |= {name: said.get(name, {}) | dict(more) for name, more in way.only.items()}
        alternatives.append({"title": _title(way), "properties": said, "required": list(way.needs)})
    return alternatives


def _title(way: Way) -> str:
    """`with amount, without model`."""
    only = [f"{name} {more['const']!r}" for name, more in way.only.items() if more.get("const")]
    words = [("with", [*way.needs, *only]), ("without", way.without)]
    return ", ".join(f"{word} {' and '.join(names)}" for word, names in words if names)


def _given(schema: Mapping[str, Any]) -> dict[str, Any]:
    is_nullable = _NULL in schema.get("anyOf", ())
    return {"not": _NULL} if is_nullable else {}


def _left_out(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is None:
        return _NULL
    return False if field.default is msgspec.NODEFAULT else {"const": field.default}
