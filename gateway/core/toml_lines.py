"""Where in a TOML text each key stands, so that a wrong setting can be shown by its line."""

import tomllib
from collections.abc import Iterator
from typing import Final, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top: ("upstreams", 0, "timeouts", "idle_s")."""

_INCOMPLETE: Final = tomllib.TOMLDecodeError


def lines_of(text: str) -> dict[Path, int]:
    """Line, from 1, of every table and key. `text` must be valid TOML; keys inside a value have the value's line."""
    found: dict[Path, int] = {}
    arrays: dict[Path, int] = {}
    table: Path = ()
    for line, statement, parsed in _statements(text):
        if statement.lstrip().startswith("["):
            table = ()
            node: object = parsed
            while isinstance(node, dict) and node:
                [(key, node)] = node.items()
                table = (*table, key)
                if isinstance(node, list):  # `[[table]]`: one more of it.
                    arrays[table] = arrays.get(table, -1) + 1
                    [node] = node
                if table in arrays:
                    table = (*table, arrays[table])
            found[table] = line
        else:
            for path in _paths(parsed):
                found.setdefault((*table, *path), line)
    return found


def line_of(path: Path, lines: dict[Path, int]) -> int | None:
    """The line of `path`, or of the nearest thing around it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, object]]]:
    """Each table header or `key = value` alone. A value may span lines: a statement ends where it is valid TOML."""
    begun, statement = 1, ""
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        begun = begun if statement else number
        statement += line
        try:
            parsed = tomllib.loads(statement)
        except _INCOMPLETE:
            continue
        if parsed:
            yield begun, statement, parsed
        statement = ""


def _paths(value: object) -> Iterator[Path]:
    children: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for key, child in children:
        yield (key,)
        for path in _paths(child):
            yield (key, *path)
