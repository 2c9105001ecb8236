"""The simplest value that a JSON Schema allows: arguments for a tool, an answer in a demanded format."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.replay.heard import Heard

DEPTH_MAX: Final = 32
ITEMS_MAX: Final = 16
FORMATS: Final = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "someone@example.org",
    "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
    "uri": "https://example.org/",
}


def example(schema: object, heard: Heard | None = None) -> Any:
    """A value of the schema: first enum, first alternative, required properties only, shortest arrays.

    What was heard comes first where the schema allows it, in the order of the properties.
    """
    return _Writer(schema, heard or Heard()).value(schema, 0)


class _Writer:
    def __init__(self, root: object, heard: Heard) -> None:
        self._root = root
        self._heard = heard

    def value(self, schema: object, depth: int) -> Any:
        if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
            return None
        if "const" in schema:
            return schema["const"]
        if isinstance(values := schema.get("enum"), list) and values:
            return values[0]
        if isinstance(reference := schema.get("$ref"), str):
            return self.value(_resolve(reference, self._root), depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(alternatives := schema.get(key), list) and alternatives:
                return self.value(alternatives[0], depth + 1)
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = kind[0] if kind else "null"
        return self._of_type(str(kind), schema, depth)

    def _of_type(self, kind: str, schema: Mapping[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                items = min(_int(schema, "minItems"), ITEMS_MAX)
                return [self.value(schema.get("items"), depth + 1) for _ in range(items)]
            case "string":
                return self._text(schema)
            case "integer" | "number":
                heard = self._heard.number(lambda number: _allowed(number, kind, schema))
                return _number(schema) if heard is None else heard
            case "boolean":
                return True
            case _:
                return None

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties, required = schema.get("properties"), schema.get("required")
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            return {}
        return {name: self.value(properties.get(name), depth + 1) for name in required if isinstance(name, str)}

    def _text(self, schema: Mapping[str, Any]) -> str:
        shortest, longest = min(_int(schema, "minLength"), 4096), schema.get("maxLength")
        if "format" not in schema and "pattern" not in schema:
            heard = self._heard.text(lambda text: shortest <= len(text) <= (_int(schema, "maxLength") or len(text)))
            if heard is not None:
                return heard
        text = FORMATS.get(str(schema.get("format")), "example")
        text += "x" * (shortest - len(text))
        return text if longest is None else text[: _int(schema, "maxLength")]


def _allowed(number: int | float, kind: str, schema: Mapping[str, Any]) -> bool:
    bounds = {key: bound for key, bound in schema.items() if isinstance(bound, int | float)}
    return (
        (kind == "number" or isinstance(number, int))
        and bounds.get("minimum", number) <= number <= bounds.get("maximum", number)
        and bounds.get("exclusiveMinimum", number - 1) < number < bounds.get("exclusiveMaximum", number + 1)
        and "multipleOf" not in schema
    )


def _number(schema: Mapping[str, Any]) -> int | float:
    for key, step in (("minimum", 0), ("exclusiveMinimum", 1), ("maximum", 0), ("exclusiveMaximum", -1)):
        bound = schema.get(key)
        if isinstance(bound, int | float) and not isinstance(bound, bool):
            return bound + step
    return 1


def _int(schema: Mapping[str, Any], key: str) -> int:
    value = schema.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _resolve(reference: str, root: object) -> object:
    found = root
    for part in reference.removeprefix("#").split("/"):
        if part:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
    return found
