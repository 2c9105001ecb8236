"""/v1/responses/{id} and what is below it: what OpenAI's SDKs do with responses that the provider keeps."""

from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from gateway.core.errors import InvalidRequest
from gateway.edge.auth import authenticate
from gateway.edge.door import DOOR
from gateway.edge.rooms import STORED_RESPONSES
from gateway.relay.stored_responses import Act

_PASSING: Final = frozenset({"content-type", "retry-after", "openai-processing-ms", "openai-version"})
_ASKED: Final[dict[Act, frozenset[str]]] = {
    "retrieve": frozenset({"include", "include[]"}),
    "input_items": frozenset({"after", "before", "include", "include[]", "limit", "order"}),
    "cancel": frozenset(),
    "delete": frozenset(),
}
QUERY_VALUE_CHARS_MAX: Final = 256
QUERY_VALUES_MAX: Final = 32


async def retrieve(request: web.Request) -> web.StreamResponse:
    return await _answer(request, "retrieve")


async def input_items(request: web.Request) -> web.StreamResponse:
    return await _answer(request, "input_items")


async def cancel(request: web.Request) -> web.StreamResponse:
    return await _answer(request, "cancel")


async def delete(request: web.Request) -> web.StreamResponse:
    return await _answer(request, "delete")


async def _answer(request: web.Request, act: Act) -> web.StreamResponse:
    caller = await authenticate(request)
    request.app[DOOR].admit_to_inference(caller, request)
    query = _query(request, act)
    shown = await request.app[STORED_RESPONSES].ask(caller, act, request.match_info["id"], query=query)
    headers = [(name, value) for name, value in shown.answer.headers if name in _PASSING]
    return web.Response(
        status=shown.answer.status,
        body=shown.answer.body,
        headers=[*headers, ("x-tollgate-upstream", shown.upstream)],
    )


def _query(request: web.Request, act: Act) -> str:
    """Spelled anew, with what is known alone. Raises InvalidRequest."""
    pairs = list(request.query.items())
    if len(pairs) > QUERY_VALUES_MAX:
        raise InvalidRequest(f"More than {QUERY_VALUES_MAX} query parameters.")
    for name, value in pairs:
        if name == "stream" and value.lower() == "false":
            continue
        if name not in _ASKED[act]:
            raise InvalidRequest(f"Unknown query parameter: `{name[:64]}`; nothing was asked.", param=name[:64])
        if len(value) > QUERY_VALUE_CHARS_MAX or not value.isprintable():
            raise InvalidRequest(f"`{name}` must be short and printable.", param=name)
    return urlencode([pair for pair in pairs if pair[0] != "stream"])
