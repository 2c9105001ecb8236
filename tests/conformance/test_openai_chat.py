"""Recorded chats of many providers: what we read of each is what it says itself, however it is cut or spelled.

Always over the recordings that are shipped; where RECORDINGS_DIR is set, over real traffic as well.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.dialect import Seen
from gateway.core.estimate import prompt_hard_bound
from gateway.core.openai_chat.answer import read_chat_answer
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.openai_chat.request import read_chat_request
from gateway.core.openai_chat.splicing import splice
from gateway.core.sse import SseParser
from gateway.core.usage import Usage
from tests.conformance.recorded import Recorded, expected_usage, own_usage, recorded
from tests.core.slow_json import members

PROMPT_TOKENS = 77
"""Stands in for our estimate of the prompt."""


ROWS = list(recorded())
WHOLE = [row for row in ROWS if not row.streamed and row.status == 200]
REFUSED = [row for row in ROWS if row.status >= 400]
STREAMS = [row for row in ROWS if row.streamed]


WITHOUT_HIDDEN_CONTEXT = {"api.openai.com", "api.example"}
"""Other providers put text of their own before the prompt; 33 of the real recordings show it."""


def ids(row: Recorded) -> str:
    return row.id


class Metered(NamedTuple):
    """All that a meter knows after a stream."""

    seen: list[Seen]
    usage: Usage | None
    final_usage: Usage
    output_tokens: int
    finished: bool
    done: bool
    error: bytes | None
    finish_reason: str
    provider_id: str
    model: str
    visible_output: bool


def metered(body: bytes, choices: int, cuts: Sequence[int] = ()) -> Metered:
    parser, meter = SseParser(), ChatMeter(n=choices)
    raw, seen, at = [], [], 0
    for cut in (*cuts, len(body)):
        for event in parser.feed(body[at:cut]):
            raw.append(event.raw)
            seen.append(meter.observe(event))
        at = cut
    assert b"".join(raw) + parser.tail == body
    return Metered(
        seen,
        meter.usage,
        meter.final_usage(PROMPT_TOKENS),
        meter.output_tokens,
        meter.finished,
        meter.done,
        meter.error,
        meter.finish_reason,
        meter.provider_id,
        meter.model,
        meter.visible_output,
    )


def test_there_is_something_of_each_kind() -> None:
    assert WHOLE
    assert STREAMS
    assert REFUSED


@pytest.mark.parametrize("row", WHOLE, ids=ids)
def test_a_whole_answer_says_its_own_usage(row: Recorded) -> None:
    answer = read_chat_answer(row.body)
    stated = own_usage(row)
    assert answer.readable
    if stated is None:
        assert answer.final_usage(PROMPT_TOKENS).estimated
    else:
        assert answer.final_usage(PROMPT_TOKENS) == answer.usage == expected_usage(stated)


@pytest.mark.parametrize("row", REFUSED, ids=ids)
def test_a_refusal_has_no_usage(row: Recorded) -> None:
    answer = read_chat_answer(row.body)
    assert answer.usage is None
    assert answer.error


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_says_its_own_usage_or_is_estimated(row: Recorded) -> None:
    found = metered(row.body, row.choices)
    stated = own_usage(row)
    if stated is None:
        assert found.usage is None
        assert found.final_usage.estimated
        assert found.final_usage.prompt_tokens == PROMPT_TOKENS
    else:
        assert found.final_usage == found.usage == expected_usage(stated)


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_that_came_to_its_end_is_finished_and_a_broken_one_is_not(row: Recorded) -> None:
    failed = b'"error":{' in row.body
    found = metered(row.body, row.choices)
    assert found.finished == (failed or b"data: [DONE]" in row.body)
    assert (found.error is not None) == failed
    assert sum(seen.usage_only for seen in found.seen) <= 1


@pytest.mark.parametrize("row", STREAMS, ids=ids)
@settings(max_examples=15)
@given(data=st.data())
def test_a_stream_is_metered_the_same_however_it_is_cut(row: Recorded, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(row.body)), max_size=30).map(sorted))
    assert metered(row.body, row.choices, cuts) == metered(row.body, row.choices)


def test_a_stream_is_metered_the_same_byte_by_byte() -> None:
    row = min(STREAMS, key=lambda row: len(row.body))
    assert metered(row.body, row.choices, range(len(row.body))) == metered(row.body, row.choices)


SPELLINGS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {},
    {"indent": 2},
]


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_a_recorded_request_is_accepted_in_every_spelling(row: Recorded) -> None:
    for spelling in SPELLINGS:
        request = read_chat_request(json.dumps(row.request, **spelling).encode())
        assert request.model == row.request["model"]
        assert request.stream == bool(row.request.get("stream"))
        assert request.n == row.choices
        assert request.message_count == len(row.request["messages"])
        assert request.include_usage == bool((row.request.get("stream_options") or {}).get("include_usage"))


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_splicing_a_recorded_request_leaves_all_other_bytes(row: Recorded) -> None:
    for spelling in SPELLINGS:
        body = json.dumps(row.request, **spelling).encode()
        request = read_chat_request(body)
        assert splice(request) is body
        (model,) = (member for member in members(body) if member.key == "model")
        spliced = splice(request, model="another/model")
        assert spliced == body[: model.start] + b'"another/model"' + body[model.end :]
        changed = splice(request, include_usage=True, output_limit=("max_completion_tokens", 2**31 - 1))
        options = {"stream_options": (row.request.get("stream_options") or {}) | {"include_usage": True}}
        limit = {} if request.limit_fields else {"max_completion_tokens": 2**31 - 1}
        assert json.loads(changed) == row.request | options | limit


@pytest.mark.parametrize("row", [row for row in ROWS if row.host in WITHOUT_HIDDEN_CONTEXT and own_usage(row)], ids=ids)
def test_no_recorded_prompt_without_hidden_context_passes_its_hard_bound(row: Recorded) -> None:
    request = read_chat_request(json.dumps(row.request, separators=(",", ":"), ensure_ascii=False).encode())
    bound = prompt_hard_bound(
        prompt_bytes=request.prompt_bytes,
        message_count=request.message_count,
        images=request.images,
        tools=request.tools,
        by_reference=request.by_reference or request.hosted_tools,
    )
    stated = own_usage(row)
    assert stated is not None
    assert bound is None or stated["prompt_tokens"] <= bound
