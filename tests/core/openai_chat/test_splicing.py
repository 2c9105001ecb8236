"""A splice changes what it must and leaves every other byte as it was."""

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.openai_chat.request import read_chat_request
from gateway.core.openai_chat.splicing import splice
from tests.core import json_text
from tests.core.slow_json import members

_VALUES = {
    "model": st.sampled_from(['"gpt-4o"', '"m"', '"\\u006d"']),
    "messages": st.sampled_from(['[{"role":"user","content":"\\"model\\":\\"x\\""}]', '[ {"content" : null} ]']),
    "stream": st.sampled_from(["true", "false", "null"]),
    "stream_options": st.sampled_from(
        ["null", "{}", "{ }", '{"include_usage":false}', '{ "include_usage" : null }', '{"include_usage":true}',
         '{"include_obfuscation" :false}', '{"include_obfuscation":true, "include_usage" : false}']
    ),
    "max_tokens": st.sampled_from(["null", "1", "100", "99999"]),
    "max_completion_tokens": st.sampled_from(["null", "7", "2000"]),
    "user": json_text.values,
}  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    others = draw(st.lists(st.sampled_from(sorted(_VALUES.keys() - {"model", "messages"})), unique=True))
    names = draw(st.permutations(["model", "messages", *others]))
    return draw(json_text.object_of([(name, draw(_VALUES[name])) for name in names])).encode()


def read_or_assume(body: bytes) -> Any:
    try:
        return read_chat_request(body)
    except InvalidRequest:
        assume(False)


def expected(
    before: dict[str, Any], model: str | None, include_usage: bool, limit: tuple[str, int] | None
) -> dict[str, Any]:
    after = dict(before)
    if model is not None:
        after["model"] = model
    if include_usage:
        after["stream_options"] = (after.get("stream_options") or {}) | {"include_usage": True}
    if limit is not None:
        field, tokens = limit
        present = [name for name in ("max_tokens", "max_completion_tokens") if after.get(name) is not None]
        for name in present:
            after[name] = min(after[name], tokens)
        if not present or (field, present) == ("max_tokens", ["max_completion_tokens"]):
            after[field] = tokens
    return after


limits = st.one_of(
    st.none(), st.tuples(st.sampled_from(["max_tokens", "max_completion_tokens"]), st.integers(1, 100_000))
)
models = st.one_of(st.none(), st.sampled_from(["gpt-4o", "other/model", 'quo"te', "é"]))


@given(bodies(), models, st.booleans(), limits)
def test_the_spliced_body_says_exactly_what_was_asked(
    body: bytes, model: str | None, include_usage: bool, limit: tuple[str, int] | None
) -> None:
    request = read_or_assume(body)
    spliced = splice(request, model=model, include_usage=include_usage, output_limit=limit)
    assert json.loads(spliced) == expected(json.loads(body), model, include_usage, limit)
    read_chat_request(spliced)


@given(bodies(), models, st.booleans(), limits)
def test_values_that_were_not_asked_for_keep_their_bytes_and_order(
    body: bytes, model: str | None, include_usage: bool, limit: tuple[str, int] | None
) -> None:
    spliced = splice(read_or_assume(body), model=model, include_usage=include_usage, output_limit=limit)
    changed = {"model", "stream_options", "max_tokens", "max_completion_tokens"}
    before = [(each.key, body[each.start : each.end]) for each in members(body) if each.key not in changed]
    after = [(each.key, spliced[each.start : each.end]) for each in members(spliced) if each.key not in changed]
    assert before == after


@given(bodies())
def test_without_a_change_the_body_is_the_same_object(body: bytes) -> None:
    request = read_or_assume(body)
    assert splice(request) is body
    assert splice(request, model=request.model, include_usage=request.include_usage) is body


@given(bodies(), models, st.booleans(), limits)
def test_taking_the_edits_out_again_gives_the_body_back(
    body: bytes, model: str | None, include_usage: bool, limit: tuple[str, int] | None
) -> None:
    spliced = splice(read_or_assume(body), model=model, include_usage=include_usage, output_limit=limit)
    # Only whole stretches were replaced or put in: what both have in common, from either end, is nearly all.
    old = {each.key: body[each.start : each.end] for each in members(body)}
    for each in reversed(members(spliced)):
        if each.key in old:
            spliced = spliced[: each.start] + old[each.key] + spliced[each.end :]
    added = {each.key for each in members(spliced)} - old.keys()
    for key in ("max_tokens", "max_completion_tokens", "stream_options"):
        if key in added:
            (member,) = (each for each in members(spliced) if each.key == key)
            spliced = spliced.replace(b'"%b":%b,' % (key.encode(), spliced[member.start : member.end]), b"", 1)
    assert spliced == body


def test_the_older_limit_is_put_beside_the_newer_and_never_the_newer_beside_the_older() -> None:
    newer = read_chat_request(b'{"model":"m","messages":[{}],"max_completion_tokens":5,"max_tokens":null}')
    spliced = splice(newer, output_limit=("max_tokens", 5))
    assert spliced == b'{"model":"m","messages":[{}],"max_completion_tokens":5,"max_tokens":5}'
    older = read_chat_request(b'{"model":"m","messages":[{}],"max_tokens":5}')
    assert splice(older, output_limit=("max_completion_tokens", 5)) == older.body


def test_a_limit_is_lowered_and_never_raised() -> None:
    request = read_chat_request(b'{"model":"m","messages":[{}],"max_tokens":100,"max_completion_tokens":5}')
    spliced = splice(request, output_limit=("max_tokens", 50))
    assert spliced == b'{"model":"m","messages":[{}],"max_tokens":50,"max_completion_tokens":5}'


@pytest.mark.parametrize("size", [1_000_000])
def test_a_large_body_is_spliced_at_the_right_place(size: int) -> None:
    body = b'{ "messages" : [{"role":"user","content":"%b"}], "model" : "alias" }' % (b"\\n\xc3\xa9" * (size // 4))
    assert splice(read_chat_request(body), model="gpt-4o") == body.replace(b'"alias"', b'"gpt-4o"')
