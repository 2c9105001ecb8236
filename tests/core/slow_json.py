"""A JSON reader written from the grammar (RFC 8259), one character after another, with the place of every member.

It shares nothing with msgspec or with our code: tests hold both against it.
"""

import re
from typing import NamedTuple

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Member(NamedTuple):
    key: str
    start: int
    end: int
    """[start, end) of its value, in bytes."""


class NotJson(Exception):
    pass


def members(text: bytes) -> list[Member]:
    """Of the object that `text` is, duplicates included, in order. Raises NotJson."""
    reader = _Reader(text.decode())
    reader.space()
    found = reader.object()
    reader.space()
    if reader.at != len(reader.text):
        raise NotJson("something follows")
    bytes_before = [0]
    for char in reader.text:
        bytes_before.append(bytes_before[-1] + len(char.encode()))
    return [Member(key, bytes_before[start], bytes_before[end]) for key, start, end in found]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def expect(self, char: str) -> None:
        if self.peek() != char:
            raise NotJson(f"expected {char} at {self.at}")
        self.at += 1

    def space(self) -> None:
        while self.peek() and self.peek() in " \t\n\r":
            self.at += 1

    def value(self) -> None:
        match self.peek():
            case "{":
                self.object()
            case "[":
                self.array()
            case '"':
                self.string()
            case _:
                self.word()

    def object(self) -> list[tuple[str, int, int]]:
        found: list[tuple[str, int, int]] = []
        self.expect("{")
        self.space()
        while self.peek() != "}":
            if found:
                self.expect(",")
                self.space()
            key = self.string()
            self.space()
            self.expect(":")
            self.space()
            start = self.at
            self.value()
            found.append((key, start, self.at))
            self.space()
        self.at += 1
        return found

    def array(self) -> None:
        self.expect("[")
        self.space()
        first = True
        while self.peek() != "]":
            if not first:
                self.expect(",")
                self.space()
            first = False
            self.value()
            self.space()
        self.at += 1

    def string(self) -> str:
        self.expect('"')
        units = []
        while (char := self.peek()) != '"':
            self.at += 1
            if char != "\\":
                units.append(char)
            elif self.peek() == "u":
                units.append(chr(int(self.text[self.at + 1 : self.at + 5], 16)))
                self.at += 5
            else:
                units.append(_ESCAPES[self.peek()])
                self.at += 1
        self.at += 1
        return "".join(units).encode("utf-16", "surrogatepass").decode("utf-16")

    def word(self) -> None:
        for word in ("true", "false", "null"):
            if self.text.startswith(word, self.at):
                self.at += len(word)
                return
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            raise NotJson(f"no value at {self.at}")
        self.at = match.end()
