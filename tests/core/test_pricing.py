"""Charges are exact and rounded once, up; the most a call can cost bounds every charge."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing import PRICE_UCR_MAX, Prices, Tier, affordable_output_tokens, charge, most
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
    assert bill.cost_ucr == ceil(Fraction(bill.numerator, 1_000_000))
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
