"""How fast a hot account goes: reserve + settle through the real batcher, and what it costs this process in CPU.

    python -m tests.bench.ledger_rate --dsn postgresql:///scratch --callers 256 --calls 40000

The database must be migrated; without --dsn an embedded one is started in a temporary folder.
"""

import argparse
import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import asyncpg
import uvloop

from gateway.ledger.accounts import open_account
from gateway.ledger.calls import End, Ending, Held, Wish
from gateway.ledger.grants import Grant, TransactionType
from gateway.ledger.ledger import Ledger
from gateway.ledger.options import LedgerSettings
from gateway.ops.clock import Clock
from gateway.ops.ids import IdSource
from gateway.ops.metrics import Metrics
from gateway.postgres.embedded import EmbeddedPostgres
from gateway.postgres.migrate import migrate

_LINES = b'[["input",1000,150000],["output",500,600000]]'
_PINS = b'{"gpt-4o-mini":{"input_ucr":150000,"output_ucr":600000}}'


async def measure(dsn: str, *, callers: int, calls: int, orgs: int) -> None:
    ids = IdSource(Clock())
    ledger = await Ledger.start(dsn, settings=LedgerSettings(), clock=Clock(), ids=ids, metrics=Metrics())
    connection = await asyncpg.connect(dsn)
    accounts = [ids.next() for _ in range(orgs)]
    for account in accounts:
        await open_account(connection, account, account)
        await ledger.grant(
            Grant(
                id=ids.next(),
                org_id=account,
                account_id=account,
                amount_ucr=10**14,
                transaction_type=TransactionType.PURCHASE,
            )
        )
    key = ids.next()
    waits: list[float] = []

    async def call(account_number: int) -> None:
        account = accounts[account_number % orgs]
        id = ids.next()
        began = time.perf_counter()
        held = await ledger.reserve(
            Wish(
                id=id,
                org_id=account,
                account_ids=(account,),
                key_id=key,
                model="gpt-4o-mini",
                amount_ucr=900,
                learned_ucr=600,
                prompt_ucr=150,
                pins=_PINS,
            )
        )
        assert isinstance(held, Held), held
        waits.append(time.perf_counter() - began)
        ledger.settle(
            Ending(
                id=id,
                org_id=account,
                account_id=account,
                end=End.OK,
                delivered=True,
                cost_ucr=450,
                numerator=450_000_000,
                lines=_LINES,
                key_id=key,
                model="gpt-4o-mini",
                upstream="openai",
                upstream_model="gpt-4o-mini-2024-07-18",
                provider_request_id="chatcmpl-" + id.hex,
                status=200,
                finish_reason="stop",
                prompt_tokens=1000,
                output_tokens=500,
                duration_ms=3,
            )
        )

    async def caller(number: int, times: int) -> None:
        for _ in range(times):
            await call(number)

    await asyncio.gather(*(caller(number, 20) for number in range(callers)))
    waits.clear()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller(number, calls // callers) for number in range(callers)))
    for account in accounts:
        assert await ledger.settled(account, within_s=60)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    waits.sort()
    done = len(waits)
    print(
        f"callers {callers:5d} orgs {orgs:4d}: {done / took_s:8.0f} reserve+settle/s, "
        f"{1e6 * cpu_s / done:6.1f} us of CPU each in this process, "
        f"wait p50 {1e3 * waits[done // 2]:6.2f} ms p99 {1e3 * waits[done * 99 // 100]:6.2f} ms"
    )
    await connection.close()
    assert await ledger.stop(drain_s=10) == 0


async def main(arguments: argparse.Namespace, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    for callers in arguments.callers:
        calls = min(arguments.calls, callers * 400)
        await measure(dsn, callers=callers, calls=calls, orgs=min(arguments.orgs, callers))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn")
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--calls", type=int, default=40_000)
    parser.add_argument("--orgs", type=int, default=1)
    parsed = parser.parse_args()
    if parsed.dsn:
        uvloop.run(main(parsed, parsed.dsn))
    else:
        folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
        folder.chmod(0o755)
        server = EmbeddedPostgres(folder / "postgres")
        server.start_blocking()
        try:
            uvloop.run(main(parsed, server.dsn))
        finally:
            server.stop_blocking()
            shutil.rmtree(folder)
