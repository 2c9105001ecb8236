"""Named SQL statements, kept as SQL in `queries/<noun>.sql`: each begins with a line `-- name: find_org`."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

_NAME_LINE: Final = re.compile(r"^-- name: (?P<name>[a-z][a-z0-9_]*)[ \t]*$", re.MULTILINE)


class Statements:
    """The statements of one file as attributes; iterating gives (name, SQL)."""

    def __init__(self, noun: str, sql: str) -> None:
        self._noun = noun
        self._by_name: dict[str, str] = {}
        names = list(_NAME_LINE.finditer(sql))
        if "-- name" in _NAME_LINE.sub("", sql) or not names:
            raise ValueError(f"queries/{noun}.sql has a malformed `-- name:` line, or none")
        ends = [name.start() for name in names[1:]] + [len(sql)]
        for name, end in zip(names, ends, strict=True):
            if name["name"] in self._by_name:
                raise ValueError(f"queries/{noun}.sql names {name['name']} twice")
            self._by_name[name["name"]] = sql[name.end() : end].strip().removesuffix(";")

    def __getattr__(self, name: str) -> str:
        try:
            return self._by_name[name]
        except KeyError:
            raise AttributeError(f"queries/{self._noun}.sql has no statement named {name}") from None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._by_name.items())


def load(noun: str) -> Statements:
    """The statements of `queries/<noun>.sql`, read once when the module that runs them is imported."""
    return Statements(noun, files("gateway.postgres").joinpath("queries", f"{noun}.sql").read_text("utf-8"))


def nouns() -> list[str]:
    """Every file there is; a test prepares every statement of each against the migrated schema."""
    folder = files("gateway.postgres").joinpath("queries")
    if not folder.is_dir():
        return []
    return sorted(file.name.removesuffix(".sql") for file in folder.iterdir() if file.name.endswith(".sql"))
