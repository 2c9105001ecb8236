"""The size rules of a reservation, as arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pricing import Prices, Tier, charge
from gateway.core.reservation import LIMITED_TOKENS_MIN, Mode, Quote, Terms, first_size, smaller_size
from gateway.core.usage import Usage

prices = st.builds(
    lambda input_ucr, output_ucr: Prices((Tier(0, input_ucr, input_ucr, input_ucr, output_ucr),)),
    st.integers(0, 10**11),
    st.integers(0, 10**11),
)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    bound = draw(st.integers(1, 200_000))
    learned = draw(st.integers(1, bound))
    return Terms(
        prices=draw(prices),
        prompt_bound=bound,
        prompt_learned=learned,
        prompt_expected=draw(st.integers(1, learned)),
        want_tokens=draw(st.integers(1, 128_000)),
    )


@st.composite
def quotes(draw: st.DrawFn) -> Quote:
    limit_asked = draw(st.booleans())
    return Quote(
        terms=tuple(draw(st.lists(terms(), min_size=1, max_size=3))),
        choices=draw(st.integers(1, 4)),
        limit_asked=limit_asked,
        limit_must_be_sent=not limit_asked and draw(st.booleans()),
        progressive=draw(st.booleans()),
    )


@given(quotes(), st.data())
def test_the_whole_size_covers_every_call_within_its_bounds_at_every_target(quote: Quote, data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(quote.terms))
    used = Usage(
        prompt_tokens=data.draw(st.integers(0, one.prompt_bound)),
        output_tokens=data.draw(st.integers(0, one.want_tokens * quote.choices)),
    )
    assert charge(one.prices, used).cost_ucr <= first_size(quote).amount_ucr


@given(quotes())
def test_the_learned_amount_is_never_more_than_the_bound(quote: Quote) -> None:
    size = first_size(quote)
    assert size.learned_ucr <= size.amount_ucr


@given(quotes(), st.integers(0, 10**15), st.booleans())
def test_a_smaller_size_fits_what_is_available(quote: Quote, available_ucr: int, clamp: bool) -> None:
    size = smaller_size(quote, available_ucr=available_ucr, first_slice_tokens=1024, clamp=clamp)
    if size is not None:
        assert size.amount_ucr <= available_ucr


@given(quotes(), st.integers(0, 10**15))
def test_a_limit_that_is_held_is_sent_and_is_worth_an_answer(quote: Quote, available_ucr: int) -> None:
    size = smaller_size(quote, available_ucr=available_ucr, first_slice_tokens=1024, clamp=True)
    if size is not None and size.mode is Mode.LIMITED:
        assert size.send_limit is not None
        assert size.send_limit >= LIMITED_TOKENS_MIN
        assert quote.with_output_ucr(size.send_limit) == size.amount_ucr


@given(quotes(), st.integers(0, 10**15))
def test_a_limit_that_the_caller_asked_for_is_not_lowered_unless_policy_clamps(
    quote: Quote, available_ucr: int
) -> None:
    size = smaller_size(quote, available_ucr=available_ucr, first_slice_tokens=1024, clamp=False)
    assert size is None or size.mode is Mode.PROGRESSIVE or not quote.limit_asked


def one_quote(*, progressive: bool, limit_asked: bool, must_send: bool = False, want: int = 10_000) -> Quote:
    """1 µcr for each token in and out, a prompt of 100."""
    price = 1_000_000
    one = Terms(
        prices=Prices((Tier(0, price, price, price, price),)),
        prompt_bound=100,
        prompt_learned=50,
        prompt_expected=40,
        want_tokens=want,
    )
    return Quote(
        terms=(one,), choices=1, limit_asked=limit_asked, limit_must_be_sent=must_send, progressive=progressive
    )


def test_the_worst_case_is_the_prompt_bound_and_all_the_output_that_may_come() -> None:
    size = first_size(one_quote(progressive=True, limit_asked=True))
    assert (size.mode, size.amount_ucr, size.learned_ucr, size.send_limit) == (Mode.WHOLE, 10_100, 10_050, None)


def test_an_assumed_maximum_binds_only_because_it_is_sent() -> None:
    assert first_size(one_quote(progressive=False, limit_asked=False, must_send=True)).send_limit == 10_000


def test_a_stream_begins_with_the_prompt_and_a_slice() -> None:
    size = smaller_size(
        one_quote(progressive=True, limit_asked=True), available_ucr=1124, first_slice_tokens=1024, clamp=False
    )
    assert size is not None
    assert (size.mode, size.amount_ucr) == (Mode.PROGRESSIVE, 1124)


def test_a_stream_that_cannot_pay_for_a_slice_is_limited_where_the_caller_left_that_open() -> None:
    size = smaller_size(
        one_quote(progressive=True, limit_asked=False), available_ucr=1123, first_slice_tokens=1024, clamp=False
    )
    assert size is not None
    assert (size.mode, size.send_limit, size.amount_ucr) == (Mode.LIMITED, 1023, 1123)


def test_fewer_tokens_than_are_worth_an_answer_are_refused() -> None:
    quote = one_quote(progressive=False, limit_asked=False)
    assert smaller_size(quote, available_ucr=100 + 255, first_slice_tokens=1024, clamp=False) is None
    at_least = smaller_size(quote, available_ucr=100 + 256, first_slice_tokens=1024, clamp=False)
    assert at_least is not None
    assert at_least.send_limit == 256
