"""Text completions: their facts, the body that is sent, the meter of their streams, the last frames."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dialect import Broken
from gateway.core.errors import InvalidRequest
from gateway.core.openai_chat.request import N_MAX
from gateway.core.openai_completions.dialect import OPENAI_COMPLETIONS
from gateway.core.openai_completions.request import DEFAULT_LIMIT, CompletionsRequest, read_completions_request
from gateway.core.rendered import Rendered
from gateway.core.sse import SseParser
from gateway.core.usage import Usage
from gateway.upstream.registry import Upstream
from tests.core import json_text

HABITS: Final = Upstream(
    name="u", provider="p", base_url="http://127.0.0.1:9", api_key="", output_limit_field="max_completion_tokens"
)


def read(**fields: Any) -> CompletionsRequest:
    return read_completions_request(json.dumps({"model": "m", "prompt": "Once", **fields}).encode())


def refused_param(**fields: Any) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    return caught.value.param


# --- facts ------------------------------------------------------------------------------------------------------------


def test_the_least_request_has_openais_limit() -> None:
    request = read()
    assert (request.n, request.output_limit, request.limit_fields) == (1, DEFAULT_LIMIT, ())
    assert (request.prompts, request.prompt_bytes, request.token_ids) == (1, len('"Once"'), 0)
    assert not request.stream
    assert not request.include_usage


@pytest.mark.parametrize(
    ("fields", "outputs"),
    [
        ({"n": 3}, 3),
        ({"best_of": 5}, 5),
        ({"n": 2, "best_of": 5}, 5),
        ({"n": 5, "best_of": 2}, 5),
        ({"prompt": ["a", "b", "c"], "n": 2}, 6),
        ({"prompt": [[1, 2], [3]], "best_of": 4}, 8),
        ({"prompt": [1, 2, 3]}, 1),
    ],
)
def test_every_output_that_is_made_is_billed(fields: dict[str, Any], outputs: int) -> None:
    assert read(**fields).n == outputs


def test_more_outputs_than_a_call_may_have_are_refused() -> None:
    assert read(prompt=["a"] * N_MAX).n == N_MAX
    assert refused_param(prompt=["a"] * 65, n=2) == "n"
    assert refused_param(prompt=["a"] * 65, best_of=2) == "best_of"


def test_token_numbers_and_the_suffix_bound_the_prompt() -> None:
    request = read(prompt=[[1, 2, 3], [4]], suffix="end")
    assert (request.token_ids, request.prompt_bytes, request.prompts) == (4, 2 * len('"end"'), 2)
    assert read(prompt=None).prompt_bytes == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [{"text": "a"}]}, "prompt"),
        ({"suffix": 5}, "suffix"),
        ({"n": 0}, "n"),
        ({"n": N_MAX + 1}, "n"),
        ({"best_of": 1.5}, "best_of"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"maxTokens": 5}, "max_tokens"),
        ({"BEST_OF": 5}, "best_of"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"echo": "yes"}, "echo"),
        ({"stream": 1}, "stream"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options"),
        ({"stream": True, "best_of": 2}, "best_of"),
        ({"stream": True, "echo": True}, "echo"),
        ({"models": ["a"]}, "models"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"prompt_embeds": "AA"}, "prompt_embeds"),
        ({"n_predict": 40}, "n_predict"),
        ({"n_cmpl": 2}, "n_cmpl"),
        ({"model": None}, "model"),
    ],
    ids=str,
)
def test_what_cannot_be_priced_or_read_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refused_param(**fields) == param


def test_what_is_streamed_in_full_may_have_several_outputs() -> None:
    request = read(stream=True, n=2, best_of=2, echo=False, max_tokens=0, stream_options={"include_usage": True})
    assert (request.stream, request.n, request.output_limit, request.include_usage) == (True, 2, 0, True)


fields_of = st.dictionaries(
    st.sampled_from(["prompt", "n", "best_of", "stream", "echo", "suffix", "max_tokens", "stream_options", "x"]),
    json_text.values,
)


@given(fields_of)
def test_whatever_comes_is_read_or_refused(fields: dict[str, str]) -> None:
    body = ",".join(['"model":"m"', *(f'"{name}":{value}' for name, value in fields.items())])
    try:
        request = read_completions_request(f"{{{body}}}".encode())
    except InvalidRequest:
        return
    assert 1 <= request.n <= N_MAX
    assert request.output_limit is not None


# --- what is sent -----------------------------------------------------------------------------------------------------


def sent(limit: int | None = None, model: str = "m", **fields: Any) -> tuple[dict[str, Any], bool]:
    body, asks_usage = OPENAI_COMPLETIONS.splice(read(**fields), model, HABITS, limit)
    return json.loads(body), asks_usage


def test_a_limit_is_always_sent_and_never_raised() -> None:
    assert sent()[0]["max_tokens"] == DEFAULT_LIMIT
    assert sent(max_tokens=None)[0]["max_tokens"] == DEFAULT_LIMIT
    assert sent(max_tokens=500)[0]["max_tokens"] == 500
    assert sent(300, max_tokens=500)[0]["max_tokens"] == 300
    assert sent(300, max_tokens=5)[0]["max_tokens"] == 5
    assert "max_completion_tokens" not in sent()[0]


def test_a_request_that_says_it_all_passes_byte_for_byte() -> None:
    request = read(max_tokens=5)
    assert OPENAI_COMPLETIONS.splice(request, "m", HABITS, None) == (request.body, False)


def test_a_stream_is_asked_for_its_usage() -> None:
    body, asks_usage = sent(model="other", stream=True, max_tokens=5)
    assert (body["model"], body["stream_options"], asks_usage) == ("other", {"include_usage": True}, True)
    assert not sent(stream=True, stream_options={"include_usage": True})[1]


# --- streams ----------------------------------------------------------------------------------------------------------


def chunk(text: str = "", finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
    body = {"id": "cmpl-1", "object": "text_completion", "model": "m", "choices": [choice], **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def usage_chunk(prompt: int, output: int) -> bytes:
    usage = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return b"data: " + json.dumps({"id": "cmpl-1", "choices": [], "usage": usage}).encode() + b"\n\n"


STREAM: Final = (
    chunk("Once", usage=None) + chunk(" upon é") + chunk("", "length") + usage_chunk(5, 3) + b"data: [DONE]\n\n"
)


def metered(stream: bytes, cuts: list[int], n: int = 1) -> tuple[Any, ...]:
    parser, meter = SseParser(), OPENAI_COMPLETIONS.meter(n=n)
    seen, at = [], 0
    for cut in (*sorted(cuts), len(stream)):
        seen += [meter.observe(event) for event in parser.feed(stream[at:cut])]
        at = cut
    facts = (meter.finished, meter.done, meter.error, meter.finish_reason, meter.provider_id, meter.model)
    return (seen, facts, meter.usage, meter.final_usage(77), meter.estimated_output_tokens)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_is_metered_the_same_however_it_is_cut(cuts: list[int]) -> None:
    seen, facts, usage, final, said = metered(STREAM, cuts)
    assert [each.content for each in seen] == [True, True, False, False, False]
    assert (seen[3].usage_only, seen[4].terminal) == (True, True)
    assert facts == (True, True, None, "length", "cmpl-1", "m")
    assert usage == final == Usage(prompt_tokens=5, output_tokens=3)
    assert said >= 2


def test_a_stream_without_usage_is_estimated() -> None:
    *_, final, said = metered(chunk("word " * 8) + chunk("", "stop") + b"data: [DONE]\n\n", [])
    assert final == Usage(prompt_tokens=77, output_tokens=said, estimated=True)
    assert said == 10


def test_a_stream_is_finished_when_every_output_is() -> None:
    one = chunk("a", "stop", 0)
    assert not metered(one, [], n=2)[1][0]
    assert metered(one + chunk("b", "length", 1), [], n=2)[1][0]


hostile = st.sampled_from(
    [
        chunk("a"),
        chunk("a", "stop"),
        usage_chunk(5, 3),
        usage_chunk(-5, 2**70),
        b'data: {"choices":[{"text":5}]}\n\n',
        b'data: {"choices":[{"text":["a"],"delta":{"content":"b"}}]}\n\n',
        b'data: {"choices":{}}\n\n',
        b'data: {"error":{"message":"no"}}\n\n',
        b"data: \xff\xfe\n\n",
        b"data: " + b"[" * 10_000 + b"\n\n",
        b"event: error\ndata: x\n\n",
        b": comment\n\n",
        b"data: [DONE]\n\n",
        b"data:\n\n",
    ]
)


@given(st.lists(hostile, max_size=12))
def test_no_stream_breaks_the_meter_and_its_count_never_falls(events: list[bytes]) -> None:
    parser, meter = SseParser(), OPENAI_COMPLETIONS.meter(n=1)
    said = 0
    for event in parser.feed(b"".join(events)):
        meter.observe(event)
        assert meter.estimated_output_tokens >= said
        said = meter.estimated_output_tokens
    final = meter.final_usage(7)
    assert final.output_tokens >= 0
    assert final.prompt_tokens >= 0


# --- whole answers ----------------------------------------------------------------------------------------------------


def test_a_whole_answer_says_its_usage_or_is_estimated() -> None:
    body = {"id": "cmpl-1", "model": "m", "choices": [{"index": 0, "text": "word " * 8, "finish_reason": "length"}]}
    usage = {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}
    told = OPENAI_COMPLETIONS.read_answer(json.dumps({**body, "usage": usage}).encode())
    assert (told.usage, told.finish_reason) == (Usage(prompt_tokens=5, output_tokens=8), "length")
    counted = OPENAI_COMPLETIONS.read_answer(json.dumps(body).encode())
    assert (counted.usage, counted.output_tokens) == (None, 10)


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False])
def test_a_stream_that_fails_ends_with_an_error_that_sdks_raise_on(asked: bool) -> None:
    request = read(stream=True, stream_options={"include_usage": asked})
    frames = OPENAI_COMPLETIONS.last_frames(
        Broken(
            error=Rendered(402, "insufficient_quota", "insufficient_credits", "Out of credits."),
            facts=request,
            request_id="0198-7",
            provider_id="",
            model="m",
            usage=Usage(prompt_tokens=5, output_tokens=3),
            unix_s=1,
        )
    )
    events = [json.loads(event.removeprefix(b"data: ")) for event in frames.split(b"\n\n")[:-1]]
    assert len(events) == 1 + asked
    if asked:
        assert events[0]["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    last = events[-1]
    assert last["object"] == "text_completion"
    assert last["id"] == "cmpl-01987"
    assert last["error"]["code"] == "insufficient_credits"
    assert "choices" not in last, "a client could take it for one chunk more"
