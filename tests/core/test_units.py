"""Credits become microcredits exactly or not at all."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.units import UCR_MAX, AmountInvalid, credits_text, ucr_from_credits, ucr_from_text


@given(st.integers(0, UCR_MAX))
def test_every_amount_survives_being_written_and_read(ucr: int) -> None:
    assert ucr_from_text(credits_text(ucr)) == ucr


@given(st.integers(0, UCR_MAX), st.integers(1, 30))
def test_a_seventh_decimal_place_is_refused_wherever_it_stands(ucr: int, zeros: int) -> None:
    with pytest.raises(AmountInvalid, match="6 decimal places"):
        ucr_from_credits(Decimal(f"{credits_text(ucr)}{'0' * zeros}1"))


@pytest.mark.parametrize(
    ("text", "ucr"),
    [("0", 0), ("1", 1_000_000), ("1e3", 1_000_000_000), ("0.000001", 1), ("1.50000000", 1_500_000), ("0e9999", 0)],
)
def test_credits_are_read_as_people_and_json_write_them(text: str, ucr: int) -> None:
    assert ucr_from_text(text) == ucr


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "1_0", "١", ".5", "5.", "+1", "NaN", "Infinity", "1e99999", "0x10", "1,5", "9" * 41],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(AmountInvalid, match="finite decimal"):
        ucr_from_text(text)


@pytest.mark.parametrize("text", ["-1", "-0.000001", "1e9999", "9007199254.740992", "9999999999"])
def test_amounts_out_of_range_name_the_range(text: str) -> None:
    with pytest.raises(AmountInvalid, match=r"between 0 and 9007199254\.740991 credits"):
        ucr_from_text(text)


@pytest.mark.parametrize("credits", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_not_finite_is_refused(credits: str) -> None:
    with pytest.raises(AmountInvalid, match="finite"):
        ucr_from_credits(Decimal(credits))


@pytest.mark.parametrize("credits", ["1E+999999", "1E-999999"])
def test_absurd_exponents_cost_nothing(credits: str) -> None:
    with pytest.raises(AmountInvalid):
        ucr_from_credits(Decimal(credits))


@pytest.mark.parametrize(("ucr", "text"), [(0, "0.000000"), (-1, "-0.000001"), (-1_500_000, "-1.500000")])
def test_text_has_six_places_and_its_sign(ucr: int, text: str) -> None:
    assert credits_text(ucr) == text
