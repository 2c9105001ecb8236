"""The OpenAPI 3.1 document of /api, made from the endpoints themselves: what is checked is what is described."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway.core.access import HOLDERS
from gateway.edge.api.endpoint import Endpoint

_REFERENCE: Final = "#/components/schemas/{name}"


class FieldProblem(msgspec.Struct, frozen=True):
    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. Some codes carry further members, such as `available` and `required` of insufficient_credits."""

    type: str
    title: str
    status: int
    detail: str
    """What is wrong, and what was not done."""
    code: str
    errors: list[FieldProblem] | msgspec.UnsetType = msgspec.UNSET


_PROBLEMS: Final = {
    400: "Something in the request is wrong; `errors` names it.",
    401: "No credential, or none that is valid.",
    402: "The credits do not suffice.",
    403: "The credential does not give the right that this needs.",
    404: "There is no such object, or none that the asker may see.",
    409: "The change contradicts one already made.",
    412: "The object is no longer what If-Match says.",
    413: "The body is too large.",
    415: "The body is compressed, or no JSON.",
    422: "The Idempotency-Key came before, with another request.",
    429: "Too many requests.",
    503: "The database cannot be reached; where something was to be changed, it may be asked again under the same key.",
}


def openapi_document(endpoints: Iterable[Endpoint], *, version: str) -> dict[str, Any]:
    endpoints = list(endpoints)
    types: list[Any] = [Problem]
    for endpoint in endpoints:
        types += [type for type in (endpoint.body, endpoint.answer) if type is not None and _is_json(endpoint, type)]
        types += endpoint.path_types.values()
        if endpoint.query is not None:
            types += [field.type for field in msgspec.structs.fields(endpoint.query)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    # What is alike is one type: the schema of each is found by the place it was asked for at.
    schema_of = dict(zip(map(_identity, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.plain_path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tollgate",
            "version": version,
            "summary": "Credits, people and access of a gateway to LLM providers.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The operator's key, a person's token, or an organisation's API key.",
                }
            },
        },
        "security": [{"bearer": []}],
    }


def _identity(type: Any) -> str:
    return repr(type)


def _is_json(endpoint: Endpoint, type: Any) -> bool:
    return type is endpoint.body or endpoint.content_type == "application/json"


def _operation(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    description = " ".join(endpoint.description.split())
    holders = ", ".join(sorted(HOLDERS[endpoint.needs]))
    operation: dict[str, Any] = {
        "operationId": f"{endpoint.tag}.{endpoint.handler.__name__}".replace("-", "_"),
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": f"{description}\n\nNeeds `{endpoint.needs}`: {holders}.".strip(),
        "parameters": [*_path_parameters(endpoint, schema_of), *_query_parameters(endpoint, schema_of)],
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.changes:
        operation["parameters"].append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Sent again with the same request within 24 hours, it brings the first answer again.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            }
        )
    if endpoint.versioned:
        operation["parameters"].append(
            {
                "name": "If-Match",
                "in": "header",
                "description": "ETags that an answer had: only an object that still has one of them is changed.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "^[!-~]+$"},
            }
        )
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[_identity(endpoint.body)]}},
        }
    return operation


def _path_parameters(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": schema_of[_identity(type)]}
        for name, type in endpoint.path_types.items()
    ]


def _query_parameters(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": _with_default(schema_of[_identity(field.type)], field),
        }
        for field in msgspec.structs.fields(endpoint.query)
    ]


def _with_default(schema: dict[str, Any], field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    if field.default in (msgspec.NODEFAULT, None) or field.default is msgspec.UNSET:
        return schema
    return (
        {"allOf": [schema], "default": msgspec.to_builtins(field.default)}
        if "$ref" in schema
        else schema | {"default": msgspec.to_builtins(field.default)}
    )


def _responses(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    done: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase}
    if endpoint.answer is not None:
        schema = schema_of[_identity(endpoint.answer)] if _is_json(endpoint, endpoint.answer) else {"type": "string"}
        done["content"] = {endpoint.content_type: {"schema": schema}}
    problem = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(name="Problem")}}}
    return {
        str(endpoint.status): done,
        **{str(status): {"description": text, "content": problem} for status, text in _PROBLEMS.items()},
    }
