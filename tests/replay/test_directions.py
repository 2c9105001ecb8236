import re
from pathlib import Path

import pytest

from gateway.replay.directions import BOUNDS, DirectionInvalid, Directions, read_directions

DOCS = Path(__file__).parents[2] / "docs" / "replay.md"


def test_without_headers_the_defaults_hold() -> None:
    defaults = Directions(interval_ms=7)
    assert read_directions({"x-request-id": "1", "content-type": "application/json"}, defaults) is defaults


def test_headers_change_the_defaults() -> None:
    directions = read_directions(
        {"X-Replay-Output-Tokens": "12", "x-replay-break": "3", "x-replay-break-by": "reset", "x-replay-id": "a1"},
        Directions(interval_ms=7),
    )
    assert directions == Directions(interval_ms=7, output_tokens=12, break_=3, break_by="reset", id="a1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-replay-outputtokens", "1"),
        ("x-replay-output-tokens", "many"),
        ("x-replay-output-tokens", "-1"),
        ("x-replay-output-tokens", "1.5"),
        ("x-replay-output-tokens", "9" * 30),
        ("x-replay-output-tokens", ""),
        ("x-replay-status", "200"),
        ("x-replay-chunks", "0"),
        ("x-replay-break-by", "magic"),
        ("x-replay-length", "--1"),
    ],
)
def test_what_it_does_not_understand_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(DirectionInvalid, match=name):
        read_directions({name: value}, Directions())


def test_reasoning_is_a_part_of_the_output() -> None:
    with pytest.raises(DirectionInvalid, match="reasoning"):
        read_directions({"x-replay-output-tokens": "3", "x-replay-reasoning-tokens": "4"}, Directions())


def test_every_header_is_documented_and_every_documented_header_exists() -> None:
    documented = set(re.findall(r"^\| `(x-replay-[a-z0-9-]+): ", DOCS.read_text(), re.MULTILINE))
    fields = {"x-replay-" + name.rstrip("_").replace("_", "-") for name in Directions.__struct_fields__}
    assert documented == fields


def test_every_number_has_bounds() -> None:
    numbers = {name for name, kind in Directions.__annotations__.items() if kind in (int, int | None)}
    assert numbers == set(BOUNDS)
