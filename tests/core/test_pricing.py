"""Charges are exact and rounded once, up; the most a call can cost bounds every charge."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing import (
    FIXED_UCR_MAX,
    MARKUP_BP_MAX,
    MARKUP_BP_MIN,
    MESSAGES_MAX,
    PRICE_UCR_MAX,
    Prices,
    Tariff,
    Tier,
    VolumeStep,
    affordable_output_tokens,
    charge,
    most,
)
from gateway.core.units import UCR_MAX
from gateway.core.usage import TOKENS_MAX, Usage

GPT_4O = Prices((Tier(0, 2_500_000_000, 1_250_000_000, 2_500_000_000, 10_000_000_000),))

price = st.integers(0, PRICE_UCR_MAX)
tokens = st.integers(0, TOKENS_MAX)
few_tokens = st.integers(0, 400_000)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)


@st.composite
def prices(draw: st.DrawFn) -> Prices:
    thresholds = sorted({0, *draw(st.lists(st.integers(1, 400_000), max_size=3))})
    return Prices(tuple(Tier(above, *(draw(price) for _ in range(4))) for above in thresholds))


def test_a_known_call_costs_what_the_price_list_says() -> None:
    bill = charge(GPT_4O, Usage(prompt_tokens=2006, cached_tokens=1920, output_tokens=300))
    # 86 × 2.5 + 1,920 × 1.25 + 300 × 10 dollars a million = 0.005615 dollars = 5.615 credits
    assert bill.cost_ucr == 5_615_000
    assert [(line.kind, line.units) for line in bill.lines] == [("input", 86), ("cached_input", 1920), ("output", 300)]


def test_a_charge_is_rounded_once_and_up() -> None:
    odd = Prices((Tier(0, 1, 1, 1, 1),))
    assert charge(odd, Usage(prompt_tokens=1, output_tokens=1)).cost_ucr == 1
    assert charge(odd, Usage(prompt_tokens=500_000, output_tokens=500_000)).cost_ucr == 1
    assert charge(odd, Usage(prompt_tokens=500_000, output_tokens=500_001)).cost_ucr == 2


def test_zero_is_a_price_and_nothing_used_costs_nothing() -> None:
    assert charge(Prices((Tier(0, 0, 0, 0, 0),)), Usage(prompt_tokens=9, output_tokens=9)).cost_ucr == 0
    assert charge(GPT_4O, Usage()).lines == ()


def test_a_length_tier_begins_above_its_threshold_and_prices_the_whole_call() -> None:
    tiered = Prices((Tier(0, 10, 1, 10, 20), Tier(200_000, 30, 3, 30, 60)))
    assert tiered.tier(200_000).input_ucr == 10
    assert tiered.tier(200_001).input_ucr == 30
    assert charge(tiered, Usage(prompt_tokens=200_001, output_tokens=1)).numerator == 200_001 * 30 + 60


@given(prices(), usages)
def test_cost_is_the_exact_sum_of_its_lines_rounded_up(prices: Prices, usage: Usage) -> None:
    bill = charge(prices, usage)
    assert bill.numerator == sum(line.units * line.price_ucr for line in bill.lines)
    assert bill.cost_ucr == ceil(Fraction(bill.numerator) / 1_000_000)
    assert 0 <= bill.cost_ucr <= UCR_MAX


@given(prices(), usages)
def test_every_token_is_on_exactly_one_line(prices: Prices, usage: Usage) -> None:
    units = {line.kind: line.units for line in charge(prices, usage).lines}
    assert all(count > 0 for count in units.values())
    assert units.pop("output", 0) == usage.output_tokens
    assert sum(units.values()) == usage.prompt_tokens


@given(prices(), few_tokens, few_tokens, st.data())
def test_no_call_within_its_bounds_costs_more_than_the_most(
    prices: Prices, prompt: int, output: int, data: st.DataObject
) -> None:
    used = Usage(
        prompt_tokens=data.draw(st.integers(0, prompt)),
        cached_tokens=data.draw(st.integers(0, prompt)),
        cache_write_tokens=data.draw(st.integers(0, prompt)),
        output_tokens=data.draw(st.integers(0, output)),
    )
    assert charge(prices, used).cost_ucr <= most(prices, prompt, output)


@given(prices(), few_tokens, few_tokens, st.integers(0, PRICE_UCR_MAX), st.data())
def test_what_is_written_for_an_hour_is_within_what_is_held_for_it(
    prices: Prices, prompt: int, output: int, hour_ucr: int, data: st.DataObject
) -> None:
    tiers = tuple(msgspec.structs.replace(tier, cache_write_1h_ucr=hour_ucr) for tier in prices.tiers)
    try:
        prices = msgspec.structs.replace(prices, tiers=tiers)
    except ValueError:
        return  # with what else is in the price it would be more than one may be
    used = Usage(
        prompt_tokens=data.draw(st.integers(0, prompt)),
        cache_write_tokens=data.draw(st.integers(0, prompt)),
        cache_write_1h_tokens=data.draw(st.integers(0, prompt)),
        output_tokens=data.draw(st.integers(0, output)),
    )
    assert charge(prices, used).cost_ucr <= most(prices.writing_for_an_hour(), prompt, output)
    without = msgspec.structs.replace(used, cache_write_1h_tokens=0)
    assert charge(prices, without).cost_ucr <= most(prices, prompt, output)


def test_what_is_written_for_an_hour_has_a_line_of_its_own() -> None:
    used = Usage(prompt_tokens=10, cached_tokens=1, cache_write_tokens=8, cache_write_1h_tokens=5)
    tier = Tier(above_tokens=0, input_ucr=10, cached_ucr=1, cache_write_ucr=12, output_ucr=50, cache_write_1h_ucr=20)
    lines = {line.kind: (line.units, line.price_ucr) for line in charge(Prices((tier,)), used).lines}
    assert lines == {"input": (1, 10), "cached_input": (1, 1), "cache_write": (3, 12), "cache_write_1h": (5, 20)}
    plain = msgspec.structs.replace(tier, cache_write_1h_ucr=None)
    assert {line.kind: line.price_ucr for line in charge(Prices((plain,)), used).lines}["cache_write_1h"] == 12


@given(prices(), few_tokens, few_tokens, few_tokens, few_tokens)
def test_the_most_never_falls_as_tokens_grow(
    prices: Prices, prompt: int, more_prompt: int, output: int, more_output: int
) -> None:
    assert most(prices, prompt, output) <= most(prices, prompt + more_prompt, output + more_output)


@given(prices(), few_tokens, st.integers(0, UCR_MAX - 1))
def test_what_is_affordable_fits_and_one_token_more_does_not(prices: Prices, prompt: int, ucr: int) -> None:
    affordable = affordable_output_tokens(prices, prompt, ucr)
    if affordable:
        assert most(prices, prompt, affordable) <= ucr
    if affordable < TOKENS_MAX:
        assert most(prices, prompt, affordable + 1) > ucr


def test_an_absurd_bound_is_capped_where_no_account_can_pay_it() -> None:
    dear = Prices((Tier(0, PRICE_UCR_MAX, 0, 0, PRICE_UCR_MAX),))
    assert most(dear, TOKENS_MAX, (2**31 - 1) * 128) == UCR_MAX


@pytest.mark.parametrize(
    "tiers", [(), (Tier(1, 1, 1, 1, 1),), (Tier(0, 1, 1, 1, 1), Tier(0, 2, 2, 2, 2))], ids=["none", "late", "twice"]
)
def test_tiers_that_do_not_ascend_from_zero_are_refused(tiers: tuple[Tier, ...]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        Prices(tiers)


@pytest.mark.parametrize("bad", [-1, PRICE_UCR_MAX + 1])
def test_a_price_out_of_bounds_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="between 0"):
        Tier(0, 1, 1, 1, bad)


# --- messages, requests, mark-ups, volumes ----------------------------------------------------------------------------

few_messages = st.integers(0, MESSAGES_MAX)
# Prices that real models have, so that every mark-up of every price is one too.
usual = st.integers(0, PRICE_UCR_MAX // 1_000)
fixed = st.integers(0, FIXED_UCR_MAX // 1_000)


@st.composite
def whole_prices(draw: st.DrawFn) -> Prices:
    thresholds = sorted({0, *draw(st.lists(st.integers(1, 400_000), max_size=3))})
    return Prices(
        tuple(Tier(above, *(draw(usual) for _ in range(4))) for above in thresholds),
        message_ucr=draw(fixed),
        request_ucr=draw(fixed),
        markup_bp=draw(st.integers(MARKUP_BP_MIN, MARKUP_BP_MAX)),
    )


def test_messages_and_requests_are_lines_of_their_own() -> None:
    prices = Prices((Tier(0, 0, 0, 0, 1_000_000),), message_ucr=30_000_000, request_ucr=5)
    bill = charge(prices, Usage(output_tokens=7), messages=2)
    assert bill.cost_ucr == 60_000_012
    assert [(line.kind, line.units) for line in bill.lines] == [("output", 7), ("message", 2), ("request", 1)]
    assert charge(prices, Usage(), messages=0, requests=0).lines == ()


def test_a_mark_up_is_on_the_sum_and_rounded_with_it() -> None:
    prices = Prices((Tier(0, 1_250_000, 0, 0, 10_000_000),), markup_bp=3_333)
    bill = charge(prices, Usage(prompt_tokens=7, output_tokens=1))
    assert bill.cost_ucr == ceil(Fraction(7 * 1_250_000 + 10_000_000) * Fraction(13_333, 10_000) / 1_000_000) == 25
    assert bill.numerator == Decimal("24999375")
    assert [line.price_ucr for line in bill.lines] == [Decimal("1666625"), Decimal("13333000")]


def test_a_discount_is_never_the_whole_price() -> None:
    dear = Prices((Tier(0, 10_000_000, 0, 0, 0),), markup_bp=MARKUP_BP_MIN)
    assert charge(dear, Usage(prompt_tokens=1_000)).cost_ucr == 1
    with pytest.raises(ValueError, match="between"):
        msgspec.structs.replace(dear, markup_bp=-10_000)


@given(whole_prices(), usages, few_messages, st.integers(0, 3))
def test_cost_is_the_exact_sum_of_its_lines_whatever_its_prices(
    prices: Prices, usage: Usage, messages: int, requests: int
) -> None:
    bill = charge(prices, usage, messages=messages, requests=requests)
    exact = sum((line.units * Fraction(line.price_ucr) for line in bill.lines), Fraction(0))
    assert Fraction(bill.numerator) == exact
    assert bill.cost_ucr == ceil(exact / 1_000_000)
    plain = charge(msgspec.structs.replace(prices, markup_bp=0), usage, messages=messages, requests=requests)
    assert exact == Fraction(plain.numerator) * (10_000 + prices.markup_bp) / 10_000


@given(whole_prices(), tokens, tokens, st.integers(1, MESSAGES_MAX))
def test_no_charge_passes_what_an_amount_may_be(prices: Prices, prompt: int, output: int, messages: int) -> None:
    assert charge(prices, Usage(prompt, output_tokens=output), messages=messages).cost_ucr <= UCR_MAX


@given(whole_prices(), few_tokens, few_tokens, few_messages, st.data())
def test_no_call_within_its_bounds_costs_more_than_the_most_whatever_its_prices(
    prices: Prices, prompt: int, output: int, messages: int, data: st.DataObject
) -> None:
    used = Usage(
        prompt_tokens=data.draw(st.integers(0, prompt)),
        cached_tokens=data.draw(st.integers(0, prompt)),
        cache_write_tokens=data.draw(st.integers(0, prompt)),
        output_tokens=data.draw(st.integers(0, output)),
    )
    answered = data.draw(st.integers(0, messages))
    assert charge(prices, used, messages=answered).cost_ucr <= most(prices, prompt, output, messages=messages)


@given(whole_prices(), few_tokens, few_messages, st.integers(0, UCR_MAX - 1))
def test_what_is_affordable_fits_and_one_token_more_does_not_whatever_its_prices(
    prices: Prices, prompt: int, messages: int, ucr: int
) -> None:
    affordable = affordable_output_tokens(prices, prompt, ucr, messages=messages)
    if affordable:
        assert most(prices, prompt, affordable, messages=messages) <= ucr
    if affordable < TOKENS_MAX:
        assert most(prices, prompt, affordable + 1, messages=messages) > ucr


def test_a_volume_step_begins_above_its_threshold() -> None:
    first, second, third = (Prices((Tier(0, n, n, n, n),)) for n in (3, 2, 1))
    tariff = Tariff(first, (VolumeStep(10, second), VolumeStep(20, third)))
    assert [tariff.at(used) for used in (0, 10, 11, 20, 21)] == [first, first, second, second, third]
    for steps in ((VolumeStep(0, second),), (VolumeStep(2, second), VolumeStep(2, third))):
        with pytest.raises(ValueError, match="ascend"):
            Tariff(first, steps)


@pytest.mark.parametrize(
    "wrong",
    [{"message_ucr": -1}, {"request_ucr": FIXED_UCR_MAX + 1}, {"markup_bp": MARKUP_BP_MAX + 1}, {"markup_bp": 1}],
    ids=["below 0", "too dear", "too much on top", "more than an amount may be"],
)
def test_what_could_pass_the_largest_amount_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"between|more than"):
        msgspec.structs.replace(Prices((Tier(0, PRICE_UCR_MAX, 0, 0, PRICE_UCR_MAX),)), **wrong)


def test_prices_without_anything_new_are_written_down_as_they_always_were() -> None:
    assert msgspec.json.encode(GPT_4O).startswith(b'{"tiers":[{"above_tokens":0,')
    assert msgspec.json.encode(GPT_4O).endswith(b"}]}")
