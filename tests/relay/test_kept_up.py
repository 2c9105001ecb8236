"""What a gateway prepares by itself behind its calls: the audit log's chain, and the sums of statistics."""

import asyncio

import asyncpg
import pytest

from tests.provider import Provider
from tests.road import Roads, chat, upstream_at


async def at_last(pool: asyncpg.Pool, question: str) -> None:
    """Returns once the answer is true."""
    async with asyncio.timeout(20):
        while not await pool.fetchval(question):
            await asyncio.sleep(0)


async def test_a_gateway_chains_its_audit_log_and_rolls_up_its_calls(
    roads: Roads, provider: Provider, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.app.CHAIN_EVERY_S", 0.05)
    monkeypatch.setattr("gateway.app.ROLL_UP_EVERY_S", 0.05)
    road = await roads.open(upstream_at(provider.base_url), credits="10")
    answer = await road.ask(chat(max_tokens=5))
    assert answer.status == 200
    await at_last(pool, "SELECT NOT EXISTS (SELECT FROM audit_waiting) AND EXISTS (SELECT FROM audit_link)")
    await at_last(pool, "SELECT sum(calls) = 1 FROM usage_day")
