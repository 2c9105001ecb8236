"""The meter of a streamed response and the reader of a whole one: what was said, what was reported, how it ended."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.dialect import Kept
from gateway.core.openai_responses.answer import read_response
from gateway.core.openai_responses.meter import ResponsesMeter
from gateway.core.sse import SseParser
from gateway.core.usage import TOKENS_MAX, Usage

PROMPT = 77
"""Stands in for our estimate."""


def event(type: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), msgspec.json.encode({"type": type, **fields}))


def usage(prompt: int, output: int, *, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": prompt + output,
    }


CREATED = event("response.created", response={"id": "resp_1", "model": "m-2", "status": "in_progress", "usage": None})
ADDED = event("response.output_item.added", output_index=0, item={"type": "message", "content": []})


def says(delta: object, kind: str = "response.output_text.delta") -> bytes:
    return event(kind, delta=delta)


def completed(**fields: Any) -> bytes:
    return event("response.completed", response={"id": "resp_1", "model": "m-2", "status": "completed", **fields})


def metered(body: bytes, cuts: Sequence[int] = ()) -> tuple[ResponsesMeter, list[Any]]:
    parser, meter = SseParser(), ResponsesMeter(n=1)
    seen, at = [], 0
    for cut in (*cuts, len(body)):
        seen += [meter.observe(one) for one in parser.feed(body[at:cut])]
        at = cut
    return meter, seen


CALL = {"type": "function_call", "name": "look", "arguments": "x" * 396}


def item_done(**item: object) -> bytes:
    return event("response.output_item.done", output_index=0, item=item)


def test_what_is_kept_is_told_once() -> None:
    meter, _ = metered(CREATED + ADDED)
    assert meter.take_kept() == (Kept("response", "resp_1"),)
    assert meter.take_kept() == ()
    for event_ in SseParser().feed(item_done(type="message", id="msg_1") + completed(usage=usage(1, 1))):
        meter.observe(event_)
    assert meter.take_kept() == (Kept("item", "msg_1"),)


def test_what_no_piece_has_told_counts_by_its_item() -> None:
    meter, seen = metered(CREATED + item_done(**CALL))
    assert seen[-1].content
    assert meter.visible_output
    assert meter.estimated_output_tokens == 100
    assert meter.final_usage(PROMPT) == Usage(prompt_tokens=PROMPT, output_tokens=100, estimated=True)


def test_what_pieces_have_told_counts_once() -> None:
    body = says("a" * 400) + item_done(type="message", content=[{"type": "output_text", "text": "a" * 400}])
    meter, seen = metered(CREATED + ADDED + body)
    assert meter.estimated_output_tokens == 100
    assert not seen[-1].content


def test_reasoning_that_comes_encrypted_is_output() -> None:
    meter, _ = metered(CREATED + item_done(type="reasoning", summary=[], encrypted_content="g" * 5700))
    assert meter.estimated_output_tokens == 1000


def test_without_usage_the_last_event_may_say_what_none_before_it_did() -> None:
    meter, _ = metered(CREATED + completed(output=[CALL]))
    assert meter.final_usage(PROMPT) == Usage(prompt_tokens=PROMPT, output_tokens=100, estimated=True)
    meter, _ = metered(CREATED + item_done(**CALL) + completed(output=[CALL]))
    assert meter.estimated_output_tokens == 100


def test_the_last_event_reports_the_usage() -> None:
    meter, seen = metered(CREATED + ADDED + says("hello") + completed(usage=usage(25, 9, cached=3, reasoning=4)))
    assert meter.usage == Usage(prompt_tokens=25, cached_tokens=3, output_tokens=9, reasoning_tokens=4)
    assert meter.final_usage(PROMPT) == meter.usage
    assert (meter.provider_id, meter.model, meter.finish_reason) == ("resp_1", "m-2", "completed")
    assert (meter.done, meter.finished, meter.error) == (True, True, None)
    assert [one.content for one in seen] == [False, False, True, False]
    assert [one.terminal for one in seen] == [False, False, False, True]


def test_an_answer_that_was_cut_short_says_why() -> None:
    short = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "usage": usage(5, 6)}
    meter, _ = metered(says("hi") + event("response.incomplete", response=short))
    assert (meter.finished, meter.finish_reason) == (True, "max_output_tokens")
    assert meter.usage == Usage(prompt_tokens=5, output_tokens=6)


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_text.delta",
        "response.refusal.delta",
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.code_interpreter_call_code.delta",
        "response.something_new.delta",
    ],
)
def test_every_delta_is_content_and_counted(kind: str) -> None:
    meter, seen = metered(says("four" * 10, kind))
    assert seen[0].content
    assert meter.visible_output
    assert meter.estimated_output_tokens >= 10


def test_a_tool_that_begins_is_content_and_a_message_that_begins_is_not() -> None:
    for item, content in (
        ({"type": "function_call", "name": "get_weather", "arguments": ""}, True),
        ({"type": "web_search_call", "status": "in_progress"}, True),
        ({"type": "message", "content": []}, False),
        ({"type": "reasoning", "summary": []}, False),
        (None, False),
        (5, False),
    ):
        _, seen = metered(event("response.output_item.added", item=item))
        assert seen[0].content is content, item


def test_what_no_delta_told_is_counted_at_the_end_of_its_item_and_nothing_twice() -> None:
    patch = {"type": "apply_patch_call", "operation": {"diff": "x" * 400}}
    meter, seen = metered(event("response.output_item.done", item=patch))
    assert (seen[0].content, meter.estimated_output_tokens >= 100) == (True, True)
    before, _ = metered(says("hello"))
    message = {"type": "message", "content": [{"type": "output_text", "text": "hello"}]}
    after, _ = metered(says("hello") + event("response.output_item.done", item=message))
    assert after.estimated_output_tokens == before.estimated_output_tokens


def test_a_stream_without_an_end_is_not_finished_and_is_estimated() -> None:
    meter, _ = metered(CREATED + says("hello"))
    assert not meter.finished
    final = meter.final_usage(PROMPT)
    assert (final.prompt_tokens, final.estimated) == (PROMPT, True)
    assert final.output_tokens >= 1


def test_zeros_for_an_answer_that_said_something_are_no_report() -> None:
    meter, _ = metered(says("hello") + completed(usage=usage(0, 0)))
    assert meter.final_usage(PROMPT).estimated


@pytest.mark.parametrize("wrong", [None, -1, "7", 1.5, TOKENS_MAX + 1, True, [], {}])
def test_an_unbelievable_figure_is_none(wrong: object) -> None:
    for name in ("input_tokens", "output_tokens"):
        meter, _ = metered(says("hi") + completed(usage=usage(5, 6) | {name: wrong}))
        assert meter.usage is None
        assert meter.final_usage(PROMPT).estimated


ERRORS = [
    event("error", code="server_error", message="no"),
    event("error", error={"message": "no"}),
    event("response.failed", response={"id": "resp_1", "status": "failed", "error": {"message": "no"}}),
    b'data: {"error":{"message":"no"}}\n\n',
    b"event: error\ndata: no\n\n",
]


@pytest.mark.parametrize("told", ERRORS)
def test_an_error_ends_the_stream(told: bytes) -> None:
    meter, seen = metered(CREATED + told)
    assert meter.finished
    assert not meter.done
    assert meter.error is not None
    assert (seen[1].error, seen[1].terminal) == (True, True)


def test_a_failure_that_reports_a_usage_is_charged_by_it() -> None:
    failed = {"id": "resp_1", "status": "failed", "error": {"message": "no"}, "usage": usage(7, 2)}
    meter, _ = metered(CREATED + event("response.failed", response=failed))
    assert meter.final_usage(PROMPT) == Usage(prompt_tokens=7, output_tokens=2)


def test_done_of_servers_that_say_it_is_an_end() -> None:
    meter, seen = metered(says("hi") + b"data: [DONE]\n\n")
    assert meter.finished
    assert seen[1].terminal


WORDS = st.text(max_size=40)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, TOKENS_MAX + 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(
    [
        "response.created",
        "response.completed",
        "response.failed",
        "response.incomplete",
        "response.output_text.delta",
        "response.output_item.added",
        "response.output_item.done",
        "error",
        "?",
    ]
)


@given(
    st.lists(
        st.builds(
            lambda kind, fields: event(kind, **fields),
            TYPES,
            st.fixed_dictionaries(
                {},
                optional={
                    "response": st.dictionaries(
                        st.sampled_from(
                            ["id", "model", "usage", "status", "error", "service_tier", "incomplete_details", "output"]
                        ),
                        ODD,
                    ),
                    "delta": ODD,
                    "item": ODD,
                    "error": ODD,
                },
            ),
        )
        | st.binary(max_size=30).map(lambda junk: b"data: " + junk + b"\n\n"),
        max_size=8,
    ),
    st.data(),
)
def test_nothing_makes_it_raise_or_fall_and_cuts_change_nothing(events: list[bytes], data: st.DataObject) -> None:
    body = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    whole, seen = metered(body)
    cut, seen_cut = metered(body, cuts)
    assert seen == seen_cut
    assert whole.final_usage(PROMPT) == cut.final_usage(PROMPT)
    final = whole.final_usage(PROMPT)
    assert 0 <= final.output_tokens <= TOKENS_MAX
    assert 0 <= final.cached_tokens <= final.prompt_tokens


@given(st.binary(max_size=200) | ODD.map(msgspec.json.encode))
def test_no_answer_makes_the_reader_raise(body: bytes) -> None:
    answer = read_response(body)
    assert answer.final_usage(PROMPT).output_tokens >= 0


def test_a_whole_answer_says_its_usage_or_is_estimated_by_what_it_says() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "word " * 40}]}
    call = {"type": "function_call", "name": "get_weather", "arguments": '{"city":"Oslo"}', "call_id": "call_1"}
    body = {"id": "resp_1", "model": "m-2", "status": "completed", "output": [message, call]}
    told = read_response(msgspec.json.encode(body | {"usage": usage(5, 60)}))
    assert told.usage == Usage(prompt_tokens=5, output_tokens=60)
    assert (told.provider_id, told.model, told.finish_reason) == ("resp_1", "m-2", "completed")
    silent = read_response(msgspec.json.encode(body))
    assert silent.usage is None
    assert silent.output_tokens >= 50
