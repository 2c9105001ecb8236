"""The models of a key in Gemini's shape: those that can be called in its dialects, page by page.

At `/v1beta/models`, and at `/v1/models` for who sends the key as Gemini's SDKs do.
"""

from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from gateway.core.caller import Caller
from gateway.core.dialect import DialectName
from gateway.core.errors import InvalidRequest, ModelNotFound
from gateway.core.gemini.address import KEY_PARAMETER
from gateway.core.gemini.dialect import KEY_HEADER
from gateway.core.gemini.embed import BATCH_EMBED, EMBED
from gateway.core.gemini.request import COUNT, GENERATE, STREAM
from gateway.edge.answers import json_answer
from gateway.edge.auth import authenticate
from gateway.edge.requests import Line, read_query
from gateway.edge.rooms import CATALOGUE
from gateway.relay.catalogue import CatalogueEntry

_METHODS: Final[dict[DialectName, tuple[str, ...]]] = {
    "gemini-generate": (GENERATE, STREAM, COUNT),
    "gemini-embed": (EMBED, BATCH_EMBED),
}
PAGE_SIZE: Final = 50
PAGE_SIZE_MAX: Final = 1_000


class ModelsQuery(msgspec.Struct, frozen=True, rename="camel"):
    """What else is asked is passed over, the key among it."""

    page_size: Annotated[int, msgspec.Meta(ge=0)] = PAGE_SIZE
    """0 is the usual size, what is above the largest is the largest."""
    page_token: Line | None = None
    """The name of the last model of the page before."""


async def models(request: web.Request) -> web.StreamResponse:
    caller = await _caller(request)
    query = read_query(request, ModelsQuery)
    after = query.page_token or ""
    entries = [
        entry
        for entry in request.app[CATALOGUE].models()
        if entry.name > after and caller.may_use(entry.name) and entry.admits(caller.org_id) and _methods(entry)
    ]
    page = entries[: min(query.page_size or PAGE_SIZE, PAGE_SIZE_MAX)]
    shown: dict[str, Any] = {"models": [_shown(entry) for entry in page]}
    if len(entries) > len(page):
        shown["nextPageToken"] = page[-1].name
    return json_answer(shown)


async def model(request: web.Request) -> web.StreamResponse:
    caller = await _caller(request)
    name = request.match_info["model"]
    if not caller.may_use(name):
        raise ModelNotFound(name)
    entry = request.app[CATALOGUE].route(name)
    if not entry.admits(caller.org_id):
        raise ModelNotFound(name)
    if not _methods(entry):
        raise InvalidRequest(
            f"The model `{name[:128]}` cannot be called in Gemini's dialects.", param="model", code="dialect_not_spoken"
        )
    return json_answer(_shown(entry))


async def _caller(request: web.Request) -> Caller:
    return await authenticate(request, key_header=KEY_HEADER, key_parameter=KEY_PARAMETER)


def _methods(entry: CatalogueEntry) -> list[str]:
    spoken = {dialect for target in entry.targets for dialect in target.dialects}
    return [method for dialect, methods in _METHODS.items() if dialect in spoken for method in methods]


def _shown(entry: CatalogueEntry) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": f"models/{entry.name}",
        "displayName": entry.name,
        "supportedGenerationMethods": _methods(entry),
    }
    if entry.context_tokens is not None:
        shown["inputTokenLimit"] = entry.context_tokens
    if entry.output_tokens_max is not None:
        shown["outputTokenLimit"] = entry.output_tokens_max
    return shown
