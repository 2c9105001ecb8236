"""Guesses that are safe where safety is asked for, and close where it is not."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.estimate import IMAGE_TOKENS_MAX, PromptRatios, prompt_hard_bound, text_tokens
from gateway.core.usage import TOKENS_MAX


def test_ascii_goes_by_four_and_the_rest_by_two_rounded_up() -> None:
    sizes = [(0, 0), (1, 0), (4, 0), (5, 0), (0, 2), (1, 2)]
    assert [text_tokens(ascii_chars=few, other_chars=more) for few, more in sizes] == [0, 1, 1, 2, 1, 2]


def test_the_hard_bound_is_the_bytes_and_the_template() -> None:
    plain = prompt_hard_bound(prompt_bytes=1_000, message_count=3)
    assert plain is not None
    assert 1_000 < plain < 1_200
    assert prompt_hard_bound(prompt_bytes=1_000, message_count=3, images=2) == plain + 2 * IMAGE_TOKENS_MAX
    assert (prompt_hard_bound(prompt_bytes=1_000, message_count=3, tools=True) or 0) > plain + 537
    assert prompt_hard_bound(prompt_bytes=1_000, message_count=3, by_reference=True) is None


def test_an_unknown_model_makes_a_token_of_each_byte() -> None:
    assert PromptRatios().estimate("m", 5_000)[0] == 5_000
    assert PromptRatios().estimate("m", 5_000)[1] == 1_250


def test_the_upper_quantile_is_learned_and_a_few_outliers_do_not_move_it() -> None:
    ratios = PromptRatios()
    for at in range(256):
        ratios.observe("m", 4_000, 3_900 if at in {50, 150} else 1_000 + at % 16)
    assert 1_000 <= ratios.estimate("m", 4_000)[0] <= 1_016
    assert 1_000 <= ratios.estimate("m", 4_000)[1] <= 1_016


def test_a_rise_is_learned_at_once() -> None:
    ratios = PromptRatios()
    for _ in range(64):
        ratios.observe("m", 4_000, 1_000)
    ratios.observe("m", 4_000, 2_000)
    assert ratios.estimate("m", 4_000)[0] == 2_000


def test_a_preamble_weighs_on_small_prompts_only() -> None:
    ratios = PromptRatios()
    for _ in range(64):
        ratios.observe("m", 300, 8_000)
        ratios.observe("m", 300_000, 83_000)
    assert ratios.estimate("m", 310)[0] > 8_000
    assert ratios.estimate("m", 280_000)[0] < 90_000


def test_too_few_observations_teach_nothing() -> None:
    ratios = PromptRatios()
    for _ in range(31):
        ratios.observe("m", 4_000, 10)
    assert ratios.estimate("m", 4_000)[0] == 4_000


def test_the_number_of_models_is_bounded_and_the_least_seen_goes_first() -> None:
    ratios = PromptRatios(classes_max=2, observations_min=1)
    ratios.observe("a", 4_000, 1_000)
    ratios.observe("b", 4_000, 1_000)
    ratios.observe("a", 4_000, 1_000)
    ratios.observe("c", 4_000, 1_000)
    assert [ratios.estimate(model, 4_000)[0] for model in "abc"] == [1_000, 4_000, 1_000]


@given(st.lists(st.tuples(st.integers(-1, 10**9), st.integers(-1, 10**12))), st.integers(0, 10**9))
def test_no_report_makes_an_estimate_that_cannot_be_charged(reports: list[tuple[int, int]], size: int) -> None:
    ratios = PromptRatios(observations_min=1)
    for prompt_bytes, tokens in reports:
        ratios.observe("m", prompt_bytes, tokens)
    assert 0 <= ratios.estimate("m", size)[1] <= TOKENS_MAX
    assert 0 <= ratios.estimate("m", size)[0] <= TOKENS_MAX
