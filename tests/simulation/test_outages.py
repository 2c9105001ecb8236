"""The database goes away and comes back: nobody is declared dead for it, nothing is lost, nothing is charged twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.audit import audit
from tests.e2e.running import Customer, RunningGateway
from tests.fakes.tcp_proxy import TcpProxy, tcp_proxy
from tests.simulation.books import Books
from tests.simulation.conftest import StartGateway
from tests.simulation.reader import chat_works, output_ucr, reading

OUTAGE_S: Final = 6.0
"""Twice the silence after which a process counts as dead."""


@pytest.fixture
async def line(dsn: str) -> AsyncIterator[TcpProxy]:
    """What the gateways have between them and their database."""
    folder = parse_qs(urlsplit(dsn).query)["host"][0]
    async with tcp_proxy(unix_path=f"{folder}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def dsn_by_line(dsn: str, line: TcpProxy) -> str:
    parts = urlsplit(dsn)
    return f"postgresql://{parts.username}@127.0.0.1:{line.port}{parts.path}?sslmode=disable"


async def refused_without_the_ledger(gateway: RunningGateway, customer: Customer, replay: ReplayServer) -> None:
    """A call now is refused as retryable, and nothing reaches the provider."""
    async with reading(gateway, customer, id="must-not-arrive") as reader:
        assert reader.status == 503
    async with gateway.session.get(f"{replay.url}/_sent") as response:
        assert not [call for call in (await response.json())["calls"] if call["replay_id"] == "must-not-arrive"]


@pytest.mark.parametrize("how", [TcpProxy.refuse, TcpProxy.stall], ids=["refused", "stalled"])
async def test_an_outage_longer_than_the_dead_time_fences_nobody_and_loses_nothing(
    how: Callable[[TcpProxy], None],
    start: StartGateway,
    line: TcpProxy,
    dsn_by_line: str,
    dsn: str,
    books: Books,
    replay: ReplayServer,
) -> None:
    first, second = await asyncio.gather(start(dsn=dsn_by_line), start(dsn=dsn_by_line))
    customer = await first.customer(credits="100")
    for gateway in (first, second):
        await chat_works(gateway, customer)
    alive = await books.alive()
    async with (
        reading(first, customer, output_tokens=200, interval_ms=2) as ends_meanwhile,
        reading(second, customer, output_tokens=1400, interval_ms=5) as goes_on,
    ):
        await ends_meanwhile.read(tokens=1)
        await goes_on.read(tokens=1)
        began = time.monotonic()
        how(line)
        assert await ends_meanwhile.read() == "done"
        while time.monotonic() < began + OUTAGE_S:
            await refused_without_the_ledger(first, customer, replay)
            await refused_without_the_ledger(second, customer, replay)
        line.mend()
        assert await goes_on.read() == "done"

    for reader in (ends_meanwhile, goes_on):
        [ending] = await books.ended(reader.id)
        assert ending.ended == "ok"
        assert ending.charged_ucr > output_ucr(reader.tokens)
    for gateway in (first, second):
        await until_it_works(gateway, customer)
        assert await gateway.stop() == 0
    assert await books.alive() == set()
    assert await books.fenced() == alive  # each by itself, when it stopped
    assert [row for row in await books.endings() if row.ended == "recovered"] == []
    assert await books.open_rows() == {}
    assert await audit(dsn) == []


async def until_it_works(gateway: RunningGateway, customer: Customer) -> None:
    while True:
        async with reading(gateway, customer, output_tokens=5) as reader:
            if reader.status == 200:
                assert await reader.read() == "done"
                return
            assert reader.status == 503


async def test_what_a_stop_without_a_database_could_not_post_is_left_to_the_others_and_said(
    start: StartGateway, line: TcpProxy, dsn_by_line: str, dsn: str, books: Books
) -> None:
    stopped, other = await asyncio.gather(start(dsn=dsn_by_line), start(dsn=dsn))
    customer = await other.customer(credits="100")
    async with reading(stopped, customer, output_tokens=40) as reader:
        await reader.read(tokens=1)
        line.refuse()
        assert await reader.read() == "done"
    assert await stopped.stop() == 0
    assert "left to the sweeper: 1 call" in stopped.said.errors
    [ending] = await books.ended(reader.id)
    assert ending.ended == "recovered"
    assert await books.open_rows() == {}
    await chat_works(other, customer)
    assert await audit(dsn) == []
