"""The life of a call in the ledger, from the wish to its one row."""

import asyncio

import asyncpg
import pytest

from gateway.ledger.calls import End, Held, Refusal, RefusalReason
from gateway.ops.metrics import Metrics
from tests.ledger.conftest import Bench


async def test_a_call_is_held_then_charged_once_with_its_usage(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(1_000)
    wish = await bench.held(400)
    assert await bench.numbers() == (1_000, 400, 0)
    await bench.settle(bench.ending(wish, 150, provider_request_id="chatcmpl-1", first_event_ms=7))
    assert await bench.numbers() == (850, 0, 0)
    row = await pool.fetchrow("SELECT *, charged_ucr(ledger), cost_ucr(ledger) FROM ledger WHERE id = $1", wish.id)
    assert row is not None
    assert (row["kind"], row["amount_ucr"], row["held_ucr"]) == ("CHARGE", -150, 400)
    assert row["charged_ucr"] == row["cost_ucr"] == 150
    assert (row["provider_request_id"], row["first_event_ms"], row["ended"]) == ("chatcmpl-1", 7, "ok")
    assert await pool.fetchval("SELECT count(*) FROM reservation WHERE org_id = $1", bench.org_id) == 0


@pytest.mark.parametrize(
    ("upstream", "upstream_model", "stored"),
    [("openai", "fast", None), ("openai", "gpt-4o-mini", "gpt-4o-mini"), ("", "", ""), ("", "fast", "fast")],
)
async def test_a_model_that_its_upstream_calls_the_same_is_stored_once(
    bench: Bench, pool: asyncpg.Pool, upstream: str, upstream_model: str, stored: str | None
) -> None:
    wish = await bench.held(0)
    await bench.settle(bench.ending(wish, 0, model="fast", upstream=upstream, upstream_model=upstream_model))
    [row] = await pool.fetch("SELECT upstream_model, upstream_model_of(ledger) FROM ledger WHERE id = $1", wish.id)
    assert tuple(row) == (stored, upstream_model)


async def test_what_is_reserved_goes_up_and_what_is_given_back_is_counted(bench: Bench, metrics: Metrics) -> None:
    await bench.grant(1_000)
    wish = await bench.held(400)
    await bench.ledger.extend(id=wish.id, org_id=bench.org_id, account_id=bench.account_id, at_least_ucr=500)
    await bench.settle(bench.ending(wish, 150))
    text = metrics.render().decode()
    for event, credits in (("reserved", 0.0005), ("settled", 0.00015), ("released", 0.00035)):
        assert f'tollgate_credits_total{{event="{event}",org="other"}} {credits}' in text


async def test_fifty_at_once_on_credits_for_one_hold_exactly_one(bench: Bench) -> None:
    await bench.grant(100)
    answers = await asyncio.gather(*(bench.ledger.reserve(bench.wish(100)) for _ in range(50)))
    assert sum(isinstance(answer, Held) for answer in answers) == 1
    assert {a.reason for a in answers if isinstance(a, Refusal)} == {RefusalReason.BUSY}
    assert await bench.numbers() == (100, 100, 0)


async def test_what_could_never_fit_is_insufficient_not_busy(bench: Bench) -> None:
    await bench.grant(100)
    await bench.held(60)
    assert (await bench.refused(101)).reason is RefusalReason.INSUFFICIENT
    refusal = await bench.refused(41)
    assert (refusal.reason, refusal.available_ucr, refusal.balance_ucr) == (RefusalReason.BUSY, 40, 100)


async def test_a_release_gives_everything_back(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    wish = await bench.held(60)
    await bench.settle(bench.release(wish))
    assert await bench.numbers() == (100, 0, 0)
    assert await pool.fetchval("SELECT kind FROM ledger WHERE id = $1", wish.id) == "RELEASE"


async def test_the_learned_amount_is_enough_while_there_is_plenty(bench: Bench) -> None:
    await bench.grant(2_000)
    answer = await bench.ledger.reserve(bench.wish(100, learned_ucr=30))
    assert answer == Held(account_id=bench.account_id, amount_ucr=30, available_ucr=1_970)
    answer = await bench.ledger.reserve(bench.wish(100, learned_ucr=30))
    assert answer == Held(account_id=bench.account_id, amount_ucr=100, available_ucr=1_870)


async def test_a_call_of_a_free_model_is_a_row_of_zero(bench: Bench) -> None:
    wish = await bench.held(0)
    await bench.settle(bench.ending(wish, 0))
    rows, total = await bench.ledger.transactions(bench.org_id)
    assert total == 1
    assert (rows[0].kind, rows[0].amount_ucr) == ("CHARGE", 0)


async def test_an_extension_is_absolute(bench: Bench) -> None:
    await bench.grant(100)
    wish = await bench.held(10)

    async def extend(ucr: int) -> Held | Refusal:
        return await bench.ledger.extend(id=wish.id, org_id=bench.org_id, account_id=bench.account_id, at_least_ucr=ucr)

    assert await extend(50) == Held(account_id=bench.account_id, amount_ucr=50, available_ucr=50)
    assert await extend(50) == Held(account_id=bench.account_id, amount_ucr=50, available_ucr=50)
    assert await extend(20) == Held(account_id=bench.account_id, amount_ucr=50, available_ucr=50)
    assert await extend(100) == Held(account_id=bench.account_id, amount_ucr=100, available_ucr=0)
    refusal = await extend(101)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is RefusalReason.INSUFFICIENT
    assert await bench.numbers() == (100, 100, 0)
    await bench.settle(bench.ending(wish, 50))
    ended = await extend(60)
    assert isinstance(ended, Refusal)
    assert ended.reason is RefusalReason.ENDED


async def test_history_is_listed_in_any_order_with_its_total(bench: Bench) -> None:
    await bench.grant(100, reason="first")
    await bench.settle(bench.ending(await bench.held(50), 20), bench.release(await bench.held(50)))
    rows, total = await bench.ledger.transactions(bench.org_id)
    assert [(row.kind, row.amount_ucr) for row in rows] == [("CHARGE", -20), ("GRANT", 100)]
    assert total == 2
    rows, total = await bench.ledger.transactions(bench.org_id, limit=1, offset=1, with_releases=True)
    assert total == 3
    assert len(rows) == 1
    rows, _ = await bench.ledger.transactions(bench.org_id, order_by="amount", order_direction="asc")
    assert [row.amount_ucr for row in rows] == [-20, 100]
    rows, _ = await bench.ledger.transactions(bench.org_id, order_direction="asc", limit=1)
    assert (rows[0].reason, rows[0].ended) == ("first", None)
    assert End(str((await bench.ledger.transactions(bench.org_id, limit=1))[0][0].ended)) is End.OK
