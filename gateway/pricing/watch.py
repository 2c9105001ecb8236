"""The stored prices in this process: loaded whole, swapped whole, as soon as they change and when an instant comes."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import msgspec
import structlog

from gateway.ops.clock import Clock
from gateway.postgres.changes import Changes
from gateway.postgres.outage import is_outage, unavailable_in_outage
from gateway.postgres.queries import load
from gateway.pricing.stored import Loaded, Markup, Markups, Sheet, price_of

log = structlog.get_logger()

_SQL: Final = load("prices")


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    poll_s: float = 5.0
    """How often the database is asked for its revision, in case an announcement was lost."""
    ping_s: float = 5.0
    reconnect_s: float = 0.5


class StoredPrices:
    """Hands `on_change` what holds now: once at the start, after each change and at each instant that is one.

    It goes by the database's clock, which says when a price begins. A change is announced (NOTIFY, on a connection of
    its own); whatever was announced while nobody listened is made up for by a full load at reconnect, and by polling.
    While the database is away the last prices stay, and begin and end in time; no call is reserved then anyway.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        dsn: str,
        clock: Clock,
        on_change: Callable[[Sheet, Markups], None],
        settings: WatchSettings | None = None,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._on_change = on_change
        self._settings = settings or WatchSettings()
        self._wanted = asyncio.Event()
        self._loading = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._ahead = timedelta()
        """Of the database's clock before this machine's."""
        self._shown_at: datetime | None = None
        self.loaded = Loaded()
        self.sheet = Sheet()
        """What holds now."""
        self._changes = Changes(
            dsn,
            "tollgate_prices",
            on_change=lambda _: self._wanted.set(),
            on_gap=self._wanted.set,
            ping_s=self._settings.ping_s,
            reconnect_s=self._settings.reconnect_s,
        )

    async def start(self) -> None:
        """Raises LedgerUnavailable: without its prices a gateway would charge others."""
        await self.refresh()
        await self._changes.start()
        self._watching = asyncio.create_task(self._watch(), name="stored prices")

    async def stop(self) -> None:
        await self._changes.stop()
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    async def listening(self) -> None:
        """Returns once changes are heard; until then they are found by polling."""
        await self._changes.connected.wait()

    def now(self) -> datetime:
        """By the database's clock."""
        return self._clock.now() + self._ahead

    @unavailable_in_outage
    async def refresh(self) -> None:
        """What is committed now holds here when this returns. Raises LedgerUnavailable."""
        async with self._loading:
            row = await self._pool.fetchrow(_SQL.now_and_revision)
            assert row is not None
            now = row["now"]
            self._ahead = now - self._clock.now()
            if row["revision"] == self.loaded.revision:
                return
            # One snapshot: a price and the revision that it belongs to.
            async with (
                self._pool.acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                revision = await connection.fetchval(_SQL.price_revision)
                prices = await connection.fetch(_SQL.prices_to_come, now)
                markups = await connection.fetch(_SQL.markups)
            self.loaded = Loaded(
                revision=revision,
                prices=tuple(price_of(dict(row)) for row in prices),
                markups=Markups(msgspec.convert(dict(row), Markup) for row in markups),
            )
            self._show()
            log.info("prices.loaded", revision=revision, prices=len(prices), markups=len(markups))

    def _show(self) -> None:
        self._shown_at = self.now()
        self.sheet = self.loaded.at(self._shown_at)
        self._on_change(self.sheet, self.loaded.markups)

    async def _watch(self) -> None:
        while True:
            due = self._next_change()
            wait_s = self._settings.poll_s
            if due is not None:
                wait_s = min(wait_s, max(0.0, (due - self.now()).total_seconds()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                if due is not None and due <= self.now():
                    self._show()
                await self.refresh()
            except Exception as error:  # Where the loop goes on: its end would freeze the prices.
                if not is_outage(error.__cause__ or error):
                    log.exception("prices.not_loaded")

    def _next_change(self) -> datetime | None:
        assert self._shown_at is not None
        return self.loaded.next_change(self._shown_at)
