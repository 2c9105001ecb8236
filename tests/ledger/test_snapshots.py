"""A snapshot that stays open is seen before it hurts."""

import asyncpg

from gateway.ops.metrics import Metrics
from tests.ledger.conftest import Bench

OWN_DATABASE = True


async def test_how_long_the_oldest_snapshot_is_open_is_shown(bench: Bench, dsn: str, metrics: Metrics) -> None:
    async def shown() -> float:
        await bench.ledger.upkeep.look_for_snapshots()
        return metrics.registry.get_sample_value("tollgate_postgres_oldest_snapshot_seconds") or 0.0

    old = await asyncpg.connect(dsn)
    async with old.transaction(isolation="repeatable_read"):
        await old.execute("SELECT FROM account")
        first = await shown()
        assert 0 < first < await shown()
    await old.close()
    assert await shown() == 0
