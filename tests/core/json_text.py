"""Hypothesis strategies for JSON as text: any white space, any spelling, duplicates, values that look like syntax."""

import json

from hypothesis import strategies as st

spaces = st.sampled_from(["", "", "", " ", "\n", "\t", "\r\n", "  "])
_TRAPS = ['"', "\\", '","model":"x', '"}', '{"model":"y"}', "]", "\\u0022", "é", "😀", "\u2028", ":", ",", "}"]
traps = st.lists(st.sampled_from(_TRAPS), max_size=3).map("".join)
numbers = st.sampled_from(["0", "1", "12", "123", "-0", "1.0", "1.05", "1e2", "1e25", "12E+3", "0.1"])


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """A JSON string literal of `text`, each character as it is or escaped."""
    pieces = []
    for char in text:
        plain = json.dumps(char, ensure_ascii=False)[1:-1]
        escaped = json.dumps(char)[1:-1] if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
        pieces.append(escaped if draw(st.integers(0, 9)) == 0 else plain)
    return f'"{"".join(pieces)}"'


scalars = st.one_of(st.sampled_from(["true", "false", "null"]), numbers, traps.flatmap(spelled))


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(st.lists(inner, max_size=3).flatmap(array_of), objects(st.sampled_from("abc"), inner))


@st.composite
def array_of(draw: st.DrawFn, items: list[str]) -> str:
    return "[" + ",".join(draw(spaces) + item + draw(spaces) for item in items) + "]"


@st.composite
def objects(draw: st.DrawFn, keys: st.SearchStrategy[str], values: st.SearchStrategy[str]) -> str:
    """An object in some spelling; keys may come more than once."""
    return draw(object_of(draw(st.lists(st.tuples(keys, values), max_size=5))))


@st.composite
def object_of(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> str:
    loose = draw(st.booleans())

    def space() -> str:
        return draw(spaces) if loose else ""

    members = [
        f"{space()}{draw(spelled(key)) if loose else json.dumps(key)}{space()}:{space()}{value}" for key, value in pairs
    ]
    return f"{space()}{{{(space() + ',').join(members)}{space()}}}{space()}"


values = st.recursive(scalars, _containers, max_leaves=6)
