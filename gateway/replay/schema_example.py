"""The simplest value that a JSON Schema allows: arguments for a tool, an answer in a demanded format."""

from collections.abc import Mapping
from typing import Any, Final

DEPTH_MAX: Final = 32


def example(schema: object) -> Any:
    """A value of the schema: first enum, first alternative, required properties only, shortest arrays."""
    return _example(schema, schema, 0)


def _example(schema: object, root: object, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(values := schema.get("enum"), list) and values:
        return values[0]
    if isinstance(reference := schema.get("$ref"), str):
        return _example(_resolve(reference, root), root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(alternatives := schema.get(key), list) and alternatives:
            return _example(alternatives[0], root, depth + 1)
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    return _of_type(str(kind), schema, root, depth)


def _of_type(kind: str, schema: Mapping[str, Any], root: object, depth: int) -> Any:
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            return [_example(schema.get("items"), root, depth + 1) for _ in range(min(_int(schema, "minItems"), 16))]
        case "string":
            return _text(schema)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case _:
            return None


def _object(schema: Mapping[str, Any], root: object, depth: int) -> dict[str, Any]:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        return {}
    return {name: _example(properties.get(name), root, depth + 1) for name in required if isinstance(name, str)}


def _text(schema: Mapping[str, Any]) -> str:
    by_format = {
        "date": "2026-01-02",
        "date-time": "2026-01-02T03:04:05Z",
        "time": "03:04:05Z",
        "email": "someone@example.org",
        "uuid": "01890a5d-ac96-774b-bcce-b302099a8057",
        "uri": "https://example.org/",
    }
    text = by_format.get(str(schema.get("format")), "example")
    shortest = min(_int(schema, "minLength"), 4096)
    if len(text) < shortest:
        text = text + "x" * (shortest - len(text))
    return text[: _int(schema, "maxLength")] if "maxLength" in schema else text


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
