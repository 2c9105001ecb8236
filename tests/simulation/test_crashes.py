"""Gateways that are killed or stopped in the middle of a stream: others end their calls, once, for what was spent."""

import asyncio
import re
from decimal import Decimal
from typing import Final

from gateway.replay.server import ReplayServer
from tests.e2e.audit import audit
from tests.simulation.books import Books
from tests.simulation.conftest import StartGateway
from tests.simulation.reader import chat_works, output_ucr, reading

FENCED: Final = re.compile(r'"event":"ledger.fenced"')


async def test_a_call_of_a_killed_process_is_ended_once_by_the_others_at_its_watermark(
    start: StartGateway, books: Books, dsn: str
) -> None:
    killed, *others = await asyncio.gather(start(), start(), start())
    customer = await killed.customer(credits="10")
    async with reading(killed, customer, output_tokens=100, hang=60) as reader:
        await reader.read(tokens=60)
        await books.watermark(reader.id, at_least_ucr=output_ucr(60))
        await killed.kill()
        left = (await books.open_rows())[reader.id]
        assert await reader.read() == "error"

    [ending] = await books.ended(reader.id)

    assert (ending.kind, ending.ended, ending.charged_ucr) == ("CHARGE", "recovered", left.swept_ucr)
    assert ending.charged_ucr >= output_ucr(60)
    balance = await others[0].balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000_000 - left.swept_ucr, 0)
    for other in others:
        await chat_works(other, customer)
    assert len(await books.rows_of(reader.id)) == 1
    assert await audit(dsn) == []


async def test_a_process_that_slept_past_its_death_cuts_its_calls_posts_what_is_missing_and_serves_again(
    start: StartGateway, books: Books, replay: ReplayServer, dsn: str
) -> None:
    sleeper, other = await asyncio.gather(start(), start())
    customer = await other.customer(credits="10")
    async with reading(sleeper, customer, output_tokens=4000, interval_ms=5) as reader:
        await reader.read(tokens=20)
        before = await books.watermark(reader.id, at_least_ucr=output_ucr(1))
        sleeper.pause()
        [swept] = await books.ended(reader.id)
        sleeper.resume()
        await sleeper.said.error(FENCED)
        assert await reader.read() == "error"

    _, late = await books.ended(reader.id, rows=2)
    assert (swept.kind, swept.ended) == ("CHARGE", "recovered")
    assert swept.charged_ucr >= before.spent_ucr
    assert (late.kind, late.ref_id) == ("LATE_CHARGE", reader.id)
    assert swept.charged_ucr + late.charged_ucr >= output_ucr(reader.tokens)

    await chat_works(sleeper, customer)
    assert before.owner_id in await books.fenced()
    assert len(await books.alive()) == 2
    headers = {"authorization": f"Bearer {customer.api_key}"}
    async with sleeper.session.get(
        f"{other.base_url}/generation", params={"id": str(reader.id)}, headers=headers
    ) as response:
        generation = (await response.json())["data"]
    assert Decimal(str(generation["total_cost"])) == Decimal(swept.charged_ucr + late.charged_ucr).scaleb(-6)
    assert len(await books.rows_of(reader.id)) == 2
    assert await audit(dsn) == []
    for gateway in (sleeper, other):
        assert await gateway.stop() == 0
    assert other.said.complaints()  # that it declared the other dead is worth a word
