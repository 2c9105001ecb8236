"""The short way through plain text messages says what the long way says, and takes nothing that needs the long one."""

from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.openai_chat import messages as chat_messages
from gateway.core.openai_chat.messages import MessageFacts, read_messages
from tests.core import json_text

_MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["role", "content", "content", "role", "name", "Content"]),
        st.one_of(st.just('"user"'), json_text.scalars, json_text.traps.flatmap(json_text.spelled), st.just("[]")),
    ),
    max_size=3,
)
_ARRAYS = st.lists(
    st.one_of(
        st.just('{"role":"user","content":"Hi"}'),
        st.just('{"content":"Hi","role":"system"}'),
        _MEMBERS.flatmap(json_text.object_of),
        json_text.scalars,
    ),
    max_size=4,
).flatmap(json_text.array_of)


def outcome(array: str) -> MessageFacts | str:
    try:
        return read_messages(msgspec.Raw(array.encode()))
    except InvalidRequest as error:
        return str(error)


@given(_ARRAYS)
def test_both_ways_agree_on_any_messages(array: str) -> None:
    with mock.patch.object(chat_messages, "_count_text_messages", return_value=0):
        long_way = outcome(array)
    assert outcome(array) == long_way


@pytest.mark.parametrize(
    ("array", "count"),
    [
        ('[{"role":"user","content":"Hi"}]', 1),
        ('[{"role":"user","content":"Hi"},{"content":"\\u00e9","role":"assistant"}]', 2),
        ("[]", 0),
        ('[{"role":"user","content":null}]', 0),
        ('[{"role":"user","content":[]}]', 0),
        ('[{"role":"user","content":"Hi"} ]', 0),
        ('[{"role":"user","content":"Hi","name":"a"}]', 0),
        ('[{"role":"user","content":"Hi","content":"Ho"}]', 0),
        ('[{"role":"user","cont\\u0065nt":"Hi"}]', 0),
        ('[{"role":"user"}]', 0),
    ],
)
def test_only_a_role_and_a_text_in_the_fewest_bytes_go_the_short_way(array: str, count: int) -> None:
    assert chat_messages._count_text_messages(msgspec.Raw(array.encode())) == count
