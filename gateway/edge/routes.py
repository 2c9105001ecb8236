"""The URL table."""

from aiohttp import web

from gateway.core.dialect import Dialect
from gateway.core.dialects import DIALECTS
from gateway.core.gemini.address import VERSIONS
from gateway.edge import account, gemini_models, probes, stored_responses
from gateway.edge.api.documentation import add_documentation
from gateway.edge.api.house import House
from gateway.edge.api.serve import add_endpoints
from gateway.edge.api.table import ENDPOINTS
from gateway.edge.bodies import answer_expect_later
from gateway.edge.connection import Routes
from gateway.edge.inference.count_tokens import COUNTINGS, CountTokens
from gateway.edge.inference.handler import InferenceHandler
from gateway.edge.inference.rooms import Inference


def inference_routes(rooms: Inference) -> Routes:
    """By method and path, as they are spelled on the wire: served straight, past the router."""
    return {
        **{
            ("POST", route): InferenceHandler(rooms, dialect, route)
            for dialect in DIALECTS.values()
            for route in _routes(dialect)
        },
        **{("POST", counting.route): CountTokens(rooms, counting) for counting in COUNTINGS},
    }


def add_routes(app: web.Application, house: House) -> None:
    """What applications, people and probes may ask for. Anything else is 404 in the dialect of its path."""
    post, get = app.router.add_post, app.router.add_get

    dialects = DIALECTS.values()
    paths = [path for dialect in dialects for path in _routes(dialect)] + [counting.route for counting in COUNTINGS]
    for path in paths:
        if "{" not in path:
            post(path, _misspelled, expect_handler=answer_expect_later)
    get("/v1beta/models", gemini_models.models)
    get("/v1beta/models/{model:.+}", gemini_models.model)
    for version in VERSIONS:
        post(f"/{version}/models/{{model:.+}}", _misspelled, expect_handler=answer_expect_later)
    get("/v1/models", account.models)
    get("/v1/models/{model:.+}", account.model)
    get("/v1/responses/{id}", stored_responses.retrieve)
    get("/v1/responses/{id}/input_items", stored_responses.input_items)
    post("/v1/responses/{id}/cancel", stored_responses.cancel, expect_handler=answer_expect_later)
    app.router.add_delete("/v1/responses/{id}", stored_responses.delete)
    get("/v1/credits", account.credits)
    get("/v1/key", account.key)
    get("/v1/generation", account.generation)

    add_endpoints(app, ENDPOINTS, house)
    add_documentation(app, ENDPOINTS, house)

    get("/livez", probes.livez)
    get("/readyz", probes.readyz)


def add_metrics_route(app: web.Application) -> None:
    app.router.add_get("/metrics", probes.metrics)


def _routes(dialect: Dialect) -> tuple[str, ...]:
    return dialect.routes or (f"/v1{dialect.path}",)


async def _misspelled(request: web.Request) -> web.StreamResponse:
    """The path of an inference route in another spelling (`%63hat`): served under its own alone. Or what
    nobody may ask of a model."""
    raise web.HTTPNotFound
