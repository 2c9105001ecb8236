"""Many callers at once, each with a plan drawn by lot: what he asks, what goes wrong upstream, and how he behaves."""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import aiohttp

from tests.e2e.running import Customer, RunningGateway
from tests.simulation.reader import End, Reader, directions, reading, request

MODELS: Final = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini", "drained")
"""The last is an alias whose provider bills abandoned answers in full."""

NO_FAULT: Final[dict[str, object]] = {}
FAULTS: Final[tuple[dict[str, object], ...]] = (
    {"break": 7},
    {"break": 3, "break_by": "reset"},
    {"break": 11, "break_by": "end"},
    {"error_event": 5},
    {"error_event": 0},
    {"hang": 9},
    {"hang_at": "headers"},
    {"status": 400},
    {"status": 401},
    {"status": 429, "retry_after": 1},
    {"status": 500},
    {"usage": "no"},
    {"usage": "no", "chunks": 10},
    {"usage": "absurd"},
    {"done": "no"},
    {"early_hints": "yes"},
    {"comments": 20},
    {"garbage": "json"},
    {"garbage": "sse"},
    {"garbage": "html"},
    {"length": -5},
    {"length": 5},
)


@dataclass(frozen=True)
class Plan:
    """One call."""

    customer: Customer
    body: dict[str, Any]
    asked: dict[str, object]
    gone_after_s: float | None = None
    """He gives up if nothing was answered by then."""
    gone_after_tokens: int | None = None
    """He hangs up when so many have come."""
    pause_s: float = 0.0
    """How long he takes over each piece that he reads."""


@dataclass
class Seen:
    """What the caller knows of his call afterwards."""

    plan: Plan
    served_by: str
    id: UUID | None = None
    """None: nothing was answered."""
    status: int = 0
    tokens: int = 0
    end: End | None = None
    """None: he hung up before the end."""
    usage: dict[str, int] | None = None
    error: str = ""


def draw_greedy(lots: random.Random, poor: Sequence[Customer]) -> Plan:
    """A long stream on credits that many such share: they run out."""
    asked: dict[str, object] = {"seed": lots.randrange(2**32), "output_tokens": 250}
    asked["interval_ms"] = lots.randint(1, 10)
    return Plan(customer=lots.choice(poor), body=request(), asked=asked)


def draw(lots: random.Random, customers: Sequence[Customer], *, stream: bool) -> Plan:
    """A call on plenty of credits, with whatever else may happen."""
    body = request(stream=stream, model=lots.choice(MODELS))
    if stream and lots.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    if lots.random() < 0.3:
        body["max_tokens"] = lots.randint(10, 200)
    if lots.random() < 0.1:
        body["n"] = 2
    asked: dict[str, object] = {"seed": lots.randrange(2**32), "output_tokens": lots.randint(5, 250)}
    asked |= {"interval_ms": lots.randint(1, 25), "latency_ms": lots.randint(0, 100)}
    if lots.random() < 0.3:
        asked["chunks"] = lots.randint(1, 40)
    asked |= lots.choice(FAULTS) if lots.random() < 0.4 else NO_FAULT
    return Plan(
        customer=lots.choice(customers),
        body=body,
        asked=asked,
        gone_after_s=lots.uniform(0.0, 0.3) if lots.random() < 0.1 else None,
        gone_after_tokens=lots.randint(0, 100) if lots.random() < 0.25 else None,
        pause_s=lots.uniform(0.01, 0.1) if lots.random() < 0.1 else 0.0,
    )


@dataclass
class Crowd:
    """Where the callers go, and what they saw."""

    gateways: list[RunningGateway]
    """Those that take calls; the one who kills one takes it out, and puts in what he starts."""
    seen: list[Seen] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def call(self, lots: random.Random, plan: Plan) -> None:
        """Until the call has been taken by some gateway."""
        while True:
            async with self.changed:
                await self.changed.wait_for(lambda: self.gateways)
            gateway = lots.choice(self.gateways)
            try:
                seen = await (stream if plan.body["stream"] else whole)(gateway, plan)
            except aiohttp.ClientConnectorError:
                await self.without(gateway)
            else:
                async with self.changed:
                    self.seen.append(seen)
                    self.changed.notify_all()
                return

    @property
    def served_so_far(self) -> int:
        return sum(seen.status == 200 for seen in self.seen)

    async def served(self, count: int) -> None:
        """So many calls were answered with a 200 and are over."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.served_so_far >= count)

    async def without(self, gateway: RunningGateway) -> None:
        async with self.changed:
            if gateway in self.gateways:
                self.gateways.remove(gateway)

    async def welcome(self, gateway: RunningGateway) -> None:
        async with self.changed:
            self.gateways.append(gateway)
            self.changed.notify_all()


async def stream(gateway: RunningGateway, plan: Plan) -> Seen:
    seen = Seen(plan, gateway.url)
    try:
        async with asyncio.timeout(plan.gone_after_s) as patience:
            async with reading(gateway, plan.customer, plan.body, **plan.asked) as reader:
                patience.reschedule(None)
                seen.id, seen.status = reader.id, reader.status
                await read_as_planned(reader, plan, seen)
    except (TimeoutError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        seen.error = seen.error or type(error).__name__
    return seen


async def read_as_planned(reader: Reader, plan: Plan, seen: Seen) -> None:
    if reader.status != 200:
        return
    try:
        while reader.end is None and (plan.gone_after_tokens is None or reader.tokens < plan.gone_after_tokens):
            await reader.read_some()
            if plan.pause_s:
                await asyncio.sleep(plan.pause_s)  # his pace; nothing waits for it
    finally:
        seen.tokens, seen.end = reader.tokens, reader.end
        seen.usage = dict(reader.usage) if reader.usage else None
        seen.error = str((reader.error or {}).get("code") or "")


async def whole(gateway: RunningGateway, plan: Plan) -> Seen:
    seen = Seen(plan, gateway.url)
    headers = {"authorization": f"Bearer {plan.customer.api_key}", **directions(**plan.asked)}
    try:
        async with (
            asyncio.timeout(plan.gone_after_s),
            gateway.session.post(f"{gateway.base_url}/chat/completions", json=plan.body, headers=headers) as response,
        ):
            seen.id, seen.status = UUID(response.headers["x-request-id"]), response.status
            answer = json.loads(await response.read())
    except (TimeoutError, aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        if isinstance(error, aiohttp.ClientConnectorError):
            raise
        seen.error = type(error).__name__
        return seen
    seen.end, seen.error = "done", (answer.get("error") or {}).get("code") or ""
    seen.usage = answer.get("usage")
    seen.tokens = sum(len(choice["message"]["content"] or "") for choice in answer.get("choices", ())) // 4
    return seen
