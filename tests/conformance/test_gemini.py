"""Recorded calls in Gemini's dialects: what we read of each is what it says itself, however it is cut or spelled.

Always over the recordings that are shipped; where RECORDINGS_DIR is set, over real traffic as well.
"""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.core.estimate import IMAGE_TOKENS_MAX, prompt_hard_bound
from gateway.core.gemini.answer import read_generate_answer
from gateway.core.gemini.embed import read_embed_answer, read_embed_request
from gateway.core.gemini.meter import GenerateMeter
from gateway.core.gemini.request import path_of, read_count_request, read_generate_request
from gateway.core.gemini.splicing import splice_embed, splice_generate
from gateway.core.sse import SseParser
from gateway.core.usage import Usage
from gateway.upstream.registry import Upstream
from tests.conformance.recorded import (
    Recorded,
    gemini_call,
    gemini_usage,
    names_what_is_stored_at_google,
    recorded,
    states_an_error,
)

PROMPT_TOKENS = 77
UPSTREAM = Upstream(name="main", provider="gemini", base_url="http://127.0.0.1:9/v1beta", api_key="")
ROWS = list(recorded("gemini-generate"))
EMBEDDINGS = [row for row in recorded("embeddings") if "generativelanguage" in row.host]
REFUSED = [row for row in ROWS if names_what_is_stored_at_google(row)]
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


def target(row: Recorded) -> str:
    model, action = gemini_call(row)
    return f"/v1beta/models/{model}:{action}{'?alt=sse' if row.streamed else ''}"


def metered(body: bytes, cuts: Sequence[int] = ()) -> tuple[object, ...]:
    """All that a meter knows after a stream."""
    parser, meter = SseParser(), GenerateMeter(n=1)
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
    answer = read_generate_answer(row.body)
    assert answer.readable
    assert answer.usage == gemini_usage(row)
    assert answer.error == (row.status >= 400)
    assert row.status >= 400 or answer.finish_reason


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_says_its_own_usage_and_comes_to_its_end(row: Recorded) -> None:
    usage, final, finished, error, *_ = metered(row.body)
    assert finished
    assert (error is not None) == states_an_error(row)
    assert usage == final == gemini_usage(row)


@pytest.mark.parametrize("row", STREAMS, ids=ids)
def test_a_stream_that_comes_as_one_array_costs_the_same(row: Recorded) -> None:
    events = [event.data for event in SseParser().feed(row.body) if event.data]
    answer = read_generate_answer(b"[" + b",\r\n".join(events) + b"]\r\n")
    assert answer.readable
    assert answer.usage == gemini_usage(row)
    assert answer.error == states_an_error(row)


@pytest.mark.parametrize("row", STREAMS, ids=ids)
@settings(max_examples=15)
@given(data=st.data())
def test_a_stream_is_metered_the_same_however_it_is_cut(row: Recorded, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(row.body)), max_size=30).map(sorted))
    assert metered(row.body, cuts) == metered(row.body)


@pytest.mark.parametrize("row", TAKEN, ids=ids)
def test_a_recorded_request_is_accepted_in_every_spelling(row: Recorded) -> None:
    config = row.request.get("generationConfig") or {}
    for spelling in SPELLINGS:
        body = json.dumps(row.request, **spelling).encode()
        request = read_generate_request(target(row), body)
        assert request.model == gemini_call(row)[0]
        assert request.stream == row.streamed
        assert request.output_limit == config.get("maxOutputTokens")
        assert splice_generate(request, request.model, UPSTREAM, None) == (body, False)
        assert f"/v1beta{path_of(request, request.model)}" == target(row)
        limited = json.loads(splice_generate(request, "another", UPSTREAM, 1)[0])
        assert limited == {**row.request, "generationConfig": {**config, "maxOutputTokens": 1}}


def test_what_is_stored_at_the_provider_is_refused() -> None:
    for row in REFUSED:  # none of those that are shipped
        for read in (read_generate_request, read_count_request):
            with pytest.raises(InvalidRequest) as refusal:
                read(target(row).partition("?")[0], json.dumps(row.request).encode())
            assert refusal.value.reason == "unknown_id", row.id


@pytest.mark.parametrize("row", [row for row in TAKEN if gemini_usage(row)], ids=ids)
def test_no_recorded_prompt_passes_its_hard_bound(row: Recorded) -> None:
    if row.host == "api.example":
        return  # invented figures
    body = json.dumps(row.request, separators=(",", ":"), ensure_ascii=False).encode()
    request = read_generate_request(target(row), body)
    bound = prompt_hard_bound(
        prompt_bytes=request.prompt_bytes,
        message_count=request.message_count,
        images=request.images,
        tools=request.tools,
        by_reference=request.by_reference or request.hosted_tools or request.audio,
    )
    stated = gemini_usage(row)
    assert stated is not None
    assert bound is None or stated.prompt_tokens <= bound
    assert not request.images or stated.prompt_tokens <= request.images * IMAGE_TOKENS_MAX + request.prompt_bytes


@pytest.mark.parametrize("row", EMBEDDINGS, ids=ids)
def test_an_embedding_is_read_and_costs_its_prompt(row: Recorded) -> None:
    model, action = gemini_call(row)
    body = json.dumps(row.request).encode()
    request = read_embed_request(f"/v1beta/models/{model}:{action}", body)
    assert (request.model, request.action) == (model, action)
    assert splice_embed(request, model, UPSTREAM, None) == (body, False)
    renamed = json.loads(splice_embed(request, "another", UPSTREAM, None)[0])
    asked = [{**each, "model": "models/another"} for each in row.request["requests"]]
    assert renamed == {**row.request, "requests": asked}
    answer = read_embed_answer(row.body)
    stated = json.loads(row.body).get("usageMetadata")
    assert answer.output_tokens == 1
    assert answer.usage == (None if stated is None else Usage(prompt_tokens=stated["promptTokenCount"]))
