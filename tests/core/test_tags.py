"""Features and tags: what they may be, and how tags are kept."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tags import FEATURE_CHARS_MAX, TAG_PATTERN, TAGS_MAX, is_feature, tags_json

Tag = Annotated[str, msgspec.Meta(pattern=TAG_PATTERN)]
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=",")


@pytest.mark.parametrize("text", ["a", "Report 2026", "übersicht", "=x", "x" * FEATURE_CHARS_MAX])
def test_a_line_of_text_is_a_feature(text: str) -> None:
    assert is_feature(text)


@pytest.mark.parametrize("text", ["", "x" * (FEATURE_CHARS_MAX + 1), "a\tb", "a\n", "\x7f", "a\x00", "\udcff"])
def test_what_is_no_line_or_no_text_or_too_long_is_no_feature(text: str) -> None:
    assert not is_feature(text)


@given(st.lists(st.text(VISIBLE, min_size=1, max_size=64), max_size=TAGS_MAX // 2))
def test_tags_are_kept_once_each_in_their_order(tags: list[str]) -> None:
    kept = tags_json([*tags, *tags])
    assert kept == (msgspec.json.encode(list(dict.fromkeys(tags))).decode() if tags else None)


@pytest.mark.parametrize("tag", ["", "x" * 65, "a b", "a\tb", "a\n", "ü", "a,b", "\udcff"])
def test_what_is_not_visible_or_too_long_is_no_tag(tag: str) -> None:
    with pytest.raises(ValueError, match="at most 8 tags"):
        tags_json([tag])


def test_more_tags_than_there_may_be_are_refused() -> None:
    most = [str(number) for number in range(TAGS_MAX)]
    assert tags_json(most) is not None
    with pytest.raises(ValueError, match="at most 8 tags"):
        tags_json([*most, "more"])


@given(st.text(max_size=3))
def test_the_pattern_of_a_document_admits_what_is_taken(tag: str) -> None:
    try:
        taken = tags_json([tag]) is not None
    except ValueError:
        taken = False
    try:
        msgspec.convert(tag, type=Tag)
        admitted = True
    except msgspec.ValidationError:
        admitted = False
    assert admitted or not taken
    assert taken or not admitted or tag.endswith("\n")  # "$" lets one line end pass
