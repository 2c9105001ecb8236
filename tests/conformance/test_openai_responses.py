"""Recorded responses: what we read of each is what it says itself, however it is cut or spelled.

Always over the recordings that are shipped; where RECORDINGS_DIR is set, over real traffic as well.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.estimate import prompt_hard_bound
from gateway.core.openai_responses.answer import read_response
from gateway.core.openai_responses.meter import ResponsesMeter
from gateway.core.openai_responses.request import read_responses_request
from gateway.core.openai_responses.splicing import splice_for
from gateway.core.sse import SseParser
from gateway.core.usage import Usage
from gateway.upstream.registry import Upstream
from tests.conformance.recorded import Recorded, recorded, responses_usage

PROMPT_TOKENS = 77
UPSTREAM = Upstream(name="main", provider="openai", base_url="http://127.0.0.1:9/v1", api_key="")
ROWS = list(recorded("openai-responses"))
STREAMS = [row for row in ROWS if row.streamed]
SPELLINGS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"separators": (",", ":"), "ensure_ascii": False},
    {},
    {"indent": 2},
]


def ids(row: Recorded) -> str:
    return row.id


def refusal_of(row: Recorded) -> str | None:
    """Why no gateway takes it, by its own words alone."""
    request, said = row.request, json.dumps(row.request)
    if '"file_id"' in said or '"file_ids"' in said or '"vector_store_ids"' in said:
        return "unknown_id"
    return "unsupported_parameter" if request.get("background") and request.get("stream") else None


TAKEN = [row for row in ROWS if refusal_of(row) is None]


def metered(body: bytes, cuts: Sequence[int] = ()) -> tuple[object, ...]:
    """All that a meter knows after a stream."""
    parser, meter = SseParser(), ResponsesMeter(n=1)
    seen, at = [], 0
    for cut in (*cuts, len(body)):
        seen += [meter.observe(event) for event in parser.feed(body[at:cut])]
        at = cut
    return (
        meter.usage,
        meter.final_usage(PROMPT_TOKENS),
        meter.finished,
        meter.error,
        meter.estimated_output_tokens,
        meter.finish_reason,
        meter.provider_id,
        meter.model,
        meter.visible_output,
        tuple(seen),
    )


@pytest.mark.parametrize("row", [row for row in ROWS if not row.streamed], ids=ids)
def test_a_whole_answer_says_its_own_usage(row: Recorded) -> None:
    answer = read_response(row.body)
    assert answer.readable
    assert answer.usage == responses_usage(row)
    assert answer.error == (row.status >= 400 or json.loads(row.body).get("error") is not None)


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_says_its_own_usage_and_comes_to_its_end(row: Recorded) -> None:
    usage, final, finished, error, said, *_ = metered(row.body)
    assert finished
    assert error is None or isinstance(error, bytes)
    if (stated := responses_usage(row)) is not None:
        assert usage == final == stated
        assert said
    else:
        assert isinstance(final, Usage)
        assert final.estimated


@pytest.mark.parametrize("row", STREAMS, ids=ids)
@settings(max_examples=15)
@given(data=st.data())
def test_a_stream_is_metered_the_same_however_it_is_cut(row: Recorded, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(row.body)), max_size=30).map(sorted))
    assert metered(row.body, cuts) == metered(row.body)


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_that_breaks_off_is_estimated_at_no_less_than_was_said(row: Recorded) -> None:
    said, events = 0, row.body.split(b"\n\n")
    for end in range(0, len(events) - 1, max(1, len(events) // 20)):
        body = b"\n\n".join(events[:end]) + b"\n\n"
        _, final, _, _, tokens, *_ = metered(body)
        assert isinstance(final, Usage)
        assert isinstance(tokens, int)
        assert tokens >= said, "our count never falls"
        said = tokens
        assert final.output_tokens >= tokens or not final.estimated


@pytest.mark.parametrize("row", TAKEN, ids=ids)
def test_a_recorded_request_is_accepted_in_every_spelling(row: Recorded) -> None:
    for spelling in SPELLINGS:
        body = json.dumps(row.request, **spelling).encode()
        request = read_responses_request(body)
        assert request.model == row.request["model"]
        assert request.stream == bool(row.request.get("stream"))
        assert request.output_limit == row.request.get("max_output_tokens")
        assert splice_for(request, request.model, UPSTREAM, None)[0] is body
        limit = min(99, request.output_limit or 99)
        changed = json.loads(splice_for(request, "another", UPSTREAM, 99)[0])
        assert changed == {**row.request, "model": "another", "max_output_tokens": limit}


@pytest.mark.parametrize("row", [row for row in ROWS if refusal_of(row)], ids=ids)
def test_what_names_what_is_stored_is_refused(row: Recorded) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_responses_request(json.dumps(row.request).encode())
    assert refusal.value.reason == refusal_of(row)


@pytest.mark.parametrize("row", [row for row in TAKEN if responses_usage(row) and row.host != "api.example"], ids=ids)
def test_no_recorded_prompt_passes_its_hard_bound(row: Recorded) -> None:
    request = read_responses_request(json.dumps(row.request, separators=(",", ":"), ensure_ascii=False).encode())
    bound = prompt_hard_bound(
        prompt_bytes=request.prompt_bytes,
        message_count=request.message_count,
        images=request.images,
        tools=request.tools,
        by_reference=request.by_reference or request.hosted_tools or request.other_output,
    )
    stated = responses_usage(row)
    assert stated is not None
    assert bound is None or stated.prompt_tokens <= bound
