"""The two doors of the gateway under attack: the operator's, and an application's that behaves as badly as it likes."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import aiohttp

from gateway.attack.prices import UCR_PER_CREDIT, Prices

ANSWER_WITHIN_S: Final = 60.0
QUESTION: Final = [{"role": "user", "content": "What is a toll?"}]
TOKEN_CHARACTERS: Final = 4
"""Of the texts that the replay provider makes when it is told how many tokens to say."""


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    """Decoded where it is JSON, else the text."""
    headers: Mapping[str, str]


@dataclass
class Call:
    """One call as its caller saw it."""

    id: str | None = None
    """None: he went before anything was answered."""
    status: int = 0
    complete: bool = False
    characters: int = 0
    usage: Mapping[str, Any] | None = None
    usage_true: bool = True
    """False where the provider was told to report nonsense."""
    provider_id: str | None = None
    error: str | None = None


@dataclass
class Org:
    id: str
    key: str
    key_id: str
    granted_ucr: int = 0
    """What it was given, as the attacker counts."""
    calls: list[Call] = field(default_factory=list)


class Client:
    def __init__(
        self, session: aiohttp.ClientSession, *, url: str, operator_key: str, model: str, prices: Prices
    ) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self.prices = prices
        self.orgs: list[Org] = []
        """All that were made since the list was emptied."""
        self._session = session
        self._operator = {"authorization": f"Bearer {operator_key}"}

    # --- the operator -----------------------------------------------------------------------------------------------

    async def operate(self, method: str, path: str, **options: Any) -> Answer:
        """`headers` are sent beside the operator's key, or in its place."""
        headers = {**self._operator, **options.pop("headers", {})}
        return await self.ask(method, f"/api{path}", headers=headers, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        async with (
            asyncio.timeout(ANSWER_WITHIN_S),
            self._session.request(method, f"{self.url}{path}", **options) as response,
        ):
            text = await response.text()
            try:
                body = json.loads(text, parse_float=Decimal)
            except ValueError:
                body = text
            return Answer(response.status, body, response.headers)

    async def org(self, *, credits_ucr: int = 0) -> Org:
        """A new organisation with a key."""
        made = await self.operate("POST", "/orgs", json={"name": f"attack {uuid4().hex[:12]}"})
        if made.status != 201:
            raise AttackImpossible(f"POST /api/orgs answered {made.status}: {made.body}")
        key = await self.operate("POST", f"/orgs/{made.body['id']}/keys", json={"name": "attack"})
        if key.status != 201:
            raise AttackImpossible(f"POST /api/orgs/…/keys answered {key.status}: {key.body}")
        org = Org(made.body["id"], key.body["key"], key.body["id"])
        self.orgs.append(org)
        if credits_ucr:
            answer = await self.add(org, credits_ucr)
            if answer.status != 201:
                raise AttackImpossible(f"POST /api/credits/add answered {answer.status}: {answer.body}")
            org.granted_ucr += credits_ucr
        return org

    async def add(self, org: Org, ucr: int, *, idempotency_key: str | None = None) -> Answer:
        """Credits, which the attacker counts himself."""
        return await self.add_raw(org, f'"{Decimal(ucr) / UCR_PER_CREDIT:f}"', idempotency_key=idempotency_key)

    async def add_raw(self, org: Org, amount: str, *, idempotency_key: str | None = None) -> Answer:
        """`amount` as it shall stand in the JSON."""
        body = (
            f'{{"organization_id": "{org.id}", "amount": {amount}, "transaction_type": "PURCHASE", '
            '"reason": "MANUAL_ADJUSTMENT"}'
        )
        headers = {"content-type": "application/json"}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        return await self.operate("POST", "/credits/add", data=body.encode(), headers=headers)

    async def balance(self, org: Org) -> Mapping[str, Any]:
        answer = await self.operate("GET", "/credits/balance", params={"organization_id": org.id})
        if answer.status != 200:
            raise AttackImpossible(f"GET /api/credits/balance answered {answer.status}: {answer.body}")
        balance: Mapping[str, Any] = answer.body
        return balance

    async def history(self, org: Org) -> list[Mapping[str, Any]]:
        """All rows, oldest first."""
        rows: list[Mapping[str, Any]] = []
        page = {"organization_id": org.id, "limit": "200", "order_direction": "asc"}
        while True:
            answer = await self.operate("GET", "/credits/transactions", params=page)
            if answer.status != 200:
                raise AttackImpossible(f"GET /api/credits/transactions answered {answer.status}: {answer.body}")
            rows += answer.body["data"]
            if answer.body["next_cursor"] is None:
                return rows
            page["cursor"] = answer.body["next_cursor"]

    # --- an application ---------------------------------------------------------------------------------------------

    def body(self, *, stream: bool = True, **more: Any) -> dict[str, Any]:
        asked = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": self.model, "stream": stream, "messages": QUESTION, **asked, **more}

    async def call(
        self,
        org: Org,
        body: Mapping[str, Any] | bytes,
        *,
        key: str | None = None,
        leave_after_s: float | None = None,
        leave_at_characters: int | None = None,
        pause_s: float = 0.0,
        usage_true: bool = True,
        **directions: Any,
    ) -> Call:
        """One call, which is remembered. `directions` are the replay provider's: `output_tokens=5`.

        He leaves after so long without an answer, or as soon as so much of it was read; he pauses after each piece.
        """
        call = Call(usage_true=usage_true)
        org.calls.append(call)
        headers = {"authorization": f"Bearer {key or org.key}", "content-type": "application/json"}
        headers |= {f"x-replay-{name.strip('_').replace('_', '-')}": str(value) for name, value in directions.items()}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.url}/v1/chat/completions"
        try:
            async with asyncio.timeout(leave_after_s or ANSWER_WITHIN_S):
                async with self._session.post(url, data=data, headers=headers) as response:
                    call.id, call.status = response.headers.get("x-request-id"), response.status
                    await _read(response, call, leave_at_characters=leave_at_characters, pause_s=pause_s)
                    if not call.complete:
                        response.close()
        except (TimeoutError, aiohttp.ClientError, ConnectionError, ValueError) as error:
            # ValueError: what came is not JSON, as may have been asked for.
            call.error = call.error or type(error).__name__
        return call


class AttackImpossible(Exception):
    """The gateway's API does not answer as an attack needs it; nothing is known of its soundness."""


async def _read(
    response: aiohttp.ClientResponse, call: Call, *, leave_at_characters: int | None, pause_s: float
) -> None:
    if response.content_type != "text/event-stream":
        _observe(json.loads(await response.read()), call)
        call.complete = call.error is None
        return
    rest = b""
    while data := await response.content.readany():
        *events, rest = (rest + data).split(b"\n\n")
        for event in events:
            if event == b"data: [DONE]":
                call.complete = call.error is None
            elif event.startswith(b"data: "):
                _observe(json.loads(event[6:]), call)
        if leave_at_characters is not None and call.characters >= leave_at_characters:
            return
        if pause_s:
            await asyncio.sleep(pause_s)


def _observe(answer: Mapping[str, Any], call: Call) -> None:
    """A whole answer, or one chunk of a stream."""
    if answer.get("error"):
        call.error = str(answer["error"].get("code") or answer["error"].get("type") or "error")
    call.usage = answer.get("usage") or call.usage
    call.provider_id = answer.get("id") or call.provider_id
    for choice in answer.get("choices") or ():
        said = choice.get("delta") or choice.get("message") or {}
        call.characters += len(said.get("content") or "")
