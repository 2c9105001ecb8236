from typing import Any

import pytest

from gateway.replay.heard import Heard
from gateway.replay.schema_example import example

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}, "nick": {"type": "string"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, {}),
        (PERSON, {"name": "example", "age": 18}),
        ({"type": "object", "properties": {"a": {}}}, {}),
        ({"enum": ["metric", "imperial"]}, "metric"),
        ({"const": 3}, 3),
        ({"type": "string", "minLength": 10}, "examplexxx"),
        ({"type": "string", "maxLength": 3}, "exa"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "number", "exclusiveMinimum": 0}, 1),
        ({"type": "integer", "maximum": -5}, -5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "example"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"type": "array", "items": {"type": "boolean"}}, []),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        ({"$ref": "#/$defs/person", "$defs": {"person": PERSON}}, {"name": "example", "age": 18}),
        ({"$ref": "#/$defs/missing"}, None),
        ({"type": "mystery"}, None),
        (None, None),
    ],
)
def test_an_example_is_the_simplest_value_of_its_schema(schema: Any, value: Any) -> None:
    assert example(schema) == value


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    found = example(node)
    depth = 0
    while found is not None:
        found = found["next"]
        depth += 1
    assert depth < 40


def test_many_items_are_a_few() -> None:
    assert len(example({"type": "array", "items": {"type": "null"}, "minItems": 10**9})) == 16


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 7),
        ({"type": "number"}, 2.5),
        ({"type": "integer", "minimum": 8}, 40),
        ({"type": "integer", "exclusiveMaximum": 7}, 6),
        ({"type": "integer", "multipleOf": 5}, 1),
        ({"type": "string"}, "Lima"),
        ({"type": "string", "minLength": 5}, "Santiago"),
        ({"type": "string", "maxLength": 3}, "exa"),
        ({"type": "string", "format": "date"}, "2026-01-02"),
        ({"type": "string", "pattern": "^L"}, "example"),
        ({"type": "string", "enum": ["a", "b"]}, "a"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [7, 40, 1]),
    ],
)
def test_what_was_heard_comes_first_where_the_schema_allows_it(schema: Any, value: Any) -> None:
    assert example(schema, Heard("2.5 7 40 'Lima' 'Santiago'")) == value
