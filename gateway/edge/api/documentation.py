"""/api/openapi.json, and /api/docs, the same for people. Anybody may read them: they tell of no organisation."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from aiohttp import web
from markupsafe import Markup, escape

from gateway import __version__
from gateway.edge.api.endpoint import Endpoint
from gateway.edge.api.examples import example_of
from gateway.edge.api.house import House
from gateway.edge.api.openapi import openapi_document

_TEMPLATE: Final = Path(__file__).with_name("docs.html")


def add_documentation(app: web.Application, endpoints: tuple[Endpoint, ...], house: House) -> None:
    as_json, as_page = _written(endpoints)

    async def openapi(request: web.Request) -> web.StreamResponse:
        house.pace.stranger(house.door.address(request))
        return web.Response(body=as_json, content_type="application/json")

    async def page(request: web.Request) -> web.StreamResponse:
        house.pace.stranger(house.door.address(request))
        return web.Response(
            body=as_page,
            content_type="text/html",
            charset="utf-8",
            headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    app.router.add_get("/api/openapi.json", openapi)
    app.router.add_get("/api/docs", page)


@cache
def _written(endpoints: tuple[Endpoint, ...]) -> tuple[bytes, bytes]:
    """As JSON, and as a page."""
    document = openapi_document(endpoints, version=__version__)
    return msgspec.json.encode(document), docs_page(document).encode()


def docs_page(document: dict[str, Any]) -> str:
    """The document as one page, without scripts."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    components = document["components"]["schemas"]
    environment.filters["type_of"] = type_of
    environment.filters["linked"] = linked
    environment.filters["prose"] = prose
    environment.filters["example"] = lambda schema: example_text(schema, components)
    by_tag: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            entry = operation | {"method": method.upper(), "path": path}
            by_tag.setdefault(operation["tags"][0], []).append(entry)
    return environment.from_string(_TEMPLATE.read_text()).render(document=document, by_tag=by_tag)


def linked(schema: dict[str, Any]) -> Markup:
    """A schema in a few words, of which types lead to where they are explained."""
    if "$ref" in schema:
        name = type_of(schema)
        return Markup('<a href="#type-{name}">{name}</a>').format(name=name)
    for word in ("anyOf", "allOf", "oneOf"):
        if word in schema:
            return Markup(" or ").join(dict.fromkeys(linked(one) for one in schema[word]))
    if schema.get("type") == "array" and "enum" not in schema:
        return Markup("list of {}").format(linked(schema.get("items", {})))
    return escape(type_of(schema))


def prose(text: str) -> Markup:
    """What stands between backticks is code."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:  # one without its other
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def example_text(schema: dict[str, Any], components: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(example_of(schema, components)), indent=2).decode()


def type_of(schema: dict[str, Any]) -> str:
    """A schema in a few words: `string`, `list of KeyView`, `integer 1 … 200`."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    for word in ("anyOf", "allOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(type_of(one) for one in schema[word]))
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    words = [str(schema.get("format") or schema.get("type") or "any")]
    low, high = schema.get("minimum", schema.get("minLength")), schema.get("maximum", schema.get("maxLength"))
    if low is not None or high is not None:
        words.append(f"{'' if low is None else low} … {'' if high is None else high}".strip())
    return " ".join(words)
