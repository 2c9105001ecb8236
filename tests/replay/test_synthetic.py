"""Invented answers: their text has exactly the tokens that their usage reports."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replay.directions import Directions
from gateway.replay.request import read_chat_request
from gateway.replay.script import Script, repeated
from gateway.replay.synthetic import synthesize

TOOL = {
    "type": "function",
    "function": {
        "name": "tide_at",
        "parameters": {
            "type": "object",
            "properties": {"harbour": {"type": "string"}, "day": {"type": "string", "format": "date"}},
            "required": ["harbour", "day"],
        },
    },
}
OTHER_TOOL = {"type": "function", "function": {"name": "moor"}}


def script(directions: Directions | None = None, *, seed: int = 1, **fields: Any) -> Script:
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}], **fields}
    return synthesize(read_chat_request(json.dumps(asked).encode()), directions or Directions(), seed=seed)


def whole(*args: Any, **fields: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(b"".join(script(*args, **fields).pieces))
    return answer


def events(found: Script) -> list[dict[str, Any]]:
    lines = [piece for piece in found.pieces if piece.startswith(b"data: {")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def stream(*args: Any, **fields: Any) -> list[dict[str, Any]]:
    return events(script(*args, stream=True, stream_options={"include_usage": True}, **fields))


def said(chunks: list[dict[str, Any]], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_the_answer_echoes_what_was_asked() -> None:
    answer = whole()
    assert "Hello there" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["model"] == "gpt-4o"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert script().pieces == script().pieces
    assert script(seed=2).pieces != script().pieces
    assert script(Directions(seed=2)).pieces == script(seed=2).pieces


def test_a_repeated_question_gets_the_same_text_under_another_id() -> None:
    first, second = (repeated(script(stream=True), turn) for turn in (1, 2))
    assert first.id != second.id
    assert [said(events(first)), {event["id"] for event in events(first)}] == [said(events(second)), {first.id}]


def test_a_stream_says_what_the_whole_answer_says() -> None:
    # The request's own fingerprint knows `stream`, so only directed texts are comparable.
    directions = Directions(output_tokens=40)
    content = whole(directions)["choices"][0]["message"]["content"]
    assert len(content) == len(said(stream(directions))) == 160


@given(
    output=st.integers(0, 60),
    reasoning=st.integers(0, 20),
    visible=st.sampled_from(["yes", "no"]),
    chunks=st.none() | st.integers(1, 80),
    n=st.integers(1, 4),
    limit=st.none() | st.integers(1, 80),
)
def test_text_and_usage_agree(
    output: int, reasoning: int, visible: Any, chunks: int | None, n: int, limit: int | None
) -> None:
    reasoning = min(reasoning, output)
    directions = Directions(output_tokens=output, reasoning_tokens=reasoning, reasoning_text=visible, chunks=chunks)
    fields: dict[str, Any] = {"n": n} if limit is None else {"n": n, "max_tokens": limit}
    each = output if limit is None else min(output, limit)
    hidden = min(reasoning, each) if visible == "no" else 0
    found = script(directions, stream=True, stream_options={"include_usage": True}, **fields)
    assert sum(found.piece_tokens) == found.tokens.output_tokens == n * each
    parts = events(found)
    usage = parts[-1]["usage"]
    assert usage["completion_tokens"] == n * each
    text = "".join(
        (choice["delta"].get("content") or "") + (choice["delta"].get("reasoning_content") or "")
        for part in parts
        for choice in part["choices"]
    )
    assert len(text) == 4 * n * (each - hidden)
    finishes = [choice["finish_reason"] for part in parts for choice in part["choices"] if choice["finish_reason"]]
    assert finishes == ["length" if each < output else "stop"] * n
    answer = whole(directions, **fields)
    assert answer["usage"]["completion_tokens"] == n * each
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == n * min(reasoning, each)


def test_one_token_is_one_event_unless_chunks_says_otherwise() -> None:
    assert len(stream(Directions(output_tokens=30))) == 30 + 3
    assert len(stream(Directions(output_tokens=30, chunks=10))) == 10 + 3
    assert len(stream(Directions(output_tokens=30, chunks=1))) == 1 + 3


def test_the_limit_can_be_overshot_on_demand() -> None:
    answer = whole(Directions(output_tokens=30, overshoot="yes"), max_tokens=3)
    assert answer["usage"]["completion_tokens"] == 30


def test_usage_is_streamed_only_when_asked_for_and_allowed() -> None:
    assert all("usage" not in event for event in events(script(stream=True)))
    asked = stream()
    assert [event["usage"] is not None for event in asked] == [False] * (len(asked) - 1) + [True]
    assert asked[-1]["choices"] == []
    assert all(event["usage"] is None for event in stream(Directions(usage="no")))
    assert "usage" not in whole(Directions(usage="no"))
    assert whole(Directions(usage="absurd"))["usage"]["prompt_tokens"] == -1


def test_prompt_and_cache_counts_are_reported_as_directed() -> None:
    usage = whole(Directions(prompt_tokens=100, cached_tokens=60, cache_write_tokens=30))["usage"]
    assert usage["prompt_tokens"] == 100
    assert usage["prompt_tokens_details"] == {"cached_tokens": 60, "audio_tokens": 0, "cache_write_tokens": 30}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stream_ends_with_done_unless_told_not_to(streamed: bool) -> None:
    pieces = script(Directions(done="yes" if streamed else "no"), stream=True).pieces
    assert (pieces[-1] == b"data: [DONE]\n\n") is streamed


# --- tools ------------------------------------------------------------------------------------------------------------


def arguments(call: dict[str, Any]) -> Any:
    return json.loads(call["function"]["arguments"])


def test_the_first_tool_is_called_with_arguments_of_its_schema() -> None:
    choice = whole(tools=[TOOL, OTHER_TOOL])["choices"][0]
    [call] = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "tide_at"
    assert arguments(call) == {"harbour": "example", "day": "2026-01-02"}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"tool_choice": "none"}, []),
        ({"tool_choice": "required"}, ["tide_at"]),
        ({"tool_choice": {"type": "function", "function": {"name": "moor"}}}, ["moor"]),
        ({"tool_choice": {"type": "function", "function": {"name": "unknown"}}}, ["tide_at"]),
        ({"messages": [{"role": "tool", "tool_call_id": "1", "content": "{}"}]}, []),
    ],
)
def test_tool_choice_is_honoured(fields: dict[str, Any], names: list[str]) -> None:
    message = whole(tools=[TOOL, OTHER_TOOL], **fields)["choices"][0]["message"]
    assert [call["function"]["name"] for call in message.get("tool_calls", [])] == names
    assert (message["content"] is None) is bool(names)


def test_after_a_tool_its_result_is_echoed() -> None:
    result = {"role": "tool", "tool_call_id": "1", "content": "High water at six."}
    messages = [{"role": "user", "content": "When?"}, result]
    content = whole(tools=[TOOL], messages=messages)["choices"][0]["message"]["content"]
    assert "You said: “When?”. The tool said: “High water at six.”." in content


def test_parallel_calls_stream_in_order_and_add_up() -> None:
    found = script(Directions(tool_calls=3), stream=True, tools=[TOOL, OTHER_TOOL])
    calls: dict[int, dict[str, str]] = {}
    for event in events(found):
        for choice in event["choices"]:
            for delta in choice["delta"].get("tool_calls", []):
                call = calls.setdefault(delta["index"], {"name": delta["function"].get("name", ""), "arguments": ""})
                call["arguments"] += delta["function"]["arguments"]
    assert [call["name"] for call in calls.values()] == ["tide_at", "moor", "tide_at"]
    assert [json.loads(call["arguments"]) for call in calls.values()][1] == {}
    assert sum(found.piece_tokens) == found.tokens.output_tokens


def test_json_is_answered_where_json_is_demanded() -> None:
    free = whole(response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    assert isinstance(json.loads(free), dict)
    keys = [{"role": "user", "content": "Answer in JSON with 'setup' and 'punchline'."}]
    asked = whole(response_format={"type": "json_object"}, messages=keys)["choices"][0]["message"]["content"]
    assert json.loads(asked) == {"setup": "example", "punchline": "example"}
    schema = {"type": "object", "properties": {"boats": {"type": "integer"}}, "required": ["boats"]}
    form = {"type": "json_schema", "json_schema": {"name": "count", "schema": schema}}
    assert json.loads(whole(response_format=form)["choices"][0]["message"]["content"]) == {"boats": 1}
