"""PostgreSQL itself is killed −9 under load and started again: what was acknowledged is there, and nothing twice."""

import asyncio
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

from gateway.postgres.embedded import EmbeddedPostgres
from tests.e2e.audit import audit
from tests.e2e.prices import charge_ucr
from tests.e2e.running import Customer, RunningGateway
from tests.simulation.books import ended_more_than_once, open_books
from tests.simulation.conftest import StartGateway
from tests.simulation.patience import until
from tests.simulation.processes import kill_server
from tests.simulation.reader import MODEL, directions, request

CALLERS: Final = 8
CALLS: Final = 40
"""Acknowledged before the kill, and as many after the new start."""


@dataclass
class Load:
    """Callers who call again and again, and after each call ask what it was charged."""

    gateway: RunningGateway
    customer: Customer
    over: bool = False
    served: dict[UUID, int] = field(default_factory=dict)
    """What the calls must cost by the usage that was answered, in µcr."""
    acknowledged: dict[UUID, int] = field(default_factory=dict)
    """What the gateway said that they were charged: by then it is in the ledger."""

    async def caller(self) -> None:
        headers = {"authorization": f"Bearer {self.customer.api_key}"}
        url, session = self.gateway.base_url, self.gateway.session
        asked = headers | directions(output_tokens=10)
        while not self.over:
            async with session.post(f"{url}/chat/completions", json=request(stream=False), headers=asked) as answer:
                assert answer.status in (200, 503), await answer.text()
                if answer.status != 200:
                    continue
                id, usage = UUID(answer.headers["x-request-id"]), (await answer.json())["usage"]
            tokens = {"prompt_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
            self.served[id] = charge_ucr(MODEL, {**tokens, "cached_tokens": 0, "cache_write_tokens": 0})
            async with session.get(f"{url}/generation", params={"id": str(id)}, headers=headers) as answer:
                # 404: not settled yet, which nobody has been told.
                assert answer.status in (200, 404, 503), await answer.text()
                if answer.status == 200:
                    cost = json.loads(await answer.text(), parse_float=Decimal)["data"]["total_cost"]
                    self.acknowledged[id] = int(Decimal(cost) * 1_000_000)

    async def acknowledged_at_least(self, count: int) -> None:
        async def look() -> bool:
            return len(self.acknowledged) >= count

        await until(look, f"{count} calls whose charge is known")


async def test_what_was_acknowledged_outlives_a_killed_postgres_and_the_rest_is_posted_once(
    start: StartGateway, data_dir: Path
) -> None:
    folder = data_dir / "postgres"
    first = EmbeddedPostgres(folder)
    dsn = await first.start()
    gateway = await start(dsn=dsn)
    load = Load(gateway, await gateway.customer(credits="1000"))
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(load.caller())
        await load.acknowledged_at_least(CALLS)
        await kill_server(folder)
        before = dict(load.acknowledged)
        second = EmbeddedPostgres(folder)
        await second.start()
        await load.acknowledged_at_least(len(before) + CALLS)
        load.over = True

    async with open_books(dsn) as books:

        async def nothing_is_open() -> bool:
            return await books.open_rows() == {}

        await until(nothing_is_open, "the end of every call")
        rows = await books.endings()
    charged = {row.id: row.charged_ucr for row in rows}
    assert ended_more_than_once(rows) == []
    assert {id: charged.get(id) for id in load.acknowledged} == load.acknowledged
    assert {id: charged.get(id) for id in load.served} == load.served
    assert sum(charged.values()) == sum(load.served.values())
    balance = await gateway.balance(load.customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (1_000_000_000 - sum(load.served.values()), 0)
    assert await audit(dsn) == []
    assert await gateway.stop() == 0
    await first.stop()
    await second.stop()
