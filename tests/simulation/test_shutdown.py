"""A gateway that is told to stop lets its calls end, settles them, and says what it could not end."""

import asyncio
import re
from typing import Final

import aiohttp
import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.audit import audit
from tests.e2e.prices import charge_ucr
from tests.simulation.books import Books
from tests.simulation.conftest import QUICK, StartGateway
from tests.simulation.reader import MODEL, output_ucr, reading, request

SETTLING: Final = re.compile("settling open calls")
STOPPED: Final = re.compile("^stopped$")


async def test_a_stop_lets_open_streams_end_and_refuses_new_ones(
    start: StartGateway, books: Books, replay: ReplayServer, dsn: str
) -> None:
    gateway = await start(config="shutdown_drain_s = 30\n" + QUICK.replace("shutdown_drain_s = 2", ""))
    customer = await gateway.customer(credits="10")
    body = request(stream_options={"include_usage": True})
    async with reading(gateway, customer, body, output_tokens=100, interval_ms=10) as reader:
        await reader.read(tokens=5)
        stopping = asyncio.ensure_future(gateway.stop())
        await gateway.said.error(SETTLING)
        with pytest.raises(aiohttp.ClientConnectionError):
            await gateway.session.get(f"{gateway.url}/livez")
        assert await reader.read() == "done"
        assert reader.usage is not None
        assert await stopping == 0

    [ending] = await books.rows_of(reader.id)
    assert ending.ended == "ok"
    assert ending.charged_ucr == charge_ucr(
        MODEL,
        {
            "prompt_tokens": reader.usage["prompt_tokens"],
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "output_tokens": reader.tokens,
        },
    )
    assert "every call is settled" in gateway.said.errors
    assert gateway.said.complaints() == []
    assert await audit(dsn) == []


async def test_a_stop_cuts_what_has_not_ended_at_its_limit_charges_it_and_says_so(
    start: StartGateway, books: Books, dsn: str
) -> None:
    gateway = await start()
    customer = await gateway.customer(credits="10")
    async with reading(gateway, customer, output_tokens=100, hang=40) as reader:
        await reader.read(tokens=40)
        assert await gateway.stop() == 0
        assert await reader.read() == "error"
        assert reader.error is not None
        assert reader.error["code"] == "upstream_unavailable"

    [ending] = await books.rows_of(reader.id)
    assert ending.charged_ucr >= output_ucr(40)
    assert "every call is settled; cut at the limit: 1 call" in gateway.said.errors
    assert await books.open_rows() == {}
    assert await audit(dsn) == []
