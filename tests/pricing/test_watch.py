"""Stored prices reach every process, whatever is lost on the way, and hold from their instant to their instant."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from gateway.core.origin import ITSELF
from gateway.core.pricing import Prices, Tariff, Tier
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.pricing.desk import PriceDesk
from gateway.pricing.stored import Markups, Sheet
from gateway.pricing.watch import StoredPrices, WatchSettings
from tests.postgres.outage import Outage
from tests.road import until

DEAF = WatchSettings(poll_s=3600, ping_s=3600, reconnect_s=0.01)
"""Goes by announcements alone."""


class Watched(StoredPrices):
    """Remembers what it was shown."""

    shown: list[tuple[Sheet, Markups]]


Watcher = Callable[..., Awaitable[Watched]]


@pytest.fixture
async def watch(pool: asyncpg.Pool, dsn: str) -> AsyncIterator[Watcher]:
    started: list[Watched] = []

    async def start(settings: WatchSettings = DEAF, clock: Clock | None = None) -> Watched:
        shown: list[tuple[Sheet, Markups]] = []
        watched = Watched(
            pool,
            dsn=dsn,
            clock=clock or Clock(),
            on_change=lambda sheet, markups: shown.append((sheet, markups)),
            settings=settings,
        )
        watched.shown = shown
        await watched.start()
        started.append(watched)
        return watched

    yield start
    for watched in started:
        await watched.stop()


@pytest.fixture
def desk(pool: asyncpg.Pool) -> PriceDesk:
    return PriceDesk(pool, ids=IdSource(Clock()))


async def set_price(desk: PriceDesk, credits: int, *, model: str = "m", **more: Any) -> None:
    await desk.set(
        **{
            "provider": "test",
            "model": model,
            "is_default": False,
            "tariff": Tariff(Prices((Tier(0, 0, 0, 0, 0),), message_ucr=credits)),
            "effective_from": None,
            "effective_until": None,
            "if_match": None,
            "by": ITSELF,
            "idempotency": None,
            **more,
        }
    )


def shown(watched: StoredPrices, model: str = "m") -> int | None:
    price = watched.sheet.find("test", model)
    return None if price is None else price.tariff.prices.message_ucr


async def change_without_a_word(owner: asyncpg.Connection) -> None:
    """As if the announcement had been lost."""
    await owner.execute(
        "UPDATE price SET tariff = jsonb_set(tariff, '{prices,message_ucr}', '99');"
        "UPDATE price_revision SET revision = revision + 1"
    )


async def test_a_change_is_heard_by_every_process(watch: Watcher, desk: PriceDesk) -> None:
    one, other = await watch(), await watch()
    for each in (one, other):
        await asyncio.wait_for(each.listening(), 5)
    await set_price(desk, 7)
    await until(lambda: shown(one) == shown(other) == 7)
    await desk.set_markup(scope="all", scope_id="", basis_points=5, if_match=None, by=ITSELF, idempotency=None)
    await until(lambda: not (one.loaded.markups.none or other.loaded.markups.none))
    await desk.end(provider="test", model="m", at=None, if_match=None, by=ITSELF, idempotency=None)
    await until(lambda: shown(one) is shown(other) is None)


async def test_what_was_announced_while_nobody_listened_is_loaded_on_reconnecting(
    watch: Watcher, desk: PriceDesk, owner: asyncpg.Connection, outage: Outage
) -> None:
    await set_price(desk, 7)
    watched = await watch()
    await asyncio.wait_for(watched.listening(), 5)
    await until(lambda: shown(watched) == 7)
    await change_without_a_word(owner)
    assert shown(watched) == 7
    await outage.cut()
    await until(lambda: shown(watched) == 99)


async def test_polling_finds_what_no_announcement_told(
    watch: Watcher, desk: PriceDesk, owner: asyncpg.Connection
) -> None:
    await set_price(desk, 7)
    watched = await watch(WatchSettings(poll_s=0.02))
    await asyncio.wait_for(watched.listening(), 5)
    await change_without_a_word(owner)
    await until(lambda: shown(watched) == 99)


async def test_prices_stay_while_the_database_is_away(watch: Watcher, desk: PriceDesk, outage: Outage) -> None:
    await set_price(desk, 7)
    watched = await watch(WatchSettings(poll_s=0.01, reconnect_s=0.01))
    await outage.begin()
    await until(lambda: not watched._changes.connected.is_set())
    assert shown(watched) == 7
    await outage.end()
    await asyncio.wait_for(watched.listening(), 10)
    await set_price(desk, 8)
    await until(lambda: shown(watched) == 8)


async def test_prices_begin_and_end_in_a_running_process_without_a_word_from_the_database(
    watch: Watcher, desk: PriceDesk
) -> None:
    await set_price(desk, 1)
    begin = datetime.now(UTC) + timedelta(seconds=0.4)
    await set_price(desk, 2, effective_from=begin, effective_until=begin + timedelta(seconds=0.2))
    watched = await watch()
    await asyncio.wait_for(watched.listening(), 5)
    await until(lambda: len(watched.shown) >= 3)
    assert [own.tariff.prices.message_ucr for sheet, _ in watched.shown if (own := sheet.own("test", "m"))] == [1, 2, 1]


async def test_the_databases_clock_says_when_a_price_begins(watch: Watcher, desk: PriceDesk) -> None:
    class Behind(Clock):
        def now(self) -> datetime:
            return super().now() - timedelta(hours=1)

    await set_price(desk, 1)
    await set_price(desk, 2, effective_from=datetime.now(UTC) + timedelta(minutes=30))
    watched = await watch(clock=Behind())
    assert shown(watched) == 1
    assert abs(watched.now() - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_models_own_price_comes_before_the_one_of_every_model(watch: Watcher, desk: PriceDesk) -> None:
    await set_price(desk, 1, model="*")
    await set_price(desk, 2, model="own", is_default=True)
    watched = await watch()
    assert [shown(watched, model) for model in ("own", "other")] == [2, 1]
    default = watched.sheet.default("test")
    assert default is not None
    assert default.model == "own"
    assert watched.sheet.find("elsewhere", "own") is None


async def test_a_gateway_does_not_start_without_its_prices(watch: Watcher, outage: Outage) -> None:
    await outage.begin()
    with pytest.raises(Exception, match="does not answer"):
        await watch()
