"""A body or an answer as an example, made from its schema: what must be there, and the first of several ways."""

from collections.abc import Mapping
from typing import Any, Final

DEPTH_MAX: Final = 12
_ID: Final = "0198c0de-0000-7000-8000-000000000000"
_BY_FORMAT: Final = {"uuid": _ID, "date-time": "2026-01-31T12:00:00Z", "date": "2026-01-31"}
_BY_NAME: Final = {
    "model": "gpt-5",
    "provider": "openai",
    "plan": "growth",
    "reason": "MANUAL_ADJUSTMENT",
    "email": "anna@example.com",
    "time_zone": "Europe/Berlin",
    "set": "chatsparty",
    "feature": "ai_generated_report",
    "object_kind": "api_key",
    "items": [{"operation": "validate", "body": {"organization_id": _ID, "amount": "2.5"}}],
    "code": "not_found",
}
"""Where a schema cannot say what is meant."""


def example_of(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Any:
    return _of(schema, components, "", 0)


def _of(schema: Any, components: Mapping[str, Any], name: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > DEPTH_MAX:
        return None
    if "$ref" in schema:
        return _of(components[schema["$ref"].rpartition("/")[2]], components, name, depth + 1)
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return _object(schema, components, depth)
    if name in _BY_NAME:
        return _BY_NAME[name]
    for word in ("anyOf", "allOf", "oneOf"):
        if word in schema:
            return _of(schema[word][0], components, name, depth + 1)
    return _plain(schema, components, name, depth)


def _plain(schema: Mapping[str, Any], components: Mapping[str, Any], name: str, depth: int) -> Any:
    match schema.get("type"):
        case "array":
            return [_of(schema.get("items"), components, name.removesuffix("s"), depth + 1)]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _BY_FORMAT.get(schema.get("format", ""), name or "text")


def _object(schema: Mapping[str, Any], components: Mapping[str, Any], depth: int) -> dict[str, Any]:
    names = list(schema.get("required", ()))
    for way in schema.get("oneOf", ())[:1]:
        names += [name for name in way.get("required", ()) if name not in names]
    return {name: _of(schema["properties"][name], components, name, depth + 1) for name in names}
