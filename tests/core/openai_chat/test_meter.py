"""What the meter makes of a stream: content, usage, ends, and honest estimates where the provider says nothing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dialect import Seen
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.sse import SseEvent, SseParser
from gateway.core.usage import TOKENS_MAX, Usage


def event(chunk: Any, name: str = "message") -> SseEvent:
    data = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
    return SseEvent(b"data: " + data + b"\n\n", data, name)


def delta(index: int = 0, *, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": index, "delta": fields, "finish_reason": finish_reason}]}


def usage(prompt: Any, completion: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion} | more}


DONE = event(b"[DONE]")
STOP = event(delta(finish_reason="stop"))


def metered(*chunks: Any, n: int = 1) -> ChatMeter:
    meter = ChatMeter(n=n)
    for chunk in chunks:
        meter.observe(chunk if isinstance(chunk, SseEvent) else event(chunk))
    return meter


# --- content --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "x"},
        {"content": " "},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        {"refusal": "no"},
        {"reasoning": "hm"},
        {"reasoning_content": "hm"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "index": 0}]},
        {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
        {"function_call": {"arguments": "{"}},
        {"audio": {"id": "a", "data": "UklGRg=="}},
        {"audio": {"transcript": "hi"}},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]},
    ],
)
def test_what_a_model_says_bears_content(fields: dict[str, Any]) -> None:
    meter = ChatMeter()
    assert meter.observe(event(delta(**fields))) == Seen(content=True)
    assert meter.visible_output
    assert meter.estimated_output_tokens >= 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"role": "assistant"},
        {"role": "assistant", "content": "", "refusal": None, "reasoning": None, "reasoning_details": []},
        {"content": None, "tool_calls": None, "channel": "analysis"},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "", "arguments": ""}}]},
        {"tool_calls": []},
        {"reasoning_details": [{"type": "reasoning.text", "text": "", "id": "r1", "format": "anthropic-claude-v1"}]},
    ],
)
def test_what_says_nothing_bears_none(fields: dict[str, Any]) -> None:
    meter = ChatMeter()
    assert meter.observe(event(delta(**fields))) == Seen()
    assert not meter.visible_output
    assert meter.estimated_output_tokens == 0


def test_a_comment_is_nothing() -> None:
    assert ChatMeter().observe(SseEvent(b": hello\n\n", None)) == Seen()


def test_reasoning_that_is_sent_in_two_forms_is_counted_once() -> None:
    twice: dict[str, Any] = {
        "reasoning": "x" * 400,
        "reasoning_details": [{"type": "reasoning.text", "text": "x" * 400}],
    }
    assert metered(delta(**twice)).estimated_output_tokens == 100


def test_a_whole_message_inside_a_stream_counts_too() -> None:
    meter = metered({"choices": [{"index": 0, "message": {"content": "x" * 40}, "finish_reason": "stop"}]})
    assert (meter.estimated_output_tokens, meter.finished) == (10, True)


# --- usage ----------------------------------------------------------------------------------------------------------


def test_the_usage_chunk_alone_is_recognised() -> None:
    assert ChatMeter().observe(event(usage(10, 2))) == Seen(usage_only=True)
    assert ChatMeter().observe(event({"choices": [], "usage": None})) == Seen()
    assert ChatMeter().observe(event(delta() | usage(10, 2) | {"choices": delta()["choices"]})) == Seen()


def test_usage_on_every_chunk_is_never_added_up() -> None:
    chunks = [delta(content="abcd") | {"usage": usage(10, count)["usage"]} for count in (1, 2, 3)]
    assert metered(*chunks, DONE).final_usage(99) == Usage(prompt_tokens=10, output_tokens=3)


def test_the_last_value_that_is_not_null_wins_field_by_field() -> None:
    first = usage(2697, 1, prompt_tokens_details={"cached_tokens": 5})
    meter = metered(first, usage(12251, None, prompt_tokens_details=None), usage(None, 40), DONE)
    assert meter.usage == Usage(prompt_tokens=12251, cached_tokens=5, output_tokens=40)


def test_groqs_own_place_is_enough() -> None:
    chunk = delta(finish_reason="stop") | {"x_groq": {"id": "r", "usage": usage(339, 58)["usage"]}}
    assert metered(chunk, DONE).usage == Usage(prompt_tokens=339, output_tokens=58)


@pytest.mark.parametrize(
    ("more", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 7}}, 7),
        ({"num_cached_tokens": 7}, 7),
        ({"cached_tokens": 7}, 7),
        ({"prompt_cache_hit_tokens": 7, "prompt_cache_miss_tokens": 3}, 7),
        ({"prompt_tokens_details": {"cached_tokens": 7}, "num_cached_tokens": 9}, 7),
        ({"prompt_tokens_details": {"cached_tokens": 70}}, 10),
        ({"prompt_tokens_details": [7]}, 0),
    ],
    ids=["openai", "mistral", "together", "deepseek", "both", "more than the prompt", "odd"],
)
def test_cached_tokens_are_found_where_each_provider_puts_them(more: dict[str, Any], cached: int) -> None:
    assert metered(usage(10, 1, **more)).usage == Usage(prompt_tokens=10, cached_tokens=cached, output_tokens=1)


def test_cache_writes_are_a_part_of_the_prompt() -> None:
    details = {"cached_tokens": 2240, "cache_write_tokens": 329}
    found = metered(usage(2572, 100, prompt_tokens_details=details)).usage
    assert found == Usage(prompt_tokens=2572, cached_tokens=2240, cache_write_tokens=329, output_tokens=100)


def test_reasoning_beside_completion_tokens_is_added_where_the_total_shows_it() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 200}}
    beside = metered(usage(30, 10, total_tokens=240, **details)).usage
    inside = metered(usage(30, 210, total_tokens=240, **details)).usage
    assert beside == inside == Usage(prompt_tokens=30, output_tokens=210, reasoning_tokens=200)


def test_what_a_total_has_beyond_prompt_and_completion_was_output() -> None:
    """Thoughts of Gemini, which its OpenAI dialect counts in the total alone."""
    assert metered(usage(20, 424, total_tokens=1016)).usage == Usage(prompt_tokens=20, output_tokens=996)
    assert metered(usage(20, 424, total_tokens=7)).usage == Usage(prompt_tokens=20, output_tokens=424)


def test_a_usage_within_the_choice_that_ends_the_stream_is_read_and_one_beside_it_holds() -> None:
    ends = delta(finish_reason="stop")
    ends["choices"][0]["usage"] = {"prompt_tokens": 10, "completion_tokens": 79, "total_tokens": 89}
    assert metered(delta(content="x"), ends, DONE).usage == Usage(prompt_tokens=10, output_tokens=79)
    both = ends | {"usage": {"prompt_tokens": 11, "completion_tokens": 80, "cached_tokens": 4}}
    assert metered(both).usage == Usage(prompt_tokens=11, cached_tokens=4, output_tokens=80)
    assert metered(ends, n=2).usage is None  # the other choice's output is not in it


def test_more_reasoning_than_output_is_not_believed() -> None:
    found = metered(usage(43, 10, total_tokens=53, completion_tokens_details={"reasoning_tokens": 11})).usage
    assert found == Usage(prompt_tokens=43, output_tokens=10, reasoning_tokens=10)


@pytest.mark.parametrize("absurd", [10**18, TOKENS_MAX + 1, -1, 1.5, "12", True, [], {}, None, 10**400])
def test_an_absurd_number_becomes_an_estimate(absurd: Any) -> None:
    said = delta(content="x" * 40)
    assert metered(said, usage(absurd, absurd), DONE).final_usage(25) == Usage(
        prompt_tokens=25, output_tokens=10, estimated=True
    )
    assert metered(said, usage(7, absurd), DONE).final_usage(25) == Usage(
        prompt_tokens=7, output_tokens=10, estimated=True
    )
    assert metered(said, usage(7, 9), usage(absurd, absurd), DONE).final_usage(25) == Usage(
        prompt_tokens=7, output_tokens=9
    )


def test_a_whole_number_may_be_spelled_with_a_point() -> None:
    assert metered(usage(7.0, 9.0)).usage == Usage(prompt_tokens=7, output_tokens=9)


def test_without_usage_everything_is_estimated() -> None:
    meter = metered(*[delta(content="word ") for _ in range(10)], STOP, DONE)
    assert meter.usage is None
    assert meter.final_usage(100) == Usage(prompt_tokens=100, output_tokens=13, estimated=True)


def test_what_comes_after_the_last_report_is_put_on_top() -> None:
    reported = delta(content="abcd") | {"usage": usage(10, 1)["usage"]}
    meter = metered(reported, delta(content="abcd"), delta(content="abcd"))
    assert meter.output_tokens == 3
    assert meter.final_usage(99) == Usage(prompt_tokens=10, output_tokens=3, estimated=True)


def test_each_delta_is_a_token_at_least_and_long_ones_go_by_their_characters() -> None:
    assert metered(*[delta(content="x")] * 9).estimated_output_tokens == 9
    assert metered(delta(content="x" * 401)).estimated_output_tokens == 101
    assert metered(delta(content="漢" * 401)).estimated_output_tokens == 201


# --- ends -----------------------------------------------------------------------------------------------------------


def test_done_ends_a_stream() -> None:
    meter = ChatMeter()
    assert not meter.finished
    assert meter.observe(DONE) == Seen(terminal=True)
    assert meter.done
    assert meter.finished


def test_a_finish_reason_on_every_choice_ends_it_too() -> None:
    meter = metered(delta(0, finish_reason="stop"), n=2)
    assert not meter.finished
    meter.observe(event(delta(0, finish_reason="stop")))
    assert not meter.finished
    meter.observe(event(delta(1, finish_reason="length")))
    assert meter.finished
    assert not meter.done


def test_an_empty_finish_reason_is_none() -> None:
    assert not metered(delta(finish_reason="")).finished


@pytest.mark.parametrize(
    "error",
    [
        event({"error": {"message": "Tool choice is required", "code": "tool_use_failed"}}, "error"),
        event({"error": {"message": "overloaded", "type": "overloaded_error"}}),
        event({"message": "flat"}, "error"),
        event(b"not json", "error"),
    ],
    ids=["groq", "in data", "flat", "not json"],
)
def test_the_providers_own_error_is_terminal(error: SseEvent) -> None:
    meter = metered(delta(content="maybe"))
    assert meter.observe(error) == Seen(terminal=True, error=True)
    assert meter.error == error.data
    assert meter.finished
    assert meter.final_usage(50) == Usage(prompt_tokens=50, output_tokens=2, estimated=True)


def test_an_error_with_usage_keeps_the_usage() -> None:
    chunk = delta(content="") | usage(43, 10) | {"error": {"code": 400, "message": "Token limit reached"}}
    meter = metered(chunk, DONE)
    assert meter.error is not None
    assert meter.usage == Usage(prompt_tokens=43, output_tokens=10)


def test_an_error_that_is_null_is_none() -> None:
    assert ChatMeter().observe(event(delta(content="x") | {"error": None})) == Seen(content=True)


@pytest.mark.parametrize("data", [b"{", b"null", b"[]", b'{"choices":5}', b'{"choices":[1]}', b"\xff", b"[" * 100_000])
def test_what_cannot_be_read_is_taken_for_content(data: bytes) -> None:
    meter = ChatMeter()
    assert meter.observe(event(data)) == Seen(content=True, unreadable=True)
    assert meter.estimated_output_tokens >= 1


# --- identity -------------------------------------------------------------------------------------------------------


def test_the_first_id_and_model_that_are_not_empty_are_kept() -> None:
    meter = metered(
        {"id": "", "model": None}, {"id": "a", "model": "m", "service_tier": "default"}, {"id": "b", "model": "n"}
    )
    assert (meter.provider_id, meter.model, meter.service_tier) == ("a", "m", "default")
    assert metered({"id": 5, "model": []}).provider_id == ""


# --- properties -----------------------------------------------------------------------------------------------------

texts = st.text(max_size=30)
counts = st.one_of(st.none(), st.integers(-5, 10**20), st.floats(allow_nan=False, allow_infinity=False), texts)
chunks = st.one_of(
    texts.map(lambda text: delta(content=text)),
    texts.map(lambda text: delta(reasoning=text, content=None)),
    st.tuples(counts, counts).map(lambda pair: usage(*pair)),
    st.tuples(texts, counts, counts).map(lambda three: delta(content=three[0]) | {"usage": usage(*three[1:])["usage"]}),
    st.sampled_from(["stop", "length", None]).map(lambda reason: delta(finish_reason=reason)),
    st.just({"error": {"message": "x"}}),
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    ),
)  # fmt: skip


def facts(meter: ChatMeter) -> tuple[Any, ...]:
    return (
        meter.usage, meter.final_usage(17), meter.estimated_output_tokens, meter.output_tokens, meter.finished,
        meter.done, meter.error, meter.visible_output, meter.finish_reason, meter.provider_id, meter.model,
    )  # fmt: skip


@given(st.lists(chunks, max_size=8), st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]), st.lists(st.integers(0, 2_000)))
def test_the_result_is_the_same_however_the_bytes_are_cut(found: list[Any], end: str, cuts: list[int]) -> None:
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + end.encode() for chunk in found)
    results = []
    for places in ([], sorted(cut % (len(stream) + 1) for cut in cuts), range(len(stream))):
        parser, meter = SseParser(), ChatMeter()
        at = 0
        for place in [*places, len(stream)]:
            for each in parser.feed(stream[at:place]):
                meter.observe(each)
            at = place
        results.append(facts(meter))
    assert results[0] == results[1] == results[2]


@given(st.lists(chunks, max_size=12))
def test_the_count_never_falls_and_stays_within_what_may_be_charged(found: list[Any]) -> None:
    meter = ChatMeter()
    estimates = [0]
    for chunk in found:
        meter.observe(event(chunk))
        estimates.append(meter.estimated_output_tokens)
        final = meter.final_usage(5)
        assert 0 <= final.output_tokens <= TOKENS_MAX
        assert final.cached_tokens + final.cache_write_tokens <= final.prompt_tokens <= TOKENS_MAX
        assert final.reasoning_tokens <= final.output_tokens
    assert estimates == sorted(estimates)
