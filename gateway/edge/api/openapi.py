"""The OpenAPI 3.1 document of /api, made from the endpoints themselves: what is checked is what is described."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway.core.access import HOLDERS, Right
from gateway.edge.api.endpoint import Endpoint
from gateway.edge.api.field_texts import field_texts, structs_in
from gateway.edge.api.ways import one_of

_REFERENCE: Final = "#/components/schemas/{name}"


class FieldProblem(msgspec.Struct, frozen=True):
    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. Where credits do not suffice, it says whose and how many."""

    type: str
    title: str
    status: int
    detail: str
    """What is wrong, and what was not done."""
    code: str
    errors: list[FieldProblem] | msgspec.UnsetType = msgspec.UNSET
    """The field or the header that is wrong, where it is one."""
    limit_source: str | msgspec.UnsetType = msgspec.UNSET
    """Of a 402: what has not so much left, such as org_pool, user_allocation, receivable or key_budget."""
    available: str | msgspec.UnsetType = msgspec.UNSET
    """Of a 402: credits that could be had there."""
    required: str | msgspec.UnsetType = msgspec.UNSET
    """Of a 402: credits that are needed."""
    affordable_max_tokens: int | msgspec.UnsetType | None = msgspec.UNSET
    """Of a 402 of a call: the output limit with which it would fit."""
    resets_at: datetime | msgspec.UnsetType | None = msgspec.UNSET
    """Of a budget's 402: when its next period begins; null: never."""


_PROBLEMS: Final = {
    400: "Something in the request is wrong; `errors` names it.",
    401: "No credential, or none that is valid.",
    402: "The credits do not suffice.",
    403: "The credential does not give the right that this needs.",
    404: "There is no such object, or none that the asker may see.",
    408: "The body came too slowly.",
    409: "The change contradicts one already made.",
    412: "The object is no longer what If-Match says.",
    413: "The body is too large.",
    415: "The body is compressed.",
    422: "The Idempotency-Key came before, with another request.",
    429: "Too many requests.",
    503: "The database cannot be reached; where something was to be changed, it may be asked again under the same key.",
}
_HEADERS: Final = {
    "ETag": "The object's version, for an If-Match to come; left out where there is nothing yet.",
    "Idempotent-Replayed": "`true` where this was done before, under the same Idempotency-Key.",
    "Retry-After": "So many seconds from now it may be asked again.",
    "WWW-Authenticate": "How to authenticate: `Bearer`.",
    "X-Request-Id": "Of this answer, in the gateway's log and in the audit log.",
}
_PROBLEM_HEADERS: Final = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

_OF_ALL: Final = (400, 401, 403, 429, 503)
_OF_CREDITS: Final = frozenset({Right.SPEND_CREDITS, Right.MOVE_CREDITS, Right.GIVE_CREDITS, Right.WRITE_USERS})
"""What is done with these may want credits that are not there."""

_PATH_TEXTS: Final = {
    "org_id": "The organisation's id.",
    "user_id": "The user's id.",
    "key_id": "The key's id: not the key itself.",
    "account_id": "The account's id: the pool bears the organisation's, an allocation the user's.",
    "job_id": "The job's id.",
    "budget_id": "The budget's id.",
    "reservation_id": "The reservation's id.",
    "plan_id": "The plan's id, as the plans file names it.",
    "role": "The role of the users that are meant.",
    "provider": "The provider's name in the price map.",
    "model": "The model's name at the provider; `*` for all others of it. Slashes are its own.",
}
_QUERY_TEXTS: Final = {
    "organization_id": "Whoever is not the operator may leave it out: their own is meant.",
    "limit": "So many at most.",
    "offset": "So many are passed over.",
    "cursor": "The `next_cursor` of the page before; instead of `offset`.",
    "from": "From here on …",
    "to": "… and before this.",
    "order_by": "What the rows are ordered by.",
    "order_direction": "Which end comes first.",
    "group_by": "What the groups are made of.",
    "reason": "Only rows that have it.",
    "model": "Only what is of this model.",
    "provider": "Only what is of this provider.",
    "feature": "Only what is of this feature.",
    "tag": "Only calls that bear it.",
    "user": "Only what is of this user.",
    "user_id": "Only what is of this user.",
    "key": "Only calls by this key.",
    "job_id": "The job that owns it; left out, whoever asks does.",
    "object": "Only entries on this object.",
}
"""For fields without a text of their own."""


def openapi_document(endpoints: Iterable[Endpoint], *, version: str) -> dict[str, Any]:
    endpoints = list(endpoints)
    types: list[Any] = [Problem]
    for endpoint in endpoints:
        types += [type for type in (endpoint.body, endpoint.answer) if type is not None and _is_json(endpoint, type)]
        types += getattr(endpoint.body, "written_as", ())  # what a body holds without reading it
        types += endpoint.path_types.values()
        if endpoint.query is not None:
            types += [field.type for field in msgspec.structs.fields(endpoint.query)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    _add_field_texts(components, types)
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
        "servers": [{"url": "/", "description": "The gateway that this document is from."}],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()},
            "responses": {str(status): _problem(status) for status in _PROBLEMS},
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


def _add_field_texts(components: dict[str, Any], types: Iterable[Any]) -> None:
    for struct in structs_in(types):
        # Of two classes with one name, the components are called by their modules, too.
        schema = components.get(struct.__name__) or components[f"{struct.__module__}.{struct.__qualname__}"]
        for name, text in field_texts(struct).items():
            schema["properties"][name].setdefault("description", text)
        if alternatives := one_of(struct, schema):
            schema["oneOf"] = alternatives


def _identity(type: Any) -> str:
    return repr(type)


def _is_json(endpoint: Endpoint, type: Any) -> bool:
    return type is endpoint.body or endpoint.content_type == "application/json"


def _operation(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    description = " ".join(endpoint.description.split())
    holders = ", ".join(sorted(HOLDERS[endpoint.needs]))
    operation: dict[str, Any] = {
        "operationId": endpoint.id,
        "tags": [endpoint.tag],
        "summary": endpoint.summary,
        "description": f"{description}\n\nNeeds `{endpoint.needs}`: {holders}.{_own(endpoint)}".strip(),
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
        operation["parameters"].append(
            {
                "name": "X-Tollgate-Reason",
                "in": "header",
                "description": "Why, in your words: it is kept in the audit log.",
                "schema": {"type": "string", "maxLength": 1000},
            }
        )
    if endpoint.versioned:
        operation["parameters"].append(
            {
                "name": "If-Match",
                "in": "header",
                "description": "ETags that an answer had: only an object that still has one of them is changed.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "^[!-~][ -~]*$"},
            }
        )
    if endpoint.body is not None:
        operation["requestBody"] = {
            "description": f"A `{endpoint.body.__name__}` of at most {endpoint.body_bytes_max:,} bytes.",
            "required": True,
            "content": {"application/json": {"schema": schema_of[_identity(endpoint.body)]}},
        }
    return operation


def _own(endpoint: Endpoint) -> str:
    return f" Without `{endpoint.own_without}`, what is a colleague's is not shown." if endpoint.own_without else ""


def _path_parameters(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "description": _PATH_TEXTS[name],
            "required": True,
            "schema": schema_of[_identity(type)],
        }
        for name, type in endpoint.path_types.items()
    ]


def _query_parameters(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    texts = _QUERY_TEXTS | field_texts(endpoint.query)
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "description": texts[field.encode_name],
            "required": field.required,
            "schema": _with_default(_not_null(schema_of[_identity(field.type)]), field),
        }
        for field in msgspec.structs.fields(endpoint.query)
    ]


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is None, but none can be sent."""
    rest = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    return rest[0] if len(rest) == 1 else schema


def _with_default(schema: dict[str, Any], field: msgspec.structs.FieldInfo) -> dict[str, Any]:
    if field.default in (msgspec.NODEFAULT, None) or field.default is msgspec.UNSET:
        return schema
    default = msgspec.to_builtins(field.default)
    return {"allOf": [schema], "default": default} if "$ref" in schema else schema | {"default": default}


def _responses(endpoint: Endpoint, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if endpoint.tagged:
        names.append("ETag")
    if endpoint.changes:
        names.append("Idempotent-Replayed")
    done: dict[str, Any] = {"description": HTTPStatus(endpoint.status).phrase, "headers": _headers(names)}
    if endpoint.answer is not None:
        schema = schema_of[_identity(endpoint.answer)] if _is_json(endpoint, endpoint.answer) else {"type": "string"}
        done["content"] = {endpoint.content_type: {"schema": schema}}
    problems = {str(status): {"$ref": f"#/components/responses/{status}"} for status in problems_of(endpoint)}
    return {str(endpoint.status): done, **problems}


def problems_of(endpoint: Endpoint) -> list[int]:
    """The statuses of the problems that it can answer."""
    found = set(_OF_ALL)
    if endpoint.path_types or _names_something(endpoint.body) or _names_something(endpoint.query):
        found.add(404)
    if endpoint.body is not None:
        found |= {408, 413, 415}
    if endpoint.changes:
        found |= {409, 422}
    if endpoint.versioned:
        found.add(412)
    if endpoint.needs in _OF_CREDITS and endpoint.changes:
        found.add(402)
    return sorted(found)


def _names_something(struct: type[msgspec.Struct] | None) -> bool:
    """An id, or a model, which may not be there."""
    fields = () if struct is None else msgspec.structs.fields(struct)
    return any(field.name in ("model", "set", "cursor") or field.name.endswith("_id") for field in fields)


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _PROBLEMS[status],
        "headers": _headers(["X-Request-Id", *_PROBLEM_HEADERS.get(status, ())]),
        "content": {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(name="Problem")}}},
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
