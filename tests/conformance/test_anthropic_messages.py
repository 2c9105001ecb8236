"""Recorded messages: what we read of each is what it says itself, however it is cut or spelled.

Always over the recordings that are shipped; where RECORDINGS_DIR is set, over real traffic as well.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.anthropic_messages.answer import read_messages_answer
from gateway.core.anthropic_messages.meter import MessagesMeter
from gateway.core.anthropic_messages.request import read_counting_request, read_messages_request
from gateway.core.anthropic_messages.splicing import splice_for
from gateway.core.errors import InvalidRequest
from gateway.core.estimate import IMAGE_TOKENS_MAX, prompt_hard_bound
from gateway.core.sse import SseParser
from gateway.core.usage import Usage
from gateway.upstream.registry import Upstream
from tests.conformance.recorded import Recorded, asks_another_model, messages_usage, names_what_is_stored, recorded

PROMPT_TOKENS = 77
UPSTREAM = Upstream(name="main", provider="anthropic", base_url="http://127.0.0.1:9/v1", api_key="")
ROWS = list(recorded("anthropic-messages"))
COUNTS = list(recorded("anthropic-count-tokens"))
REFUSED = [row for row in ROWS if names_what_is_stored(row) or asks_another_model(row)]
TAKEN = [row for row in ROWS if row not in REFUSED]
STREAMS = [row for row in ROWS if row.streamed]
SPELLINGS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {},
    {"indent": 2},
]


def ids(row: Recorded) -> str:
    return row.id


def is_fair(row: Recorded) -> bool:
    """The figures of those that are shipped are invented, and only one of them is not too large for its bytes."""
    return row.host != "api.example" or row.id == "own-message"


def metered(body: bytes, cuts: Sequence[int] = ()) -> tuple[object, ...]:
    """All that a meter knows after a stream."""
    parser, meter = SseParser(), MessagesMeter(n=1)
    seen, at = [], 0
    for cut in (*cuts, len(body)):
        seen += [meter.observe(event) for event in parser.feed(body[at:cut])]
        at = cut
    return (
        meter.usage,
        meter.final_usage(PROMPT_TOKENS),
        meter.finished,
        meter.error,
        meter.output_tokens,
        meter.finish_reason,
        meter.provider_id,
        meter.model,
        meter.visible_output,
        tuple(seen),
    )


@pytest.mark.parametrize("row", [row for row in ROWS if not row.streamed], ids=ids)
def test_a_whole_answer_says_its_own_usage(row: Recorded) -> None:
    answer = read_messages_answer(row.body)
    assert answer.readable
    assert answer.usage == messages_usage(row)
    assert answer.error == (row.status >= 400)


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_says_its_own_usage_and_comes_to_its_end(row: Recorded) -> None:
    usage, final, finished, error, *_ = metered(row.body)
    assert finished
    if error is None:
        assert usage == final == messages_usage(row)
    else:
        assert usage is None
        assert isinstance(final, Usage)
        assert final.estimated


@pytest.mark.parametrize("row", STREAMS, ids=ids)
@settings(max_examples=15)
@given(data=st.data())
def test_a_stream_is_metered_the_same_however_it_is_cut(row: Recorded, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(row.body)), max_size=30).map(sorted))
    assert metered(row.body, cuts) == metered(row.body)


@pytest.mark.parametrize("row", TAKEN, ids=ids)
def test_a_recorded_request_is_accepted_in_every_spelling(row: Recorded) -> None:
    for spelling in SPELLINGS:
        body = json.dumps(row.request, **spelling).encode()
        request = read_messages_request(body)
        assert request.model == row.request["model"]
        assert request.stream == bool(row.request.get("stream"))
        assert request.output_limit == row.request["max_tokens"]
        assert request.message_count == len(row.request["messages"])
        assert splice_for(request, request.model, UPSTREAM, None)[0] is body
        changed = json.loads(splice_for(request, "another", UPSTREAM, None)[0])
        assert changed == {**row.request, "model": "another"}


def test_what_is_another_organisations_or_another_models_is_refused() -> None:
    for row in REFUSED:  # none of those that are shipped
        with pytest.raises(InvalidRequest) as refusal:
            read_messages_request(json.dumps(row.request).encode())
        assert refusal.value.reason == ("unknown_id" if names_what_is_stored(row) else "hosted_tool_not_priced"), row.id


@pytest.mark.parametrize("row", COUNTS, ids=ids)
def test_a_request_that_only_counts_is_accepted(row: Recorded) -> None:
    assert read_counting_request(json.dumps(row.request).encode()).model == row.request["model"]


@pytest.mark.parametrize("row", [row for row in TAKEN if messages_usage(row) and is_fair(row)], ids=ids)
def test_no_recorded_prompt_passes_its_hard_bound(row: Recorded) -> None:
    request = read_messages_request(json.dumps(row.request, separators=(",", ":"), ensure_ascii=False).encode())
    bound = prompt_hard_bound(
        prompt_bytes=request.prompt_bytes,
        message_count=request.message_count,
        images=request.images,
        tools=request.tools,
        by_reference=request.by_reference or request.hosted_tools,
    )
    stated = messages_usage(row)
    assert stated is not None
    assert bound is None or stated.prompt_tokens <= bound
    assert not request.images or stated.prompt_tokens <= request.images * IMAGE_TOKENS_MAX + request.prompt_bytes
