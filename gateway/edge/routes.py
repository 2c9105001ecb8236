"""The URL table."""

from aiohttp import web

from gateway.edge import account, probes
from gateway.edge.api import credits as credits_
from gateway.edge.api import keys, orgs
from gateway.edge.bodies import answer_expect_later
from gateway.edge.connection import Routes
from gateway.edge.inference.openai_chat import ROUTE as CHAT
from gateway.edge.inference.openai_chat import ChatCompletions
from gateway.edge.inference.rooms import Inference


def inference_routes(rooms: Inference) -> Routes:
    """By method and path, as they are spelled on the wire: served straight, past the router."""
    return {("POST", CHAT): ChatCompletions(rooms)}


def add_routes(app: web.Application) -> None:
    """What applications, operators and probes may ask for. Anything else is 404 in the dialect of its path."""
    post, get, delete = app.router.add_post, app.router.add_get, app.router.add_delete

    post(CHAT, _misspelled, expect_handler=answer_expect_later)
    get("/v1/models", account.models)
    get("/v1/models/{model:.+}", account.model)
    get("/v1/credits", account.credits)
    get("/v1/key", account.key)
    get("/v1/generation", account.generation)

    post("/api/orgs", orgs.create, expect_handler=answer_expect_later)
    get("/api/orgs", orgs.page)
    get("/api/orgs/{org_id}", orgs.get)
    post("/api/orgs/{org_id}/suspend", orgs.suspend)
    post("/api/orgs/{org_id}/resume", orgs.resume)
    post("/api/orgs/{org_id}/keys", keys.create, expect_handler=answer_expect_later)
    get("/api/orgs/{org_id}/keys", keys.page)
    delete("/api/orgs/{org_id}/keys/{key_id}", keys.revoke)
    post("/api/credits/add", credits_.add, expect_handler=answer_expect_later)
    get("/api/credits/balance", credits_.balance)
    get("/api/credits/transactions", credits_.transactions)

    get("/livez", probes.livez)
    get("/readyz", probes.readyz)


def add_metrics_route(app: web.Application) -> None:
    app.router.add_get("/metrics", probes.metrics)


async def _misspelled(request: web.Request) -> web.StreamResponse:
    """The path of an inference route in another spelling (`%63hat`): served under its own alone."""
    raise web.HTTPNotFound
