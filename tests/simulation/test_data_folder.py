"""A gateway with a PostgreSQL of its own: Ctrl-C, kill −9 and a second gateway on the same data folder."""

import re
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.postmaster import Postmaster
from tests.e2e.audit import audit
from tests.e2e.running import Customer, GatewayDied, RunningGateway
from tests.simulation.books import open_books
from tests.simulation.conftest import StartGateway
from tests.simulation.patience import until
from tests.simulation.processes import Process, descendants
from tests.simulation.reader import chat_works, output_ucr, reading

KEY: Final = re.compile(r"^ +(tg-[A-Za-z0-9_-]{43})$")
ORG: Final = re.compile(r"demo organisation demo \(([0-9a-f-]{36})\)")
DEMO_CREDITS_UCR: Final = 1_000_000_000


def demo(data_dir: Path) -> dict[str, Any]:
    return {"dsn": None, "upstream_url": None, "data_dir": data_dir, "arguments": ["--demo"]}


def dsn_of(data_dir: Path) -> str:
    return EmbeddedPostgres(data_dir / "postgres").dsn


async def demo_customer(gateway: RunningGateway) -> Customer:
    return Customer("", (await gateway.said.error(KEY))[1])


async def test_ctrl_c_settles_what_is_open_and_leaves_no_process(start: StartGateway, data_dir: Path) -> None:
    gateway = await start(**demo(data_dir))
    customer = await demo_customer(gateway)
    children = descendants(gateway.process.pid)
    assert {"postgres", "python"} <= {re.split(r"\d|:", child.name)[0] for child in children}

    async with reading(gateway, customer, output_tokens=20) as reader:
        await reader.read(tokens=2)
        assert await gateway.interrupt() == 0
        assert await reader.read() == "done"

    assert "every call is settled" in gateway.said.errors
    assert gateway.said.errors[-1] == "stopped"
    assert [child for child in children if child.lives] == []
    assert await audit(data_dir=data_dir) == []
    again = await start(**demo(data_dir))
    org_id = (await again.said.error(ORG))[1]
    balance = await again.balance(org_id)
    assert balance.balance_ucr <= DEMO_CREDITS_UCR - output_ucr(20)
    assert balance.held_ucr == 0


async def test_after_a_kill_the_next_start_adopts_the_database_and_ends_what_was_open_at_once(
    start: StartGateway, data_dir: Path
) -> None:
    killed = await start(**demo(data_dir))
    customer = await demo_customer(killed)
    server = Postmaster(data_dir / "postgres" / "cluster").pid
    others = {child for child in descendants(killed.process.pid) if child.name.startswith("python")}
    assert others
    async with (
        open_books(dsn_of(data_dir)) as books,
        reading(killed, customer, output_tokens=100, hang=40) as reader,
    ):
        await reader.read(tokens=40)
        await books.watermark(reader.id, at_least_ucr=output_ucr(40))
        await killed.kill()
        left = (await books.open_rows())[reader.id]

        next_one = await start(**demo(data_dir))

        [ending] = await books.rows_of(reader.id)
        assert await books.open_rows() == {}
    assert (ending.ended, ending.charged_ucr) == ("recovered", left.swept_ucr)
    assert ending.charged_ucr >= output_ucr(40)
    assert "using the PostgreSQL that still runs in the data folder" in next_one.said.errors
    assert Postmaster(data_dir / "postgres" / "cluster").pid == server
    await gone(others)
    await chat_works(next_one, customer)
    children = descendants(next_one.process.pid)
    assert await next_one.interrupt() == 0
    assert [child for child in children if child.lives] == []
    assert server is not None
    assert Process.of(server) is None
    assert await audit(data_dir=data_dir) == []


async def gone(processes: set[Process]) -> None:
    async def look() -> bool:
        return not any(process.lives for process in processes)

    await until(look, f"the end of {processes}")


async def test_a_second_gateway_on_the_same_data_folder_is_refused_and_the_first_does_not_notice(
    start: StartGateway, data_dir: Path
) -> None:
    first = await start(**demo(data_dir))
    customer = await demo_customer(first)
    with pytest.raises(GatewayDied, match=r"another gateway serves from .*choose another folder with --data-dir"):
        await start(**demo(data_dir))
    await chat_works(first, customer)
    assert await first.stop() == 0
