"""The meter of a streamed message and the reader of a whole one: what was said, what was reported, how it ended."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.anthropic_messages.answer import read_messages_answer
from gateway.core.anthropic_messages.meter import MessagesMeter
from gateway.core.sse import SseParser
from gateway.core.usage import TOKENS_MAX, Usage

PROMPT = 77
"""Stands in for our estimate."""


def event(type: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode({"type": type, **fields}))


def start(**usage: object) -> bytes:
    return event("message_start", message={"id": "msg_1", "model": "m-2", "usage": usage})


def says(**delta: object) -> bytes:
    return event("content_block_delta", index=0, delta=delta)


def delta(**usage: object) -> bytes:
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)


PING, STOP = event("ping"), event("message_stop")


def metered(body: bytes, cuts: Sequence[int] = ()) -> tuple[MessagesMeter, list[Any]]:
    parser, meter = SseParser(), MessagesMeter(n=1)
    seen, at = [], 0
    for cut in (*cuts, len(body)):
        seen += [meter.observe(one) for one in parser.feed(body[at:cut])]
        at = cut
    return meter, seen


def test_the_last_figure_of_each_kind_counts_and_null_is_none() -> None:
    body = start(input_tokens=10, cache_read_input_tokens=3, cache_creation_input_tokens=2, output_tokens=1)
    body += says(type="text_delta", text="hello") + delta(
        input_tokens=20, cache_read_input_tokens=None, output_tokens=9
    )
    meter, _ = metered(body + STOP)
    assert meter.usage == Usage(prompt_tokens=25, cached_tokens=3, cache_write_tokens=2, output_tokens=9)
    assert meter.final_usage(PROMPT) == meter.usage
    assert (meter.provider_id, meter.model, meter.finish_reason) == ("msg_1", "m-2", "end_turn")
    assert meter.finished


def test_what_was_written_for_an_hour_is_told_apart() -> None:
    kinds = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 5}
    body = start(input_tokens=1, cache_creation_input_tokens=8, cache_creation=kinds, output_tokens=1)
    meter, _ = metered(body + delta(output_tokens=2) + STOP)
    assert meter.usage == Usage(prompt_tokens=9, cache_write_tokens=8, cache_write_1h_tokens=5, output_tokens=2)


def test_a_stream_cut_short_has_its_prompt_reported_and_its_output_counted() -> None:
    meter, _ = metered(start(input_tokens=10, output_tokens=1) + says(type="text_delta", text="a" * 40))
    assert meter.usage is None
    assert meter.final_usage(PROMPT) == Usage(prompt_tokens=10, output_tokens=10, estimated=True)
    assert not meter.finished


def test_without_a_report_everything_is_estimated() -> None:
    meter, _ = metered(says(type="text_delta", text="a" * 40) + STOP)
    assert meter.final_usage(PROMPT) == Usage(prompt_tokens=PROMPT, output_tokens=10, estimated=True)


def test_what_comes_after_the_report_is_put_on_top() -> None:
    body = start(input_tokens=1, output_tokens=1) + delta(output_tokens=5) + says(type="text_delta", text="a" * 8)
    meter, _ = metered(body)
    assert meter.final_usage(PROMPT) == Usage(prompt_tokens=1, output_tokens=7, estimated=True)
    assert meter.output_tokens == 7


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (PING, False),
        (start(input_tokens=1), False),
        (event("content_block_start", index=0, content_block={"type": "text", "text": ""}), False),
        (event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}), False),
        (event("content_block_start", index=0, content_block={"type": "tool_use", "name": "look", "input": {}}), True),
        (event("content_block_start", index=0, content_block={"type": "redacted_thinking", "data": "x"}), True),
        (event("content_block_start", index=0, content_block={"type": "web_search_tool_result", "content": []}), True),
        (says(type="text_delta", text="hi"), True),
        (says(type="text_delta", text=""), False),
        (says(type="thinking_delta", thinking="hm"), True),
        (says(type="input_json_delta", partial_json="{"), True),
        (says(type="signature_delta", signature="s"), False),
        (says(type="citations_delta", citation={"url": "x"}), False),
        (event("content_block_stop", index=0), False),
        (delta(output_tokens=1), False),
        (event("not_known_yet", delta={"text": "hi"}), False),
        (b": a comment\n\n", False),
        (b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}\n\n', True),
        (b'event: content_block_delta\ndata: {"delta":{"type":"text_delta","text":"hi"}}\n\n', True),
        (b"event: content_block_delta\ndata: not JSON\n\n", True),
    ],
)
def test_what_commits(body: bytes, content: bool) -> None:
    meter, (seen,) = metered(body)
    assert (seen.content, seen.terminal, seen.usage_only) == (content, False, False)
    assert meter.visible_output == content


@pytest.mark.parametrize(
    "body",
    [
        event("error", error={"type": "overloaded_error", "message": "x"}),
        b'event: error\ndata: {"type":"ping"}\n\n',
        b'data: {"type":"error"}\n\n',
        b"event: error\ndata: not JSON\n\n",
    ],
)
def test_an_error_event_is_the_end(body: bytes) -> None:
    meter, (seen,) = metered(body)
    assert (seen.error, seen.terminal, seen.content) == (True, True, False)
    assert meter.finished
    assert meter.error is not None


def test_its_stop_is_the_end() -> None:
    meter, (seen,) = metered(STOP)
    assert (seen.terminal, seen.error, meter.done) == (True, False, True)


@pytest.mark.parametrize("odd", [-1, 2**62, True, "5", 1.5, None, [], {}])
def test_figures_that_cannot_be_are_not_believed(odd: object) -> None:
    body = start(input_tokens=odd, output_tokens=odd) + says(type="text_delta", text="hiho") + delta(output_tokens=odd)
    usage = metered(body + STOP)[0].final_usage(PROMPT)
    assert usage == Usage(prompt_tokens=PROMPT, output_tokens=1, estimated=True)


_FIGURES = st.one_of(st.integers(-5, TOKENS_MAX + 5), st.none(), st.text(max_size=2))
_EVENTS = st.one_of(
    st.builds(start, input_tokens=_FIGURES, output_tokens=_FIGURES, cache_read_input_tokens=_FIGURES),
    st.builds(lambda text: says(type="text_delta", text=text), st.text(max_size=20)),
    st.builds(lambda text: says(type="input_json_delta", partial_json=text), st.text(max_size=20)),
    st.builds(delta, output_tokens=_FIGURES, cache_creation_input_tokens=_FIGURES),
    st.sampled_from([PING, STOP, event("error", error={}), b"data: x\r\n\r\n", b": c\n\n"]),
)


@given(events=st.lists(_EVENTS, max_size=8), data=st.data())
def test_the_same_is_metered_however_the_bytes_are_cut(events: list[bytes], data: st.DataObject) -> None:
    body = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    (cut, cut_seen), (whole, seen) = metered(body, cuts), metered(body)
    assert cut_seen == seen
    for name in ("done", "error", "finish_reason", "usage", "output_tokens", "visible_output", "finished"):
        assert getattr(cut, name) == getattr(whole, name)
    final = cut.final_usage(PROMPT)
    assert final == whole.final_usage(PROMPT)
    assert 0 <= final.cache_write_1h_tokens <= final.cache_write_tokens
    assert final.cached_tokens + final.cache_write_tokens <= final.prompt_tokens <= TOKENS_MAX
    assert 0 <= final.reasoning_tokens <= final.output_tokens <= TOKENS_MAX


# --- whole ------------------------------------------------------------------------------------------------------------


def read(**fields: Any) -> Any:
    message = {
        "id": "msg_1",
        "model": "m-2",
        "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "a" * 40}],
    }
    return read_messages_answer(msgspec.json.encode({**message, **fields}))


def test_a_whole_answer_says_its_usage() -> None:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3, "service_tier": "standard"}
    answer = read(usage={**usage, "output_tokens_details": {"thinking_tokens": 2}})
    assert answer.usage == Usage(prompt_tokens=12, cached_tokens=7, output_tokens=3, reasoning_tokens=2)
    assert (answer.provider_id, answer.model, answer.finish_reason) == ("msg_1", "m-2", "end_turn")
    assert answer.service_tier == "standard"


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 5}, {"input_tokens": 0, "output_tokens": 0}, "x"])
def test_without_one_that_can_be_believed_what_it_says_is_counted(usage: object) -> None:
    answer = read(usage=usage)
    assert answer.usage is None
    assert answer.final_usage(PROMPT) == Usage(prompt_tokens=PROMPT, output_tokens=10, estimated=True)


def test_results_of_the_providers_tools_are_not_said() -> None:
    found = {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "title": "x" * 4000}]}
    assert read(content=[found]).output_tokens == 0
    assert read(content=[{"type": "tool_use", "name": "look", "input": {"where": "x" * 400}}]).output_tokens > 100


@given(body=st.binary(max_size=100))
def test_whatever_comes_is_read(body: bytes) -> None:
    assert read_messages_answer(body).output_tokens >= 0


def test_an_error_object_is_one() -> None:
    body = b'{"type":"error","error":{"type":"not_found_error","message":"x"}}'
    assert read_messages_answer(body).error
    assert read_messages_answer(body).usage is None
