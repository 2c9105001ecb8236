"""`tollgate attack`: nothing is got out of our gateway, and what another leaks is seen."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.attack.run import ATTACKS
from gateway.replay.server import ReplayServer
from tests.e2e.audit import audit
from tests.e2e.running import REPOSITORY, running_gateway
from tests.fakes.leaky_gateway import CALL_UCR, LeakyGateway

ATTACK_WITHIN_S: Final = 300.0
CALLS: Final = 10
"""Of the slow readers."""
QUICK: Final = "[ledger]\nqueue_wait_s = 0.5\n"


async def attack(url: str, operator_key: str, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and what each attack got."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "attack", "--url", url, "--operator-key-env", "KEY", "--json", *arguments),
        cwd=REPOSITORY,
        env={**os.environ, "KEY": operator_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(ATTACK_WITHIN_S):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    assert output, errors.decode()
    return process.returncode, json.loads(output)["attacks"]


async def test_no_attack_gets_anything_out_of_the_gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> None:
    async with running_gateway(dsn=dsn, upstream_url=replay.base_url, data_dir=tmp_path, config=QUICK) as gateway:
        code, outcomes = await attack(gateway.url, gateway.operator_key)
        assert await gateway.stop() == 0
    nothing = {"overspent_ucr": 0, "double_charged_ucr": 0, "lost_ucr": 0, "leaked_ucr": 0, "faults": []}
    assert {each["name"]: {what: each.get(what) for what in nothing} for each in outcomes} == {
        each.name: nothing for each in ATTACKS
    }
    assert code == 0
    assert await audit(dsn) == []


@pytest.mark.parametrize(
    ("charges", "expected"),
    [
        (0, {"overspent_ucr": CALLS * CALL_UCR, "double_charged_ucr": 0}),
        (1, {"overspent_ucr": 0, "double_charged_ucr": 0}),
        (2, {"overspent_ucr": 0, "double_charged_ucr": CALLS * CALL_UCR}),
    ],
)
async def test_a_gateway_that_charges_nothing_or_twice_is_seen_through(charges: int, expected: dict[str, int]) -> None:
    async with LeakyGateway(charges=charges) as leaky:
        code, [outcome] = await attack(leaky.url, "op-any", "--only", "slow reader")
    assert {name: outcome[name] for name in expected} == expected
    assert code == (charges != 1)


async def test_a_gateway_that_never_looks_at_the_balance_is_seen_through() -> None:
    async with LeakyGateway(charges=1) as leaky:
        code, [outcome] = await attack(leaky.url, "op-any", "--only", "fifty at once")
    assert outcome["overspent_ucr"] > 0
    assert code == 1


async def test_what_needs_a_provider_that_can_be_told_is_skipped_where_there_is_none() -> None:
    async with LeakyGateway(charges=1) as leaky:
        code, [outcome] = await attack(leaky.url, "op-any", "--only", "broken answers")
    assert outcome["skipped"]
    assert code == 0
