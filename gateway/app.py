"""The composition root: settings → every room → a server that listens. The only place that constructs."""

import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final, Self

import asyncpg
import msgspec
import structlog
from aiohttp import web

from gateway.core.openai_responses.dialect import OPENAI_RESPONSES
from gateway.core.units import UCR_PER_CREDIT
from gateway.edge import rooms
from gateway.edge.api.house import House
from gateway.edge.api.pace import Pace
from gateway.edge.bodies import BodyBudget
from gateway.edge.connection import Routes
from gateway.edge.door import DOOR, Door
from gateway.edge.errors import answer_errors
from gateway.edge.headers import HeaderPolicy
from gateway.edge.inference.rooms import Inference
from gateway.edge.observer import Observer
from gateway.edge.probes import READINESS, SCRAPE, Readiness, Scrape
from gateway.edge.routes import add_metrics_route, add_routes, inference_routes
from gateway.edge.runner import Runner
from gateway.identity.key_ring import KeyRing
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.identity.personal_data import People
from gateway.identity.shared_key import SharedKey
from gateway.identity.tokens import Tokens
from gateway.identity.users import Users
from gateway.identity.verification_keys import KeySet, SharedSecret, VerificationKeys
from gateway.ledger import accounts
from gateway.ledger.audit_log import AuditLog
from gateway.ledger.ledger import Ledger
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.log import LineWriter, RequestLog
from gateway.ops.loop_lag import LoopLag
from gateway.ops.metrics import Metrics
from gateway.ops.periodic import Periodic
from gateway.postgres.pool import DriverUuid, open_pool
from gateway.postgres.readiness import database_trouble
from gateway.pricing.book import PriceBook
from gateway.pricing.desk import PriceDesk
from gateway.pricing.stored import Markups, Sheet
from gateway.pricing.watch import StoredPrices
from gateway.relay.background import POLL_EVERY_S, BackgroundCalls
from gateway.relay.catalogue import Catalogue, build_catalogue
from gateway.relay.counting import TokenCounts
from gateway.relay.keeping import Keeping
from gateway.relay.offers import Offers
from gateway.relay.quoter import Quoter
from gateway.relay.relay import Relay
from gateway.relay.stored_responses import StoredResponses
from gateway.relay.ways import Interpreter
from gateway.settings import Settings
from gateway.stored.background import BackgroundResponses
from gateway.stored.objects import StoredObjects
from gateway.translator.translator import Translator
from gateway.upstream.client import UpstreamClient
from gateway.upstream.document import fetch_document, may_be_fetched, read_document
from gateway.usage.generation import Generations
from gateway.usage.key_usage import KeyUsage
from gateway.usage.model_volume import ModelVolumes
from gateway.usage.statistics import Statistics
from gateway.usage.transactions import Transactions

log = structlog.get_logger()

STALLED_EVERY_S: Final = 1.0
BACKLOG: Final = 4096
CHAIN_EVERY_S: Final = 2.0
ROLL_UP_EVERY_S: Final = 60.0
PURGE_EVERY_S: Final = 600.0
SETTLE_S_MIN: Final = 5.0
"""However short open calls may go on at a stop, settlements get this long."""


class Stopped(msgspec.Struct, frozen=True):
    """What a stop could not end by itself."""

    calls_cut: int
    """Open calls ended at the limit; each is settled with what it had delivered."""
    endings_left: int
    """Settlements that the database did not take in time; the next process's sweeper ends those calls."""

    def summary(self) -> str:
        left = self.endings_left
        parts = [f"left to the sweeper: {_calls(left)}" if left else "every call is settled"]
        if self.calls_cut:
            parts.append(f"cut at the limit: {_calls(self.calls_cut)}")
        return "; ".join(parts)


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"


class Gateway:
    """One serving process: rooms are made in the order in which they need each other, and stopped in reverse."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self._stack = AsyncExitStack()
        self._stopped = Stopped(0, 0)

    @classmethod
    async def start(cls, settings: Settings, *, dsn: str, operator_key: str, sole_owner: bool) -> Self:
        """Needs a migrated database. `sole_owner`: no other gateway can be using it (the data folder is locked)."""
        gateway = cls(settings)
        try:
            await gateway._open(dsn, operator_key, sole_owner=sole_owner)
        except BaseException:
            await gateway._stack.aclose()
            raise
        return gateway

    async def stop(self) -> Stopped:
        """Takes no new calls, lets open ones end within the limit, settles, then closes everything."""
        await self._stack.aclose()
        return self._stopped

    async def _open(self, dsn: str, operator_key: str, *, sole_owner: bool) -> None:
        settings, stack = self.settings, self._stack
        clock = Clock()
        self.metrics = Metrics(orgs_listed=settings.metrics.orgs, orgs_top=settings.metrics.orgs_top)
        self.ids = IdSource(clock, uuid=DriverUuid)
        pool = await open_pool(
            dsn,
            min_size=1,
            max_size=settings.pool_size_max,
            statement_timeout_s=settings.ledger.statement_timeout_s,
            connect_timeout_s=settings.ledger.connect_timeout_s,
        )
        stack.push_async_callback(pool.close)
        self.ledger = await Ledger.start(
            dsn,
            settings=msgspec.structs.replace(settings.ledger, sole_owner=sole_owner),
            clock=clock,
            ids=self.ids,
            metrics=self.metrics,
            on_fenced=self._cut_reserved,
            rehearse=True,
        )
        stack.push_async_callback(self._stop_ledger)
        key_ring = KeyRing(pool, dsn=dsn, clock=clock)
        await key_ring.start()
        stack.push_async_callback(key_ring.stop)
        self.orgs = Orgs(pool, ids=self.ids, books=accounts)
        self.keys = Keys(pool, ids=self.ids, forget=key_ring.forget)
        self.users = Users(pool, ids=self.ids, forget_org=key_ring.forget_org)
        await self._open_road(pool, dsn, clock)
        door = Door(settings.auth, clock=clock)

        app = web.Application(middlewares=[answer_errors])
        app[rooms.CLOCK] = clock
        app[rooms.IDS] = self.ids
        app[DOOR] = door
        app[rooms.KEY_RING] = key_ring
        app[rooms.LEDGER] = self.ledger
        app[rooms.CATALOGUE] = self.offers.catalogue
        app[rooms.OFFERS] = self.offers
        app[rooms.STORED_RESPONSES] = self._stored_responses
        app[rooms.GENERATIONS] = Generations(pool)
        app[rooms.KEY_USAGE] = KeyUsage(pool)
        app[rooms.INSUFFICIENT_STATUS] = settings.insufficient_status
        app[READINESS] = readiness = Readiness(
            partial(database_trouble, pool, timeout_s=settings.ledger.connect_timeout_s), clock=clock
        )
        observer = Observer(log=self._request_log(), metrics=self.metrics, quoter=self._quoter, clock=clock)
        stack.callback(observer.flush)
        app[rooms.OBSERVER] = observer
        house = self._house(pool, clock, door, key_ring, operator_key)
        self._keep_up(house)
        add_routes(app, house)
        await self._listen(
            app, self._metrics_app(app), inference_routes(self._inference(clock, door, key_ring, observer))
        )
        stack.push_async_callback(self._drain, readiness)
        log.info("gateway.started", url=self.url, models=len(self.offers.catalogue), upstreams=len(settings.upstreams))

    async def _open_road(self, pool: asyncpg.Pool, dsn: str, clock: Clock) -> None:
        settings = self.settings
        self.translator = Translator(settings.translator, settings.translated, metrics=self.metrics)
        self._stack.push_async_callback(self.translator.stop)
        client = UpstreamClient(translator=self.translator)
        self._stack.push_async_callback(client.close)
        self._book = PriceBook.load(credits_per_usd=settings.credits_per_usd, overrides=settings.prices)
        self.offers = Offers(Catalogue((), {}), ModelVolumes(pool, clock=clock))
        self.stored_prices = StoredPrices(pool, dsn=dsn, clock=clock, on_change=self._reprice)
        await self.stored_prices.start()
        self._stack.push_async_callback(self.stored_prices.stop)
        self._quoter = Quoter(settings.reserve)
        self.stored_objects = StoredObjects(pool)
        self._stack.push_async_callback(self.stored_objects.stop)
        self._counting = TokenCounts(client=client, offers=self.offers, quoter=self._quoter)
        upstreams = {served.upstream.name: served.upstream for served in settings.upstreams}
        keeping = Keeping(self.stored_objects)
        responses = BackgroundResponses(pool)
        self.background = BackgroundCalls(
            ledger=self.ledger,
            client=client,
            keeping=keeping,
            responses=responses,
            upstreams=upstreams,
            dialect=OPENAI_RESPONSES,
            clock=clock,
            life_max_s=settings.ledger.job_life_max_s,
        )
        self._stored_responses = StoredResponses(
            client=client,
            objects=self.stored_objects,
            responses=responses,
            background=self.background,
            upstreams=upstreams,
            dialect=OPENAI_RESPONSES,
        )
        self.relay = Relay(
            ledger=self.ledger,
            client=client,
            offers=self.offers,
            quoter=self._quoter,
            interpreter=Interpreter(settings.reserve),
            keeping=keeping,
            background=self.background,
            clock=clock,
            settings=settings.reserve,
        )

    def _house(self, pool: asyncpg.Pool, clock: Clock, door: Door, key_ring: KeyRing, operator_key: str) -> House:
        """What /api's handlers may enter."""
        return House(
            clock=clock,
            ids=self.ids,
            door=door,
            pace=Pace(self.settings.api, clock=clock),
            operator_key=SharedKey(operator_key, whose="operator"),
            tokens=self._tokens(pool, clock),
            key_ring=key_ring,
            orgs=self.orgs,
            keys=self.keys,
            users=self.users,
            people=People(pool, forget_org=key_ring.forget_org),
            ledger=self.ledger,
            audit_log=AuditLog(pool),
            transactions=Transactions(pool),
            statistics=Statistics(pool),
            catalogue=self.offers.catalogue,
            offers=self.offers,
            stored_prices=self.stored_prices,
            price_desk=PriceDesk(pool, ids=self.ids),
            price_book=self._book,
            price_sets=self.settings.price_sets,
            plans={plan.id: plan for plan in self.settings.plans},
            features=self.settings.features,
            insufficient_status=self.settings.insufficient_status,
        )

    def _keep_up(self, house: House) -> None:
        """What is read is prepared behind the changes, not in their transactions."""
        for name, action, every_s in (
            ("audit_log.chain", house.audit_log.chain, CHAIN_EVERY_S),
            ("background.poll", self.background.poll, POLL_EVERY_S),
            ("stored.purge", self.stored_objects.purge, PURGE_EVERY_S),
            ("usage.roll_up", house.statistics.roll_up_all, ROLL_UP_EVERY_S),
        ):
            task = Periodic(name, action, every_s=every_s, metrics=self.metrics)
            task.start()
            self._stack.push_async_callback(task.stop)

    def _reprice(self, sheet: Sheet, markups: Markups) -> None:
        """Other prices hold: the catalogue is made anew and swapped whole."""
        settings, book = self.settings, self._book.with_stored(sheet)
        self.offers.become(build_catalogue(settings.upstreams, settings.aliases, book), markups)

    def _request_log(self) -> RequestLog:
        lines = LineWriter(sys.stdout.buffer, on_drop=self.metrics.log_lines_dropped.inc)
        self._stack.callback(lines.stop)
        return RequestLog(lines)

    def _tokens(self, pool: asyncpg.Pool, clock: Clock) -> Tokens | None:
        settings = self.settings.tokens
        if not settings.algorithms:
            return None
        keys: VerificationKeys
        if settings.secret:
            keys = SharedSecret(settings.secret)
        else:
            fetch = (
                partial(fetch_document, settings.jwks, timeout_s=settings.jwks_timeout_s)
                if may_be_fetched(settings.jwks)
                else partial(read_document, Path(settings.jwks))
            )
            keys = key_set = KeySet(fetch, clock=clock, settings=settings.key_set)
            key_set.start()
            self._stack.push_async_callback(key_set.stop)
        return Tokens(pool, clock=clock, keys=keys, settings=settings)

    def _inference(self, clock: Clock, door: Door, key_ring: KeyRing, observer: Observer) -> Inference:
        settings = self.settings
        bodies = BodyBudget(settings.bodies)
        self.metrics.body_bytes.set_function(lambda: bodies.taken)
        return Inference(
            door=door,
            key_ring=key_ring,
            relay=self.relay,
            counting=self._counting,
            bodies=bodies,
            headers=HeaderPolicy(to_upstream=settings.headers_to_upstream, to_caller=settings.headers_to_caller),
            observer=observer,
            clock=clock,
            ids=self.ids,
            low_balance_ucr=settings.reserve.low_balance_credits * UCR_PER_CREDIT,
            insufficient_status=settings.insufficient_status,
        )

    def _metrics_app(self, gateway_app: web.Application) -> web.Application:
        """The application that serves /metrics: the gateway's own, or one for a port of its own."""
        settings, app = self.settings, gateway_app
        if settings.metrics.port is not None:
            app = web.Application(middlewares=[answer_errors])
            app[rooms.CLOCK] = gateway_app[rooms.CLOCK]
            app[rooms.IDS] = gateway_app[rooms.IDS]
            app[rooms.OBSERVER] = gateway_app[rooms.OBSERVER]
            app[rooms.INSUFFICIENT_STATUS] = gateway_app[rooms.INSUFFICIENT_STATUS]
        key = SharedKey(settings.metrics.token, whose="metrics") if settings.metrics.token else None
        app[SCRAPE] = Scrape(self.metrics, key=key)
        add_metrics_route(app)
        return app

    async def _listen(self, app: web.Application, metrics_app: web.Application, straight: Routes) -> None:
        settings, stack = self.settings, self._stack
        self._runner = Runner(app, settings.connections, straight=straight)
        await self._runner.setup()
        stack.push_async_callback(self._runner.cleanup)
        listener = self._runner.listener
        assert listener is not None
        stalled = Periodic("close stalled", listener.close_stalled, every_s=STALLED_EVERY_S, metrics=self.metrics)
        stalled.start()
        stack.push_async_callback(stalled.stop)
        self.metrics.connections.set_function(lambda: len(listener.connections))
        lag = LoopLag(self.metrics)
        lag.start()
        stack.callback(lag.stop)
        if metrics_app is not app:
            assert settings.metrics.port is not None
            runner = web.AppRunner(metrics_app, access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, settings.host, settings.metrics.port).start()
        self._site = web.TCPSite(self._runner, settings.host, settings.port, backlog=BACKLOG)
        await self._site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _cut_reserved(self) -> None:
        """Others had declared this process dead: what is open here belongs to their sweeper now."""
        self.relay.cut_reserved()

    async def _drain(self, readiness: Readiness) -> None:
        """The first step of a stop: no new connections, no new calls, and time for the open ones."""
        readiness.shutting_down = True
        await self._site.stop()
        cut = await self.relay.drain(self.settings.shutdown_drain_s)
        self._stopped = msgspec.structs.replace(self._stopped, calls_cut=cut)

    async def _stop_ledger(self) -> None:
        left = await self.ledger.stop(drain_s=max(self.settings.shutdown_drain_s, SETTLE_S_MIN))
        self._stopped = msgspec.structs.replace(self._stopped, endings_left=left)
