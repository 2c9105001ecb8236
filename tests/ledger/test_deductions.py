"""Charging for a feature: like a call that is over at once."""

import asyncio
from typing import Any

import asyncpg
import msgspec
import pytest

from gateway.core.errors import (
    BudgetExceeded,
    Conflict,
    CreditsReserved,
    Forbidden,
    InsufficientCredits,
    InvalidRequest,
    NotFound,
    OrgSuspended,
    TooManyOpen,
)
from gateway.core.idempotency import Idempotency
from gateway.core.pricing import Prices, Tier, charge
from gateway.core.usage import Usage
from gateway.ledger.accounts import open_allocation
from gateway.ledger.budgets import Budget
from gateway.ledger.deductions import Deducted, Deduction
from gateway.ledger.used import Used
from tests.ledger.conftest import Bench
from tests.ledger.desk import ANNA, entries_of, rows_of


def report(
    bench: Bench, *, feature: str = "ai_generated_report", price_ucr: int = 40, quantity: int = 2, **changes: object
) -> Deduction:
    used = Used.plainly(feature, price_ucr=price_ucr, quantity=quantity, feature=feature)
    deduction = Deduction(id=bench.ids.next(), account_ids=(bench.account_id,), used=used)
    return msgspec.structs.replace(deduction, **changes)


async def deduct(bench: Bench, deduction: Deduction, **options: object) -> Deducted:
    return await bench.ledger.desk.deduct(bench.org_id, deduction, by=ANNA, **options)  # type: ignore[arg-type]


async def test_a_deduction_is_one_charge_with_the_features_line(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    user = bench.ids.next()
    deduction = report(bench, user_id=user)
    made = await deduct(bench, deduction)
    assert (made.id, made.amount_ucr, made.balance_ucr) == (deduction.id, 80, 20)
    row = await pool.fetchrow("SELECT kind, lines, cost_ucr(ledger), user_id FROM ledger WHERE id = $1", made.id)
    assert row is not None
    assert tuple(row) == ("CHARGE", '[["ai_generated_report",2,40000000]]', 80, user)
    assert await entries_of(pool, bench.org_id) == ["credits.granted", "credits.deducted"]
    assert await bench.numbers() == (20, 0, 0)


async def test_a_plain_amount_is_so_many_at_one_each(bench: Bench) -> None:
    await bench.grant(100)
    made = await deduct(bench, report(bench, feature="manual", price_ucr=1, quantity=33))
    assert (made.amount_ucr, made.balance_ucr) == (33, 67)


async def test_a_deduction_that_does_not_fit_says_what_is_available(bench: Bench) -> None:
    await bench.grant(79)
    with pytest.raises(InsufficientCredits, match="nothing was deducted") as refused:
        await deduct(bench, report(bench))
    assert (refused.value.available_ucr, refused.value.required_ucr) == (79, 80)
    await bench.grant(1)
    wish = await bench.held(1)
    with pytest.raises(CreditsReserved) as busy:
        await deduct(bench, report(bench))
    assert busy.value.available_ucr == 79
    await bench.settle(bench.release(wish))
    await deduct(bench, report(bench))
    assert await bench.numbers() == (0, 0, 0)


async def test_what_blocks_calls_blocks_deductions(bench: Bench, pool: asyncpg.Pool) -> None:
    desk = bench.ledger.desk
    wish = await bench.held(0)
    await bench.settle(bench.ending(wish, 5))
    with pytest.raises(Forbidden, match="owed"):
        await deduct(bench, report(bench))
    await bench.grant(200)
    await desk.suspend(bench.org_id, bench.account_id, by=ANNA)
    with pytest.raises(OrgSuspended, match="suspended"):
        await deduct(bench, report(bench))
    await desk.resume(bench.org_id, bench.account_id, by=ANNA)
    await pool.execute("UPDATE account SET parked_at = now() WHERE org_id = $1", bench.org_id)
    with pytest.raises(OrgSuspended, match="parked"):
        await deduct(bench, report(bench))
    await desk.unpark(bench.org_id, bench.account_id, by=ANNA)
    assert await bench.numbers() == (195, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [{"quantity": 0}, {"quantity": -1}, {"price_ucr": -1}, {"price_ucr": 0}, {"quantity": 1 << 60}, {"feature": ""}],
)
async def test_a_deduction_that_makes_no_sense_is_refused(bench: Bench, changes: dict[str, Any]) -> None:
    await bench.grant(100)
    with pytest.raises(InvalidRequest):
        await deduct(bench, report(bench, **changes))
    assert await bench.numbers() == (100, 0, 0)


async def test_a_deduction_needs_an_account_and_an_id_of_now(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await deduct(bench, report(bench, account_ids=(bench.ids.next(),)))
    old = report(bench)
    with pytest.raises(InvalidRequest, match="clock"):
        await deduct(bench, report(bench, id=type(old.id)(int=old.id.int - (600_000 << 80))))


async def test_the_same_deduction_again_is_the_same_charge(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(200)
    deduction = report(bench)
    first = await deduct(bench, deduction)
    again = await deduct(bench, deduction)
    assert (again.id, again.created_at, again.repeated) == (first.id, first.created_at, True)
    others: tuple[dict[str, Any], ...] = ({"quantity": 1}, {"feature": "other"}, {"price_ucr": 80, "quantity": 1})
    for changes in others:
        with pytest.raises(Conflict):
            await deduct(bench, report(bench, id=deduction.id, **changes))
    assert await rows_of(pool, bench.account_id) == [("GRANT", 200), ("CHARGE", -80)]


async def test_one_idempotency_key_used_by_many_at_once_deducts_once(bench: Bench) -> None:
    await bench.grant(1_000)
    key = Idempotency("refresh", b"\x01")
    made = await asyncio.gather(*(deduct(bench, report(bench), idempotency=key) for _ in range(12)))
    assert len({each.id for each in made}) == 1
    assert await bench.numbers() == (920, 0, 0)


async def test_fifty_at_once_on_a_balance_for_one_are_one(bench: Bench) -> None:
    await bench.grant(100)
    results = await asyncio.gather(*(deduct(bench, report(bench)) for _ in range(50)), return_exceptions=True)
    assert sum(isinstance(result, Deducted) for result in results) == 1
    assert all(isinstance(result, Deducted | InsufficientCredits) for result in results)


async def test_a_deduction_can_be_refunded(bench: Bench) -> None:
    await bench.grant(100)
    made = await deduct(bench, report(bench))
    await bench.ledger.desk.refund(bench.org_id, charge_id=made.id, id=bench.ids.next(), amount_ucr=30, by=ANNA)
    assert await bench.numbers() == (50, 0, 0)


async def test_a_budget_without_room_refuses_with_what_it_has_left(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(1_000)
    budget = Budget(budget_id=bench.ids.next(), org_id=bench.org_id, scope="org", period="day", max_ucr=100)
    await bench.ledger.set_budget(budget, by=ANNA)
    await deduct(bench, report(bench))
    with pytest.raises(BudgetExceeded) as refused:
        await deduct(bench, report(bench))
    assert (refused.value.limit_source, refused.value.available_ucr, refused.value.required_ucr) == (
        "org_budget",
        20,
        80,
    )
    assert refused.value.resets_at is not None
    assert await rows_of(pool, bench.account_id) == [("GRANT", 1_000), ("CHARGE", -80)]


async def test_as_many_open_calls_as_a_limit_allows_refuse_it(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(1_000)
    budget = Budget(budget_id=bench.ids.next(), org_id=bench.org_id, scope="org", period="lifetime", open_max=1)
    await bench.ledger.set_budget(budget, by=ANNA)
    await bench.held(10)
    with pytest.raises(TooManyOpen):
        await deduct(bench, report(bench))
    assert await rows_of(pool, bench.account_id) == [("GRANT", 1_000)]


async def test_the_first_account_that_can_pays(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    user, own = bench.ids.next(), bench.ids.next()
    await open_allocation(pool, bench.org_id, own, user_id=user)
    made = await deduct(bench, report(bench, account_ids=(own, bench.account_id)))
    assert (made.account_id, made.available_ucr) == (bench.account_id, 20)
    assert await rows_of(pool, own) == []


async def test_usage_of_a_model_keeps_its_tokens_and_prices(bench: Bench, pool: asyncpg.Pool) -> None:
    await bench.grant(100)
    usage = Usage(prompt_tokens=10, cached_tokens=4, output_tokens=5)
    cost = charge(Prices((Tier(0, 2_000_000, 1_000_000, 2_000_000, 3_100_000),)), usage)
    used = Used.by_model("gpt-5", cost, usage)
    made = await deduct(bench, Deduction(id=bench.ids.next(), account_ids=(bench.account_id,), used=used))
    assert made.amount_ucr == 32  # 6 × 2 + 4 × 1 + 5 × 3.1 = 31.5, rounded up once
    row = await pool.fetchrow(
        "SELECT model, prompt_tokens, cached_tokens, output_tokens, numerator, lines::text FROM ledger WHERE id = $1",
        made.id,
    )
    assert row is not None
    assert tuple(row)[:5] == ("gpt-5", 10, 4, 5, 31_500_000)
    assert msgspec.json.decode(row["lines"]) == [
        ["input", 6, 2_000_000],
        ["cached_input", 4, 1_000_000],
        ["output", 5, 3_100_000],
    ]
