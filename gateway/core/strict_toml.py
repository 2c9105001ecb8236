"""TOML text → a typed value, strictly: an unknown key, a wrong type or an absurd number is refused with its line."""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, Generic, NoReturn, TypeVar

import msgspec

from gateway.core.toml_lines import Path, line_of, lines_of

_Shape = TypeVar("_Shape")
_NOT_ZERO: Final = ("_s", "_max", "_min", "_rows", "_tokens", "_accounts", "lanes", "months_ahead")
_ZERO_IS_A_CHOICE: Final = frozenset(
    {"drain_s", "shutdown_drain_s", "queue_wait_s", "refusal_memory_s", "queue_max", "parked_max", "skew_s"}
)
"""Times and limits that may be nothing; of others zero would mean always, or never."""


class SettingsError(Exception):
    """A setting is unknown, malformed or contradicts another; the message names the file, the line and the key."""


class StrictToml(Generic[_Shape]):
    """A text read as `shape`. Keys in `reserved` are no setting although the shape has them. Raises SettingsError."""

    def __init__(self, text: str, shape: type[_Shape], *, name: str, reserved: frozenset[str] = frozenset()) -> None:
        self._name = name
        self._reserved = reserved
        try:
            data = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{name}: not TOML: {error}") from error
        self._lines = lines_of(text)
        self._refuse_unknown(data, msgspec.inspect.type_info(shape), ())
        self._refuse_absurd(data, ())
        try:
            self.value = msgspec.convert(data, shape)
        except msgspec.ValidationError as error:
            told, _, where = str(error).partition(" - at ")
            self.refuse(_from_json_path(where.strip("`")), told)

    def refuse(self, path: Path, why: str) -> NoReturn:
        """Raise SettingsError about the key at `path`."""
        line = line_of(path, self._lines)
        where = self._name if line is None else f"{self._name}:{line}"
        raise SettingsError(f"{where}: {_text(path)}: {why}" if path else f"{where}: {why}")

    def _refuse_unknown(self, data: object, type_: object, path: Path) -> None:
        if isinstance(type_, msgspec.inspect.StructType | msgspec.inspect.DataclassType) and isinstance(data, dict):
            known = {each.encode_name: each.type for each in type_.fields if each.encode_name not in self._reserved}
            for key, value in data.items():
                if key not in known:
                    close = difflib.get_close_matches(key, known, n=1)
                    hint = f"did you mean {close[0]}? " if close else ""
                    self.refuse((*path, key), f"unknown key; {hint}known here: {', '.join(known)}")
                self._refuse_unknown(value, known[key], (*path, key))
        elif isinstance(type_, msgspec.inspect.VarTupleType) and isinstance(data, list):
            for index, value in enumerate(data):
                self._refuse_unknown(value, type_.item_type, (*path, index))

    def _refuse_absurd(self, data: object, path: Path) -> None:
        for key, value in _children(data):
            if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
                if not math.isfinite(value) or value < 0:
                    self.refuse((*path, key), "must be a finite number and not negative")
                if value == 0 and str(key).endswith(_NOT_ZERO) and key not in _ZERO_IS_A_CHOICE:
                    self.refuse((*path, key), "must be more than 0")
            self._refuse_absurd(value, (*path, key))


def _children(data: object) -> Iterator[tuple[str | int, Any]]:
    if isinstance(data, dict):
        yield from data.items()
    elif isinstance(data, list):
        yield from enumerate(data)


def _from_json_path(json_path: str) -> Path:
    """msgspec's `$.upstreams[0].timeouts` as keys and positions."""
    return tuple(int(index) if index else key for key, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", json_path))


def _text(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
