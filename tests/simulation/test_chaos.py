"""Two hundred streams at once, with everything going wrong that can: and every call is charged once, for what it was.

CHAOS_SEED repeats a run's plans (the processes still race as they like), CHAOS_STREAMS sets its size.
"""

import asyncio
import os
import random
import re
import secrets
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

import pytest

from gateway.postgres.embedded import EmbeddedPostgres
from gateway.replay.server import ReplayServer
from tests.e2e.audit import audit
from tests.e2e.running import Customer, RunningGateway
from tests.simulation.books import Books, EndingRow, OpenRow, ended_more_than_once, open_books
from tests.simulation.conftest import StartGateway
from tests.simulation.crowd import Crowd, draw, draw_greedy
from tests.simulation.judging import faults_of
from tests.simulation.patience import until
from tests.simulation.reader import MODEL, output_ucr

STREAMS: Final = int(os.environ.get("CHAOS_STREAMS", "200"))
WHOLE: Final = STREAMS // 5
GREEDY: Final = STREAMS // 5
"""So many of the streams share credits that do not last."""
RICH: Final = ("1000", "1000", "1000")
POOR: Final = ("0.3", "1")
"""Credits for some hundred tokens: their streams are paid as they flow, and cut off."""

CONFIG: Final = """
shutdown_drain_s = 10

[reserve]
first_slice_tokens = 32
drain_s = 2

[ledger]
beat_s = 0.5
dead_after_s = 4
sweep_s = 0.5
reconcile_s = 2
queue_wait_s = 0.3
"""
UPSTREAM: Final = """
[[upstreams]]
name = "{name}"
provider = "openai"
base_url = "{url}"
api_key_env = "OPENAI_API_KEY"
on_disconnect = "{on_disconnect}"

[upstreams.timeouts]
first_event_s = 3
idle_s = 2
"""
DRAINED: Final = f"""
[[models]]
name = "drained"
targets = [{{ upstream = "drains", model = "{MODEL}" }}]
"""
REGISTERED: Final = re.compile(r'"instance":"([0-9a-f-]{36})","event":"ledger.instance_registered"')
Left: TypeAlias = Mapping[UUID, OpenRow]
Happened = TypeVar("Happened")
NEVER_SAID: Final = re.compile(
    r"request\.failed|ledger\.(fenced|conflict|ending_odd|ending_stuck|ending_quarantined|unknown_reservation|violation)"
    r"|never (awaited|retrieved)|^Traceback"
)


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("CHAOS_SEED") or secrets.randbelow(2**32))
    print(f"CHAOS_SEED={seed}")
    return seed


@pytest.fixture
def config(replay: ReplayServer) -> str:
    cancels = UPSTREAM.format(name="cancels", url=replay.base_url, on_disconnect="cancel")
    return CONFIG + cancels + UPSTREAM.format(name="drains", url=replay.base_url, on_disconnect="drain") + DRAINED


async def test_one_gateway_is_killed_in_the_middle_and_started_again_on_its_data_folder(
    start: StartGateway, data_dir: Path, config: str, seed: int
) -> None:
    gateway = await start(dsn=None, data_dir=data_dir, config=config)
    crowd = Crowd([gateway])
    async with open_books(EmbeddedPostgres(data_dir / "postgres").dsn) as books:

        async def accident() -> tuple[Left, RunningGateway]:
            left = await kill(crowd, gateway, books)
            again = await start(dsn=None, data_dir=data_dir, config=config)
            await crowd.welcome(again)
            return left, again

        left, again = await rush(crowd, gateway, seed, accident())
        await judge(crowd, books, left, again)
    assert await again.stop() == 0
    assert await audit(data_dir=data_dir) == []


async def test_one_of_two_gateways_is_killed_in_the_middle_and_the_other_ends_its_calls(
    start: StartGateway, books: Books, dsn: str, config: str, seed: int
) -> None:
    killed, survivor = await asyncio.gather(start(config=config), start(config=config))
    crowd = Crowd([killed, survivor])
    left = await rush(crowd, survivor, seed, kill(crowd, killed, books))
    await judge(crowd, books, left, survivor)
    assert await survivor.stop() == 0
    assert await audit(dsn) == []


# --- what happens -----------------------------------------------------------------------------------------------------


async def customers_of(gateway: RunningGateway, credits: Iterable[str]) -> list[Customer]:
    return [await gateway.customer(credits=each) for each in credits]


async def rush(crowd: Crowd, at: RunningGateway, seed: int, accident: Coroutine[Any, Any, Happened]) -> Happened:
    """All callers begin at once, and each calls a second time when his first call is over."""
    rich, poor = await customers_of(at, RICH), await customers_of(at, POOR)

    async def caller(number: int) -> None:
        lots = random.Random(f"{seed}/{number}")
        for _ in range(2):
            greedy = number < GREEDY
            await crowd.call(lots, draw_greedy(lots, poor) if greedy else draw(lots, rich, stream=number < STREAMS))

    async with asyncio.TaskGroup() as group:
        for number in range(STREAMS + WHOLE):
            group.create_task(caller(number))
        happened = group.create_task(accident)
    return happened.result()


async def kill(crowd: Crowd, gateway: RunningGateway, books: Books) -> Left:
    """When a part of the calls is over. Returns what the killed process had open."""
    await crowd.served(STREAMS // 3)
    await crowd.without(gateway)
    await gateway.kill()
    instance = UUID((await gateway.said.error(REGISTERED))[1])
    left = {id: row for id, row in (await books.open_rows()).items() if row.owner_id == instance}
    assert left, "nothing was open when it was killed"
    return left


# --- what must be so afterwards ---------------------------------------------------------------------------------------


async def judge(crowd: Crowd, books: Books, left: Left, living: RunningGateway) -> None:
    async def nothing_is_open() -> bool:
        return await books.open_rows() == {}

    await until(nothing_is_open, "the end of every call")
    rows = await books.endings()
    by_id = {row.id: row for row in rows}
    ends = Counter(row.ended for row in rows)
    statuses = Counter(seen.status for seen in crowd.seen)
    print(f"{len(crowd.seen)} calls: {dict(statuses)}; ended: {dict(ends)}; left by the killed process: {len(left)}")
    assert len(crowd.seen) == 2 * (STREAMS + WHOLE)
    assert ended_more_than_once(rows) == []
    assert [row for row in rows if row.ref_id is not None] == []
    assert [fault for seen in crowd.seen for fault in faults_of(seen, by_id, left)] == []
    assert {id: by_id[id].charged_ucr for id in left} == {id: row.swept_ucr for id, row in left.items()}
    assert {row.id for row in rows if row.ended == "recovered"} == set(left)
    received_ucr = sum(output_ucr(seen.tokens) for seen in crowd.seen if seen.id not in left)
    assert sum(row.charged_ucr for row in rows if row.id not in left) >= received_ucr
    await judge_what_was_said(living, by_id)
    assert set(ends) == {"ok", "error", "cancelled", "cut_off", "estimated", "recovered"}


async def judge_what_was_said(gateway: RunningGateway, by_id: Mapping[UUID, EndingRow]) -> None:
    """One line for each call, with the cost that is in the ledger; and no complaint that nobody expects."""
    assert [text for text in gateway.said.errors if NEVER_SAID.search(text)] == []
    lines = [line for line in gateway.said.requests if line.get("end") not in (None, "refused")]
    assert len({line["id"] for line in lines}) == len(lines)
    for line in lines:
        row = by_id[UUID(line["id"])]
        assert (line["end"], line.get("cost_ucr", 0)) == (row.ended, row.charged_ucr + row.overage_ucr), (line, row)
