"""The texts below the fields of a class, which Python itself does not keep, for whoever reads the documentation."""

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

import msgspec

_NONE: Final = re.compile(r"\bNone\b")
_NOTHING: Final[Mapping[str, str]] = {}


def field_texts(type: type[msgspec.Struct]) -> dict[str, str]:
    """By the names that requests and answers have; inherited ones too."""
    texts: dict[str, str] = {}
    for base in reversed(type.__mro__):
        texts |= _of_module(base.__module__).get(base.__qualname__, _NOTHING)
    return {field.encode_name: texts[field.name] for field in msgspec.structs.fields(type) if field.name in texts}


def structs_in(types: Iterable[Any]) -> set[type[msgspec.Struct]]:
    """All that the types are made of."""
    found: set[type[msgspec.Struct]] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found:
                continue
            found.add(info.cls)
        waiting += _parts(info)
    return found


def _parts(info: Any) -> Iterable[Any]:
    match info:
        case msgspec.inspect.StructType():
            return [field.type for field in info.fields]
        case msgspec.inspect.UnionType():
            return info.types
        case msgspec.inspect.TupleType():
            return info.item_types
        case msgspec.inspect.DictType():
            return [info.key_type, info.value_type]
        case msgspec.inspect.Metadata():
            return [info.type]
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return [info.item_type]
        case _:
            return []


@cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """By class, the texts of its fields; nothing where the source is not there."""
    module = sys.modules.get(name)
    if module is None or not name.startswith("gateway."):
        return {}
    try:
        tree = ast.parse(inspect.getsource(module))
    except OSError:
        return {}
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    texts = {}
    for field, below in zip(node.body, node.body[1:], strict=False):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            # They are written for Python's readers; JSON's None is null.
            texts[field.target.id] = _NONE.sub("null", " ".join(below.value.value.split()))
    return texts
