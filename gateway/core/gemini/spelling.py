"""Google takes each key in camelCase and in snake_case. Here every object is read by the camelCase of its keys, and one
that says the same thing in both is refused, as is any other spelling of a key that decides a price."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.json_object import RawObject, misspelled
from gateway.core.request_body import NULL, object_of, objects_of

_CAPITAL: Final = re.compile(r"(?=[A-Z])")
_BRACE: Final = b"{"[0]


class Keys:
    """The deciding keys of one kind of object."""

    __slots__ = ("camel", "snake")

    def __init__(self, names: Iterable[str]) -> None:
        """In camelCase."""
        self.camel = frozenset(names)
        self.snake = {snake_case(name): name for name in self.camel if snake_case(name) != name}

    def read(self, values: RawObject, param: str) -> RawObject:
        """The values by camelCase. Raises InvalidRequest."""
        others = values.keys() - self.camel
        if not others:
            return values
        if snakes := others & self.snake.keys():
            for snake in sorted(snakes):
                if self.snake[snake] in values:
                    raise InvalidRequest(
                        f"`{param}` can be read in two ways: `{snake}` and `{self.snake[snake]}` are the same.",
                        param=param,
                    )
            others = others - snakes
            values = {self.snake.get(key, key): value for key, value in values.items()}
        if others and (found := misspelled(others, self.camel)):
            raise InvalidRequest(f"Unknown key `{found[0][:64]}`; `{found[1]}` is meant?", param=param)
        return values


def snake_case(name: str) -> str:
    return _CAPITAL.sub("_", name).lower()


def one_or_many(value: msgspec.Raw, param: str) -> list[RawObject]:
    """An array of objects, or the one that Google takes in its place. Raises InvalidRequest."""
    if value == NULL:
        return []
    return [object_of(value, param)] if memoryview(value)[0] == _BRACE else objects_of(value, param)
