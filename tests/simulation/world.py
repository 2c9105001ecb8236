"""Two gateways on one database, a line between that can be cut, the provider, and customers of every kind."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg

from gateway.cli.database import bring_up_to_date
from gateway.core.origin import Origin
from gateway.identity.keys import Keys
from gateway.identity.orgs import Orgs
from gateway.identity.users import Users
from gateway.ledger import accounts
from gateway.ledger.allocations import AllocationRule, Allocations
from gateway.ledger.budgets import Budget, set_budget
from gateway.ledger.desk import Desk
from gateway.ledger.grants import Grant, TransactionType
from gateway.ledger.options import LedgerSettings
from gateway.ledger.owned import OwnedReservations
from gateway.ledger.plans import Plan
from gateway.ledger.subscriptions import Subscriptions
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.pool import open_pool
from gateway.replay.server import ReplayServer
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.fakes.tcp_proxy import TcpProxy, tcp_proxy
from tests.simulation.books import Books, open_books
from tests.simulation.crowd import Crowd

DEAD_AFTER_S: Final = 3.0
CONFIG: Final = f"""
shutdown_drain_s = 10

[reserve]
first_slice_tokens = 32
drain_s = 1

[ledger]
beat_s = 0.3
dead_after_s = {DEAD_AFTER_S}
sweep_s = 0.4
reconcile_s = 1
queue_wait_s = 0.3
hold_timeout_s = 0.5
due_s = 0.5
expire_s = 0.5
audit_s = 2
"""
UPSTREAM: Final = """
[[upstreams]]
name = "{name}"
provider = "openai"
base_url = "{url}"
api_key_env = "OPENAI_API_KEY"
on_disconnect = "{on_disconnect}"

[upstreams.timeouts]
first_event_s = 1.5
idle_s = 1
"""
DRAINED: Final = """
[[models]]
name = "drained"
targets = [{ upstream = "drains", model = "gpt-4o-mini" }]
"""
CLERK: Final = Origin(actor="clerk")
PLENTY_UCR: Final = 10**12
SMALL: Final = Plan(id="small", name="Small", amount_ucr=40_000_000, period="day", rollover_max_ucr=10_000_000)
LARGE: Final = Plan(id="large", name="Large", amount_ucr=400_000_000, period="day", credit_line_ucr=5_000_000)
PLANS: Final = (SMALL, LARGE)
ALLOCATION_UCR: Final = 200_000_000
POOL_SIZE: Final = 4


@dataclass
class House:
    """One organisation with its keys."""

    org_id: UUID
    customers: list[Customer]
    allocations: list[UUID] = field(default_factory=list)
    """Accounts of its users."""
    planned: bool = False

    @property
    def accounts(self) -> list[UUID]:
        return [self.org_id, *self.allocations]


class Office:
    """The ledger's own door, for what has no endpoint yet. It is no instance: nothing periodic runs in it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        settings, metrics = LedgerSettings(), Metrics()
        self.pool = pool
        self.ids = IdSource(Clock())
        self.desk = Desk(pool=pool, settings=settings, moved=lambda _: None)
        self.owned = OwnedReservations(pool=pool, settings=settings, moved=lambda _: None, metrics=metrics)
        self.subscriptions = Subscriptions(pool, moved=lambda _: None)
        self.allocations = Allocations(pool)
        self.orgs = Orgs(pool, ids=self.ids, books=accounts)
        self.keys = Keys(pool, ids=self.ids, forget=lambda _: None)
        self.users = Users(pool, ids=self.ids, forget_org=lambda _: None)

    async def give(self, org_id: UUID, ucr: int) -> None:
        grant = Grant(
            id=self.ids.next(),
            org_id=org_id,
            account_id=org_id,
            amount_ucr=ucr,
            transaction_type=TransactionType.PURCHASE,
        )
        await self.desk.grant(grant, by=CLERK)

    async def house(self, name: str, *, credits_ucr: int) -> House:
        org = await self.orgs.create(name, by=CLERK)
        if credits_ucr:
            await self.give(org.org_id, credits_ucr)
        _, key = await self.keys.create(org.org_id, name="all", by=CLERK)
        return House(org.org_id, [Customer(str(org.org_id), key)])

    async def family(self) -> House:
        """Users whose allocations pay first; one of them has a budget, and few calls may be open at one time."""
        house = await self.house("family", credits_ucr=PLENTY_UCR)
        org_id = house.org_id
        await self.allocations.set_rule(
            org_id, AllocationRule(role="member", kind="transfer", amount_ucr=ALLOCATION_UCR), by=CLERK
        )
        await self.allocations.set_rule(
            org_id, AllocationRule(role="viewer", kind="quota", amount_ucr=ALLOCATION_UCR, period="day"), by=CLERK
        )
        for number in range(3):
            user = await self.users.create(
                org_id,
                external_id=f"u{number}",
                name=f"User {number}",
                role="viewer" if number == 2 else "member",
                by=CLERK,
            )
            _, key = await self.keys.create(org_id, name=user.name, user_id=user.user_id, by=CLERK)
            house.allocations.append(user.account_id)
            house.customers.append(Customer(str(org_id), key))
            budget = Budget(
                budget_id=self.ids.next(),
                org_id=org_id,
                scope="user",
                scope_id=str(user.user_id),
                period="day",
                max_ucr=ALLOCATION_UCR,
            )
            await set_budget(self.pool, budget, by=CLERK)
        crowded = Budget(budget_id=self.ids.next(), org_id=org_id, scope="org", period="lifetime", open_max=6)
        await set_budget(self.pool, crowded, by=CLERK)
        return house

    async def subscriber(self) -> House:
        house = await self.house("subscriber", credits_ucr=0)
        await self.subscriptions.subscribe(house.org_id, house.org_id, SMALL, operation_id=self.ids.next(), by=CLERK)
        house.planned = True
        return house


@dataclass
class World:
    folder: Path
    replay: ReplayServer
    postgres: EmbeddedPostgres
    line: TcpProxy
    office: Office
    crowd: Crowd
    stack: contextlib.AsyncExitStack
    rich: list[House] = field(default_factory=list)
    poor: list[House] = field(default_factory=list)
    """Whose credits do not last."""
    killed: set[str] = field(default_factory=set)
    """Addresses of gateways that were killed."""
    written: dict[UUID, int] = field(default_factory=dict)
    """What calls that were open at such a moment must be charged at least, if it was their gateway, in µcr."""

    @property
    def houses(self) -> list[House]:
        return [*self.rich, *self.poor]

    async def start_gateway(self) -> RunningGateway:
        """One more, on the line."""
        config = CONFIG + DRAINED
        for name, on_disconnect in (("cancels", "cancel"), ("drains", "drain")):
            config += UPSTREAM.format(name=name, url=self.replay.base_url, on_disconnect=on_disconnect)
        starting = running_gateway(
            dsn=dsn_by(self.line), upstream_url=self.replay.base_url, data_dir=self.folder, config=config
        )
        gateway = await self.stack.enter_async_context(starting)
        await self.crowd.welcome(gateway)
        return gateway

    def any_gateway(self, lots: random.Random) -> RunningGateway:
        return lots.choice(self.crowd.gateways)

    def books(self) -> contextlib.AbstractAsyncContextManager[Books]:
        """Past the line."""
        return open_books(self.postgres.dsn)


def dsn_by(line: TcpProxy) -> str:
    return f"postgresql://tollgate@127.0.0.1:{line.port}/tollgate?sslmode=disable"


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        replay = await stack.enter_async_context(ReplayServer())
        postgres = EmbeddedPostgres(folder / "postgres")
        dsn = await postgres.start()
        stack.push_async_callback(postgres.stop)
        line = await stack.enter_async_context(tcp_proxy(unix_path=f"{socket_folder(dsn)}/.s.PGSQL.5432"))
        await bring_up_to_date(dsn)
        pool = await open_pool(
            dsn_by(line), min_size=0, max_size=POOL_SIZE, statement_timeout_s=10, connect_timeout_s=3
        )
        stack.callback(pool.terminate)
        gateways = await stack.enter_async_context(contextlib.AsyncExitStack())
        office = Office(pool)
        world = World(folder, replay, postgres, line, office, Crowd([]), gateways)
        await asyncio.gather(world.start_gateway(), world.start_gateway())
        family, subscriber = await office.family(), await office.subscriber()
        world.rich = [await office.house("rich", credits_ucr=PLENTY_UCR), family, subscriber]
        world.poor = [await office.house(f"poor {each}", credits_ucr=400_000 * each) for each in (1, 3)]
        yield world


def socket_folder(dsn: str) -> str:
    return parse_qs(urlsplit(dsn).query)["host"][0]
