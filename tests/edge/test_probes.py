"""The probes tell machines whether to send calls, and what is wrong if not."""

import asyncio

from gateway.edge import probes
from tests.edge.conftest import SCRAPER, House
from tests.postgres.outage import Outage


async def test_a_process_that_answers_lives(house: House, outage: Outage) -> None:
    await outage.begin()
    assert (await house.ask("GET", "/livez")).status == 200


async def test_a_gateway_with_its_database_is_ready(house: House) -> None:
    answer = await house.ask("GET", "/readyz")
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_a_gateway_without_its_database_says_so_and_names_no_host(house: House, outage: Outage) -> None:
    await outage.begin()
    answer = await house.ask("GET", "/readyz")
    assert (answer.status, answer.json["troubles"]) == (503, {"database": "does not answer"})


async def test_a_gateway_on_a_newer_schema_is_not_ready(house: House, owner: object) -> None:
    await owner.execute(  # type: ignore[attr-defined]
        "INSERT INTO schema_migration (number, name, sha256) VALUES (9999, '9999_future', '')"
    )
    answer = await house.ask("GET", "/readyz")
    assert answer.status == 503
    assert "upgrade" in answer.json["troubles"]["database"]


async def test_a_gateway_that_shuts_down_is_not_ready(house: House) -> None:
    house.app[probes.READINESS].shutting_down = True
    answer = await house.ask("GET", "/readyz")
    assert (answer.status, answer.json["troubles"]) == (503, {"process": "is shutting down"})


async def test_many_probes_ask_the_database_once(house: House) -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1

    house.app[probes.READINESS]._ask_database = ask
    await asyncio.gather(*(house.ask("GET", "/readyz") for _ in range(20)))
    assert asked == 1


async def test_metrics_are_for_who_has_their_key(house: House) -> None:
    assert (await house.ask("GET", "/metrics")).status == 401
    assert (await house.operate("GET", "/metrics")).status == 401
    answer = await house.ask("GET", "/metrics", key=SCRAPER)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b"\ntollgate_" in answer.body


async def test_metrics_without_a_key_are_open(house: House) -> None:
    house.app[probes.SCRAPE].key = None
    assert (await house.ask("GET", "/metrics")).status == 200
