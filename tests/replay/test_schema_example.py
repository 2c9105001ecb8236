from typing import Any

import pytest

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
