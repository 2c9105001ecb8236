"""The operator's API, the account endpoints and the probes on a real socket and a real database."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from io import BytesIO
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import msgspec
import pytest
from aiohttp import web

from gateway.core.pricing import Prices, Tier
from gateway.edge import probes, rooms
from gateway.edge.api.house import House as ApiHouse
from gateway.edge.api.pace import ApiSettings, Pace
from gateway.edge.door import DOOR, AuthSettings, Door
from gateway.edge.errors import answer_errors
from gateway.edge.observer import Observer
from gateway.edge.routes import add_metrics_route, add_routes
from gateway.identity.key_ring import KeyRing
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.identity.personal_data import People
from gateway.identity.shared_key import SharedKey
from gateway.identity.tokens import Tokens, TokenSettings
from gateway.identity.users import Users
from gateway.identity.verification_keys import SharedSecret, VerificationKeys
from gateway.ledger import accounts
from gateway.ledger.audit_log import AuditLog
from gateway.ledger.ledger import Ledger
from gateway.ledger.options import LedgerSettings
from gateway.ledger.plans import DEFAULT_PLANS
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.log import LineWriter, RequestLog
from gateway.ops.metrics import Metrics
from gateway.postgres.readiness import database_trouble
from gateway.pricing.book import PriceBook
from gateway.pricing.desk import PriceDesk
from gateway.pricing.features import DEFAULT_FEATURES
from gateway.pricing.price_map import ModelPrice
from gateway.pricing.sets import DEFAULT_PRICE_SETS
from gateway.pricing.stored import Markups, Sheet
from gateway.pricing.watch import StoredPrices
from gateway.relay.catalogue import Alias, Catalogue, Served, build_catalogue
from gateway.relay.offers import Offers
from gateway.relay.quoter import Quoter
from gateway.relay.settings import ReserveSettings
from gateway.upstream.registry import Upstream
from gateway.usage.generation import Generations
from gateway.usage.key_usage import KeyUsage
from gateway.usage.model_volume import ModelVolumes
from gateway.usage.statistics import Statistics
from gateway.usage.transactions import Transactions
from tests.fakes.issuer import AUDIENCE, ISSUER, SECRET

OPERATOR = "the operator's key"
SCRAPER = "the scraper's key"

_LEDGER = LedgerSettings(lanes=1, statement_timeout_s=5, connect_timeout_s=2)
TOKENS = TokenSettings(algorithms=("HS256",), issuer=ISSUER, audience=AUDIENCE)
"""Whose tokens the house takes; `tests.fakes.issuer.by_secret` makes them."""

_UPSTREAM = Upstream(name="openai", provider="openai", base_url="http://127.0.0.1:9/v1", api_key="sk-test")


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def field(self) -> str:
        """The field that a problem names."""
        (error,) = self.json["errors"]
        name = error["field"]
        assert isinstance(name, str)
        assert name in error["message"]
        return name


class House:
    """The running gateway, and its rooms to look into."""

    def __init__(self, url: str, app: web.Application, session: aiohttp.ClientSession, api: ApiHouse) -> None:
        self.url = url
        self.api = api
        self.app = app
        self.ledger = app[rooms.LEDGER]
        self._session = session

    async def ask(self, method: str, path: str, *, key: str | None = None, json: Any = None, **options: Any) -> Answer:
        headers = dict(options.pop("headers", {}))
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        if json is not None:
            options["data"] = json if isinstance(json, bytes) else msgspec.json.encode(json)
        async with self._session.request(method, self.url + path, headers=headers, **options) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def operate(self, method: str, path: str, json: Any = None, **options: Any) -> Answer:
        return await self.ask(method, path, key=OPERATOR, json=json, **options)

    async def new_org(self, name: str = "Acme", credits: str | None = None) -> UUID:
        answer = await self.operate("POST", "/api/orgs", {"name": name})
        assert answer.status == 201
        id = answer.json["id"]
        if credits is not None:
            added = await self.operate(
                "POST",
                "/api/credits/add",
                {
                    "organization_id": id,
                    "amount": credits,
                    "transaction_type": "PURCHASE",
                    "reason": "MANUAL_ADJUSTMENT",
                },
            )
            assert added.status == 201
        return UUID(id)

    async def new_user(self, org_id: UUID, name: str = "anna", **wish: Any) -> UUID:
        answer = await self.operate("POST", f"/api/orgs/{org_id}/users", {"external_id": name, "name": name, **wish})
        assert answer.status == 201
        return UUID(answer.json["id"])

    async def available_ucr(self, org_id: UUID) -> int:
        balance = await self.ledger.balance(org_id)
        return balance.available_ucr

    async def new_key(self, org_id: UUID, **wish: Any) -> str:
        answer = await self.operate("POST", f"/api/orgs/{org_id}/keys", {"name": "web", **wish})
        assert answer.status == 201
        key = answer.json["key"]
        assert isinstance(key, str)
        return key


@pytest.fixture
def auth() -> AuthSettings:
    """All tests come from one address; a module that tries the limit has a fixture of this name."""
    return AuthSettings(failures_per_minute_max=1_000_000, failures_burst_max=1_000_000)


@pytest.fixture
def pace() -> Pace:
    unlimited = ApiSettings(
        requests_per_s_max=1_000_000, requests_burst_max=1_000_000, open_max=1_000_000, batches_open_max=1_000_000
    )
    return Pace(unlimited, clock=Clock())


@pytest.fixture
def token_settings() -> TokenSettings:
    return TOKENS


@pytest.fixture
def token_keys() -> VerificationKeys:
    return SharedSecret(SECRET)


@pytest.fixture
async def house(
    dsn: str,
    pool: asyncpg.Pool,
    auth: AuthSettings,
    pace: Pace,
    token_settings: TokenSettings,
    token_keys: VerificationKeys,
) -> AsyncIterator[House]:
    clock, metrics = Clock(), Metrics()
    ids = IdSource(clock)
    ledger = await Ledger.start(dsn, settings=_LEDGER, clock=clock, ids=ids, metrics=metrics)
    key_ring = KeyRing(pool, dsn=dsn, clock=clock)
    await key_ring.start()
    app = web.Application(middlewares=[answer_errors])
    app[rooms.CLOCK] = clock
    app[rooms.IDS] = ids
    app[rooms.INSUFFICIENT_STATUS] = 402
    lines = LineWriter(BytesIO(), on_drop=lambda: None)
    app[rooms.OBSERVER] = Observer(
        log=RequestLog(lines), metrics=metrics, quoter=Quoter(ReserveSettings()), clock=clock
    )
    app[rooms.LEDGER] = ledger
    app[DOOR] = door = Door(auth, clock=clock)
    app[rooms.KEY_RING] = key_ring
    app[rooms.GENERATIONS] = Generations(pool)
    app[rooms.KEY_USAGE] = KeyUsage(pool)
    offers = Offers(Catalogue((), {}), ModelVolumes(pool, clock=clock))
    book = price_book()

    def reprice(sheet: Sheet, markups: Markups) -> None:
        offers.become(catalogue(book.with_stored(sheet)), markups)

    stored = StoredPrices(pool, dsn=dsn, clock=clock, on_change=reprice)
    await stored.start()
    app[rooms.CATALOGUE] = offers.catalogue
    app[rooms.OFFERS] = offers
    app[probes.READINESS] = probes.Readiness(partial(database_trouble, pool, timeout_s=2), clock=clock)
    app[probes.SCRAPE] = probes.Scrape(metrics, key=SharedKey(SCRAPER, whose="metrics"))
    house = ApiHouse(
        clock=clock,
        ids=ids,
        door=door,
        pace=pace,
        tokens=Tokens(pool, clock=clock, keys=token_keys, settings=token_settings),
        operator_key=SharedKey(OPERATOR, whose="operator"),
        key_ring=key_ring,
        orgs=Orgs(pool, ids=ids, books=accounts),
        keys=Keys(pool, ids=ids, forget=key_ring.forget),
        users=Users(pool, ids=ids, forget_org=key_ring.forget_org),
        people=People(pool, forget_org=key_ring.forget_org),
        ledger=ledger,
        audit_log=AuditLog(pool),
        transactions=Transactions(pool),
        statistics=Statistics(pool),
        catalogue=offers.catalogue,
        offers=offers,
        price_book=book,
        stored_prices=stored,
        price_desk=PriceDesk(pool, ids=ids),
        price_sets=DEFAULT_PRICE_SETS,
        plans={plan.id: plan for plan in DEFAULT_PLANS},
        features=DEFAULT_FEATURES,
        insufficient_status=402,
    )
    add_routes(app, house)
    add_metrics_route(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession() as session:
        yield House(site.name, app, session, house)
    await runner.cleanup()
    lines.stop()
    await key_ring.stop()
    await stored.stop()
    assert await ledger.stop(5) == 0


def price_book() -> PriceBook:
    plain = Prices((Tier(0, 1_250_000, 125_000, 1_250_000, 10_000_000),))
    tiered = Prices((Tier(0, 0, 0, 0, 1), Tier(200_000, 2, 2, 2, 4)))
    return PriceBook(
        {
            f"openai/{model}": ModelPrice(provider="openai", model=model, prices=prices, context_tokens=400_000)
            for model, prices in (("gpt-5", plain), ("long", tiered))
        },
        {},
    )


def catalogue(book: PriceBook) -> Catalogue:
    """`openai/gpt-5` and `long`, and `unpriced`, which nobody has priced."""
    names = {"openai/gpt-5": "gpt-5", "long": "long", "unpriced": "unpriced"}
    aliases = [Alias(name, (("openai", model),)) for name, model in names.items()]
    return build_catalogue([Served(_UPSTREAM, ())], aliases, book)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
