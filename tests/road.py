"""The whole road in one process: a caller, a gateway on a real database, and a provider that behaves or does not.

    road = await roads.open(upstream_at(replay.base_url), credits="10")
    answer = await road.ask(chat(max_tokens=5), x_replay_output_tokens=5)
    assert await road.spent_ucr() == cost_ucr(answer.usage)

When the test is over, nothing is held, every call has ended once and the books hold.
"""

import asyncio
import io
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec

from gateway.app import Gateway
from gateway.core.estimate import MESSAGE_TOKENS, REQUEST_TOKENS
from gateway.core.units import ucr_from_text
from gateway.identity.orgs import Org
from gateway.ledger.grants import Grant, TransactionType
from gateway.ledger.options import LedgerSettings
from gateway.pricing.book import PriceOverride
from gateway.relay.catalogue import Alias, Served
from gateway.relay.settings import ReserveSettings
from gateway.settings import Settings
from gateway.upstream.registry import Timeouts, Upstream
from tests.caller import WITHIN_S, Answer, Caller, Wire

CHAT: Final = "/v1/chat/completions"

INPUT_UCR: Final = 1_000
OUTPUT_UCR: Final = 10_000
CACHED_UCR: Final = 500
"""What one token of the test's models costs, at a thousand credits a dollar."""
OUTPUT_MAX: Final = 2_000
WINDOW: Final = 8_000
PATIENT: Final = Timeouts(connect_s=5, first_event_s=10, idle_s=10, total_s=30)

_LEDGER: Final = LedgerSettings(
    lanes=1,
    beat_s=3600,
    dead_after_s=4 * 3600,
    sweep_s=3600,
    reconcile_s=3600,
    due_s=3600,
    partitions_s=3600,
    audit_s=3600,
    queue_wait_s=0.05,
    queue_poll_s=0.01,
    refusal_memory_s=0.0,
    hold_timeout_s=0.5,
    retry_first_s=0.01,
    retry_most_s=0.05,
)


def _price(model: str, *, times: int = 1, **facts: Any) -> PriceOverride:
    return PriceOverride(
        provider="test",
        model=model,
        input_usd_per_million=Decimal(times),
        cached_usd_per_million=Decimal(times) / 2,
        output_usd_per_million=Decimal(10 * times),
        **{"context_tokens": WINDOW, "output_tokens_max": OUTPUT_MAX, **facts},
    )


PRICES: Final = (
    _price("plain"),
    _price("dear", times=3),
    _price("free", times=0),
    _price("thinker", reasoning=True),
    _price("boundless", output_tokens_max=None),
    _price("unmapped", context_tokens=None),
)
MODELS: Final = (*(price.model for price in PRICES), "unpriced")


def chat(model: str = "plain", **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}


def prompt_bound(request: Mapping[str, Any]) -> int:
    """More tokens than this the prompt of a request with one message and no tools cannot have."""
    return len(msgspec.json.encode(request)) + REQUEST_TOKENS + MESSAGE_TOKENS


def worst_ucr(request: Mapping[str, Any], output_tokens: int, *, choices: int = 1) -> int:
    return prompt_bound(request) * INPUT_UCR + choices * output_tokens * OUTPUT_UCR


def price_ucr(prompt_tokens: int, output_tokens: int) -> int:
    return prompt_tokens * INPUT_UCR + output_tokens * OUTPUT_UCR


def upstream_at(base_url: str, name: str = "main", **habits: Any) -> Served:
    habits = {"provider": "test", "api_key": "sk-of-the-operator", "timeouts": PATIENT, **habits}
    return Served(Upstream(name=name, base_url=base_url, **habits), MODELS)


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str = "") -> None:
    """Looks again and again until it holds."""
    give_up_at = time.monotonic() + WITHIN_S
    while not (await holds if isinstance(holds := condition(), Awaitable) else holds):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"did not come true: {what or condition}")
        await asyncio.sleep(0.002)


@dataclass(frozen=True)
class Books:
    """What the ledger says of one call."""

    kind: str
    ended: str
    cost_ucr: int
    charged_ucr: int
    overage_ucr: int
    waived_ucr: int
    prompt_tokens: int
    output_tokens: int
    reasoning_tokens: int
    upstream: str
    upstream_model: str
    streamed: bool
    finish_reason: str


_NOT_STORED_AS_SAID: Final = {
    "cost_ucr": "cost_ucr(ledger)",
    "charged_ucr": "charged_ucr(ledger)",
    "overage_ucr": "coalesce(overage_ucr, 0)",
    "waived_ucr": "coalesce(waived_ucr, 0)",
    "reasoning_tokens": "coalesce(reasoning_tokens, 0)",
    "upstream_model": "upstream_model_of(ledger)",
    "streamed": "coalesce(streamed, false)",
}
_FIELDS: Final = ", ".join(f"{_NOT_STORED_AS_SAID.get(name, name)} AS {name}" for name in Books.__dataclass_fields__)
_BOOKS: Final = f"""
    SELECT {_FIELDS} FROM ledger WHERE org_id = $1 AND ended IS NOT NULL ORDER BY version
"""


class Road:
    """A gateway with one organisation, and the shortest words for what its caller does."""

    def __init__(self, gateway: Gateway, org: Org, key: str, granted_ucr: int, dsn: str) -> None:
        self.gateway = gateway
        self.org = org
        self.key = key
        self.granted_ucr = granted_ucr
        self.dsn = dsn
        timeout = aiohttp.ClientTimeout(total=WITHIN_S)
        self.session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False)

    @property
    def port(self) -> int:
        return int(self.gateway.url.rpartition(":")[2])

    async def ask(
        self,
        request: Mapping[str, Any] | bytes,
        *,
        path: str = CHAT,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **directions: object,
    ) -> Answer:
        """The whole answer. `x_replay_status=500` is a header; key "" sends none."""
        async with self.begin(request, path=path, key=key, headers=headers, **directions) as caller:
            return await caller.rest()

    @asynccontextmanager
    async def begin(
        self,
        request: Mapping[str, Any] | bytes,
        *,
        path: str = CHAT,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **directions: object,
    ) -> AsyncIterator[Caller]:
        """The same, as soon as its head has come."""
        body = request if isinstance(request, bytes) else msgspec.json.encode(request)
        sent = {"content-type": "application/json", **(headers or {})}
        sent |= {name.replace("_", "-"): str(value) for name, value in directions.items()}
        key = self.key if key is None else key
        if key:
            sent["authorization"] = f"Bearer {key}"
        data = io.BytesIO(body)  # aiohttp warns of large bodies that are plain bytes
        async with self.session.post(self.gateway.url + path, data=data, headers=sent) as response:
            yield Caller(response)

    async def get(self, path: str, *, method: str = "GET") -> Answer:
        headers = {"authorization": f"Bearer {self.key}"}
        async with self.session.request(method, self.gateway.url + path, headers=headers) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, names, await response.read())

    # --- the wire ---------------------------------------------------------------------------------------------------

    def head(self, *lines: str, key: str | None = None) -> bytes:
        """The head of a chat request, for a raw socket."""
        key = self.key if key is None else key
        credential = (f"authorization: Bearer {key}",) if key else ()
        return "\r\n".join((f"POST {CHAT} HTTP/1.1", "host: gateway", *credential, *lines, "", "")).encode()

    def wire(self, request: Mapping[str, Any], *lines: str) -> bytes:
        """A whole chat request."""
        body = msgspec.json.encode(request)
        return self.head(f"content-length: {len(body)}", *lines) + body

    async def connect(self, *, deaf: bool = False) -> Wire:
        """A deaf one has small buffers, so that what its owner does not read is soon felt."""
        sock = socket.socket()
        if deaf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return Wire(*await asyncio.open_connection(sock=sock, limit=4096 if deaf else 2**20))

    # --- the books --------------------------------------------------------------------------------------------------

    async def idle(self) -> None:
        """Every call has ended and is settled."""
        await until(lambda: not self.gateway.relay.open_calls, "no call is open")
        assert await self.gateway.ledger.settled(self.org.org_id)

    async def tell(self) -> None:
        """The calls that ended so far are counted, and learned from."""
        assert (await self.get("/metrics")).status == 200

    async def spent_ucr(self) -> int:
        await self.idle()
        balance = await self.gateway.ledger.balance(self.org.org_id)
        assert (balance.held_ucr, balance.open_count, balance.receivable_ucr) == (0, 0, 0)
        return self.granted_ucr - balance.balance_ucr

    async def held_ucr(self) -> int:
        return (await self.gateway.ledger.balance(self.org.org_id)).held_ucr

    async def books(self) -> list[Books]:
        """The ends of all calls, in order."""
        await self.idle()
        connection = await asyncpg.connect(self.dsn)
        try:
            return [Books(**dict(row.items())) for row in await connection.fetch(_BOOKS, self.org.org_id)]
        finally:
            await connection.close()

    async def ended(self) -> Books:
        """The end of the only call."""
        (end,) = await self.books()
        return end

    async def grant(self, credits: str) -> None:
        await _grant(self.gateway, self.org, ucr_from_text(credits))
        self.granted_ucr += ucr_from_text(credits)

    async def new_key(self, **wish: Any) -> str:
        _, key = await self.gateway.keys.create(self.org.org_id, name="another", **wish)
        return key

    async def check(self) -> None:
        """What must be true after every test."""
        await self.idle()
        assert await self.gateway.ledger.audit(full=True) == []
        balance = await self.gateway.ledger.balance(self.org.org_id)
        assert (balance.held_ucr, balance.open_count) == (0, 0)


@dataclass
class Roads:
    """Opens roads on one database, and looks at every book when the test is over."""

    dsn: str
    opened: list[Road] = field(default_factory=list)

    async def open(
        self,
        *upstreams: Served,
        credits: str = "1000",
        aliases: Iterable[Alias] = (),
        reserve: Mapping[str, Any] | None = None,
        ledger: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> Road:
        settings = Settings(
            port=0,
            shutdown_drain_s=5.0,
            pool_size_max=2,
            upstreams=upstreams,
            aliases=tuple(aliases),
            prices=PRICES,
            ledger=msgspec.structs.replace(_LEDGER, **(ledger or {})),
            reserve=ReserveSettings(**{"low_balance_credits": 0, **(reserve or {})}),
        )
        settings = msgspec.structs.replace(settings, **changes)
        gateway = await Gateway.start(settings, dsn=self.dsn, operator_key="operator", sole_owner=False)
        org = await gateway.orgs.create("Acme")
        granted_ucr = ucr_from_text(credits)
        if granted_ucr:
            await _grant(gateway, org, granted_ucr)
        _, key = await gateway.keys.create(org.org_id, name="app")
        road = Road(gateway, org, key, granted_ucr, self.dsn)
        self.opened.append(road)
        return road

    async def close(self) -> None:
        for road in self.opened:
            try:
                await road.session.close()
                await road.check()
            finally:
                stopped = await road.gateway.stop()
                assert (stopped.calls_cut, stopped.endings_left) == (0, 0)


async def _grant(gateway: Gateway, org: Org, amount_ucr: int) -> None:
    grant = Grant(
        id=gateway.ids.next(),
        org_id=org.org_id,
        account_id=org.account_id,
        amount_ucr=amount_ucr,
        transaction_type=TransactionType.PURCHASE,
    )
    await gateway.ledger.grant(grant)
