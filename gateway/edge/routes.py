"""The URL table."""

from aiohttp import web

from gateway.core.dialects import DIALECTS
from gateway.edge import account, probes
from gateway.edge.api.documentation import add_documentation
from gateway.edge.api.house import House
from gateway.edge.api.serve import add_endpoints
from gateway.edge.api.table import ENDPOINTS
from gateway.edge.bodies import answer_expect_later
from gateway.edge.connection import Routes
from gateway.edge.inference.count_tokens import ROUTE as COUNT_TOKENS
from gateway.edge.inference.count_tokens import CountTokens
from gateway.edge.inference.handler import InferenceHandler
from gateway.edge.inference.rooms import Inference


def inference_routes(rooms: Inference) -> Routes:
    """By method and path, as they are spelled on the wire: served straight, past the router."""
    return {
        **{("POST", f"/v1{dialect.path}"): InferenceHandler(rooms, dialect) for dialect in DIALECTS.values()},
        ("POST", COUNT_TOKENS): CountTokens(rooms),
    }


def add_routes(app: web.Application, house: House) -> None:
    """What applications, people and probes may ask for. Anything else is 404 in the dialect of its path."""
    post, get = app.router.add_post, app.router.add_get

    for path in (*(f"/v1{dialect.path}" for dialect in DIALECTS.values()), COUNT_TOKENS):
        post(path, _misspelled, expect_handler=answer_expect_later)
    get("/v1/models", account.models)
    get("/v1/models/{model:.+}", account.model)
    get("/v1/credits", account.credits)
    get("/v1/key", account.key)
    get("/v1/generation", account.generation)

    add_endpoints(app, ENDPOINTS, house)
    add_documentation(app, ENDPOINTS, house)

    get("/livez", probes.livez)
    get("/readyz", probes.readyz)


def add_metrics_route(app: web.Application) -> None:
    app.router.add_get("/metrics", probes.metrics)


async def _misspelled(request: web.Request) -> web.StreamResponse:
    """The path of an inference route in another spelling (`%63hat`): served under its own alone."""
    raise web.HTTPNotFound
