"""Where values stand, and that an object with a key twice is never taken for one that has it once."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.json_object import KEYS_MAX, Ambiguous, misspelled, read_object, read_objects, spans_of
from tests.core import json_text
from tests.core.slow_json import members

keys = st.sampled_from(["model", "n", "a", "é", "", '"', "\\", "moder"])
texts = json_text.objects(keys, json_text.values).map(str.encode)


@given(texts)
@example(b'{"a":12,"a":1}')
@example(b'{"a":1,"a":12}')
@example(b'{"a":1.05,"a":1}')
@example(b'{"a":"x\\",\\"a\\":1","a":"x"}')
@example(b'{"a":{"a":1},"a":{"a":1}}')
@example(b'{"mod\\u0065l":1,"model":1}')
@example(b'{"model":1 ,"model":1}')
@example(b"{}")
def test_an_object_is_placed_exactly_or_found_to_have_a_key_twice(text: bytes) -> None:
    expected = members(text)
    if len({member.key for member in expected}) < len(expected):
        with pytest.raises(Ambiguous):
            spans_of(text)
        with pytest.raises(Ambiguous):
            read_object(text)
    else:
        assert list(spans_of(text).items()) == [(member.key, (member.start, member.end)) for member in expected]
        compact, values = read_object(text)
        assert msgspec.json.decode(compact) == msgspec.json.decode(text)
        assert list(values) == [member.key for member in expected]


@given(st.lists(texts, max_size=4), st.booleans())
def test_in_an_array_no_object_with_a_key_twice_passes(objects: list[bytes], strip: bool) -> None:
    array = b"[" + b",".join(text.strip() if strip else text for text in objects) + b"]"
    repeated = any(len({member.key for member in found}) < len(found) for found in map(members, objects))
    try:
        read = read_objects(array)
    except Ambiguous:
        assert repeated or b"\\" in array  # a key spelled with needless escapes is refused here too
    else:
        assert not repeated
        assert [list(each) for each in read] == [[member.key for member in members(text)] for text in objects]
        values = [{key: msgspec.json.decode(value) for key, value in each.items()} for each in read]
        assert values == msgspec.json.decode(array)


def test_the_repeated_key_is_named() -> None:
    with pytest.raises(Ambiguous, match="`model`"):
        read_object(b'{"model":"cheap","n":1,"mod\\u0065l":"dear"}')


def test_more_keys_than_any_api_has_are_refused() -> None:
    text = b"{" + b",".join(b'"k%d":0' % at for at in range(KEYS_MAX + 1)) + b"}"
    with pytest.raises(msgspec.ValidationError):
        read_object(text)


@pytest.mark.parametrize(
    "key",
    ["MODEL", "Model", "mOdel", "m_o_d_e_l"],
)
def test_a_key_in_another_case_is_a_misspelling(key: str) -> None:
    assert misspelled([key], {"model"}) == (key, "model")


def test_unicode_case_folding_is_seen_through() -> None:
    assert misspelled(["max_to\u212aens"], {"max_tokens"}) == ("max_to\u212aens", "max_tokens")  # the Kelvin sign
    assert misspelled(["\u017ftream"], {"stream"}) == ("\u017ftream", "stream")  # the long s
    assert misspelled(["maxTokens", "max-tokens"], {"max_tokens"}) == ("maxTokens", "max_tokens")


def test_the_right_spelling_and_other_keys_are_none() -> None:
    assert misspelled(["model", "models_used", "temperature", "ｍｏｄｅｌ"], {"model"}) is None
