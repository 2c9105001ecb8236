"""Callers of a ledger: each reserves, settles, and calls again. Waits are those of the reservation alone."""

import asyncio
import logging
import time
from typing import Final, Self
from uuid import UUID

import asyncpg
import structlog

from gateway.core.origin import ITSELF
from gateway.ledger.accounts import open_account
from gateway.ledger.budgets import Budget
from gateway.ledger.calls import End, Ending, Held, Wish
from gateway.ledger.grants import Grant, TransactionType
from gateway.ledger.ledger import Ledger
from gateway.ledger.options import LedgerSettings
from gateway.ops.clock import Clock
from gateway.ops.collector import calm_collector
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics

MODEL = "gpt-4o-mini"
_LINES = b'[["input",800,150000],["cached_input",200,75000],["output",500,600000]]'
_NUMERATOR = 800 * 150_000 + 200 * 75_000 + 500 * 600_000
_PINS = b'{"gpt-4o-mini":{"input_ucr":150000,"output_ucr":600000}}'
GRANT_UCR = 10**14
FLOOD_CALLERS: Final = 512


class Payer:
    """An organisation with three grants, and where it is capped, three budgets: of itself, its key and the model."""

    def __init__(self, org_id: UUID, key_id: UUID, user_id: UUID) -> None:
        self.org_id = org_id
        self.key_id = key_id
        self.user_id = user_id


class Load:
    def __init__(self, dsn: str, ledger: Ledger, ids: IdSource, connection: asyncpg.Connection) -> None:
        self.dsn = dsn
        self.ledger = ledger
        self.ids = ids
        self.connection = connection
        self.calls = 0
        """Settled or on their way to it, since the start."""

    @classmethod
    async def start(cls, dsn: str) -> Self:
        ids = IdSource(Clock())
        ledger = await Ledger.start(
            dsn, settings=LedgerSettings(), clock=Clock(), ids=ids, metrics=Metrics(), rehearse=True
        )
        calm_collector()  # as `tollgate serve` does
        return cls(dsn, ledger, ids, await asyncpg.connect(dsn))

    async def stop(self) -> None:
        await self.connection.close()
        assert await self.ledger.stop(drain_s=30) == 0

    async def payer(self, *, capped: bool = True) -> Payer:
        payer = Payer(self.ids.next(), self.ids.next(), self.ids.next())
        await open_account(self.connection, payer.org_id, payer.org_id)
        for priority in (10, 20, 50):
            grant = Grant(
                id=self.ids.next(),
                org_id=payer.org_id,
                account_id=payer.org_id,
                amount_ucr=GRANT_UCR,
                priority=priority,
                transaction_type=TransactionType.PURCHASE,
            )
            await self.ledger.desk.grant(grant, by=ITSELF)
        if capped:
            for scope, scope_id in (("org", ""), ("key", str(payer.key_id)), ("model", MODEL)):
                await self.ledger.set_budget(
                    Budget(
                        budget_id=self.ids.next(),
                        org_id=payer.org_id,
                        scope=scope,  # type: ignore[arg-type]
                        scope_id=scope_id,
                        period="month",
                        max_ucr=GRANT_UCR,
                    ),
                    by=ITSELF,
                )
        return payer

    async def call(self, payer: Payer) -> float:
        """Returns how long its reservation took, in seconds."""
        id = self.ids.next()
        began = time.perf_counter()
        held = await self.ledger.reserve(
            Wish(
                id=id,
                org_id=payer.org_id,
                account_ids=(payer.org_id,),
                key_id=payer.key_id,
                user_id=payer.user_id,
                model=MODEL,
                amount_ucr=900,
                learned_ucr=600,
                prompt_ucr=150,
                pins=_PINS,
            )
        )
        assert isinstance(held, Held), held
        wait_s = time.perf_counter() - began
        self.ledger.settle(
            Ending(
                id=id,
                org_id=payer.org_id,
                account_id=held.account_id,
                end=End.OK,
                delivered=True,
                cost_ucr=-(-_NUMERATOR // 1_000_000),
                numerator=_NUMERATOR,
                lines=_LINES,
                key_id=payer.key_id,
                user_id=payer.user_id,
                model=MODEL,
                upstream="openai",
                upstream_model=MODEL,
                provider_request_id=f"chatcmpl-{id.hex}",
                status=200,
                finish_reason="stop",
                prompt_tokens=1_000,
                cached_tokens=200,
                output_tokens=500,
                reasoning_tokens=100,
                first_event_ms=200,
                duration_ms=3_000,
            )
        )
        self.calls += 1
        return wait_s

    async def closed_loop(self, payer: Payer, *, callers: int, seconds: float) -> float:
        """So many callers, each calling again at once. Returns calls a second, all of them settled."""
        calls = 0
        began = time.perf_counter()

        async def caller() -> None:
            nonlocal calls
            while time.perf_counter() < began + seconds:
                await self.call(payer)
                calls += 1

        await asyncio.gather(*(caller() for _ in range(callers)))
        assert await self.ledger.settled(payer.org_id, within_s=60)
        return calls / (time.perf_counter() - began)

    async def open_loop(self, payer: Payer, *, per_s: float, seconds: float) -> list[float]:
        """Calls begin at their time, whether earlier ones have ended or not. Returns how long each waited."""
        began = time.perf_counter()
        waits_s: list[float] = []
        calls: set[asyncio.Task[float]] = set()

        def ended(call: asyncio.Task[float]) -> None:
            calls.discard(call)
            waits_s.append(call.result())

        for number in range(int(per_s * seconds)):
            due = began + number / per_s
            if (ahead := due - time.perf_counter()) > 0.0005:
                await asyncio.sleep(ahead)
            task = asyncio.create_task(self.call(payer))
            calls.add(task)
            task.add_done_callback(ended)
        await asyncio.gather(*calls)
        return waits_s

    async def now_and_then(self, payer: Payer, *, seconds: float) -> list[float]:
        """One call, a pause in which its settlement is posted, the next. Returns how long each waited."""
        waits_s: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            waits_s.append(await self.call(payer))
            await asyncio.sleep(0.02)
        return waits_s


def wait_ms(waits_s: list[float], share: float) -> float:
    """What so large a share of the waits does not pass."""
    return 1_000 * sorted(waits_s)[min(len(waits_s) - 1, int(len(waits_s) * share))]


def quiet_log() -> None:
    """Only what is wrong, so that the bench's own lines can be read."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
