"""A gateway that keeps bad books: it charges each call as often as it is told, and never looks at the balance."""

import json
from collections import defaultdict
from typing import Any, Self
from uuid import uuid4

from aiohttp import web

CALL_UCR = 3_000
PRICING = {"prompt": "0.0001", "input_cache_read": "0.0001", "input_cache_write": "0.0001", "completion": "0.0001"}


class LeakyGateway:
    """`async with LeakyGateway(charges=2) as leaky: leaky.url`."""

    def __init__(self, *, charges: int) -> None:
        self._charges = charges
        self._org_of: dict[str, str] = {}
        self._rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        app = web.Application()
        app.router.add_post("/api/orgs", self._make_org)
        app.router.add_post("/api/orgs/{id}/keys", self._make_key)
        app.router.add_post("/api/credits/add", self._add)
        app.router.add_get("/api/credits/balance", self._balance)
        app.router.add_get("/api/credits/transactions", self._history)
        app.router.add_get("/v1/models/{name}", self._model)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _make_org(self, _: web.Request) -> web.Response:
        return web.json_response({"id": str(uuid4())}, status=201)

    async def _make_key(self, request: web.Request) -> web.Response:
        key = f"tg-{uuid4().hex}"
        self._org_of[key] = request.match_info["id"]
        return web.json_response({"id": str(uuid4()), "key": key}, status=201)

    async def _add(self, request: web.Request) -> web.Response:
        wish = json.loads(await request.read())
        id = self._write(wish["organization_id"], "GRANT", round(float(wish["amount"]) * 1_000_000))
        return web.json_response({"id": id}, status=201)

    async def _balance(self, request: web.Request) -> web.Response:
        balance_ucr = sum(row["amount_ucr"] for row in self._rows[request.query["organization_id"]])
        return web.json_response({"balance_ucr": balance_ucr, "held_ucr": 0, "open_count": 0})

    async def _history(self, request: web.Request) -> web.Response:
        rows = self._rows[request.query["organization_id"]]
        return web.json_response({"data": rows, "next_cursor": None})

    async def _model(self, _: web.Request) -> web.Response:
        return web.json_response({"pricing": PRICING})

    async def _chat(self, request: web.Request) -> web.Response:
        """Ten tokens in, twenty out: what CALL_UCR is the price of."""
        org_id = self._org_of[request.headers["authorization"].removeprefix("Bearer ")]
        id = str(uuid4())
        for number in range(self._charges):
            self._write(org_id, "CHARGE", -CALL_UCR, id=id if number == 0 else str(uuid4()))
        usage = {"prompt_tokens": 10, "completion_tokens": 20}
        answer = {"id": "chatcmpl-1", "choices": [{"message": {"content": "A toll."}}], "usage": usage}
        return web.json_response(answer, headers={"x-request-id": id})

    def _write(self, org_id: str, kind: str, amount_ucr: int, *, id: str | None = None) -> str:
        row = {"id": id or str(uuid4()), "kind": kind, "amount_ucr": amount_ucr, "reference_id": None}
        self._rows[org_id].append(row)
        return str(row["id"])
