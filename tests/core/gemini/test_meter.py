"""The meter of a streamed answer and the reader of a whole one: what was said, what was reported, how it ended."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.gemini.answer import read_generate_answer
from gateway.core.gemini.embed import read_embed_answer
from gateway.core.gemini.meter import GenerateMeter
from gateway.core.sse import SseParser
from gateway.core.usage import TOKENS_MAX, Usage
from tests.relay.gemini import ERROR, end, event, says_part, text

PROMPT = 77
"""Stands in for our estimate."""


def metered(body: bytes, cuts: Sequence[int] = (), *, n: int = 1) -> tuple[GenerateMeter, list[Any]]:
    parser, meter = SseParser(), GenerateMeter(n=n)
    seen, at = [], 0
    for cut in (*cuts, len(body)):
        seen += [meter.observe(one) for one in parser.feed(body[at:cut])]
        at = cut
    return meter, seen


def test_the_last_figure_of_each_kind_counts_and_what_is_missing_is_none() -> None:
    body = text("hello", promptTokenCount=10, cachedContentTokenCount=4, thoughtsTokenCount=6)
    body += text(" you", promptTokenCount=12, candidatesTokenCount=2)
    body += end(promptTokenCount=12, candidatesTokenCount=3, toolUsePromptTokenCount=5)
    meter, _ = metered(body)
    assert meter.usage == Usage(prompt_tokens=17, cached_tokens=4, output_tokens=9, reasoning_tokens=6)
    assert meter.final_usage(PROMPT) == meter.usage
    assert (meter.provider_id, meter.model, meter.finish_reason) == ("r1", "plain-001", "STOP")
    assert meter.finished
    assert not meter.done


def test_what_comes_after_the_last_report_is_put_on_top_of_it() -> None:
    meter, _ = metered(text("hello", promptTokenCount=10, candidatesTokenCount=5) + text("a" * 40))
    assert meter.final_usage(PROMPT).output_tokens == meter.output_tokens == 15
    assert meter.final_usage(PROMPT).estimated
    assert not meter.finished


@pytest.mark.parametrize(
    "used",
    [
        {},
        {"promptTokenCount": None},
        {"promptTokenCount": -1, "candidatesTokenCount": 2**62},
        {"promptTokenCount": "9", "candidatesTokenCount": True},
        {"promptTokenCount": 1.5},
        {"totalTokenCount": 9},
    ],
)
def test_what_is_not_believable_is_not_reported(used: dict[str, Any]) -> None:
    meter, _ = metered(text("a" * 40, **used))
    assert meter.usage is None
    usage = meter.final_usage(PROMPT)
    assert (usage.prompt_tokens, usage.output_tokens, usage.estimated) == (PROMPT, 10, True)


def test_no_output_beside_an_answer_is_estimated_and_the_prompt_is_as_reported() -> None:
    usage = metered(text("a" * 40, promptTokenCount=9) + end(promptTokenCount=9))[0].final_usage(PROMPT)
    assert (usage.prompt_tokens, usage.output_tokens, usage.estimated) == (9, 10, True)


def test_a_stream_of_several_candidates_ends_with_the_last_of_them() -> None:
    first, second = (says_part({"text": "x"}, finish="STOP", index=at) for at in (0, 1))
    assert not metered(first, n=2)[0].finished
    assert not metered(first + first, n=2)[0].finished
    assert metered(first + second, n=2)[0].finished
    assert not metered(says_part({"text": "x"}, finish="FINISH_REASON_UNSPECIFIED"))[0].finished


@pytest.mark.parametrize(
    ("part", "content", "tokens"),
    [
        ({"text": ""}, False, 0),
        ({"text": "", "thoughtSignature": "s" * 400}, False, 0),
        ({"text": "a" * 40, "thought": True}, True, 10),
        ({"functionCall": {"name": "look", "args": {"at": "b" * 36}}}, True, 10),
        ({"executableCode": {"language": "PYTHON", "code": "c" * 34}}, True, 10),
        ({"codeExecutionResult": {"output": "d" * 400}}, True, 0),
        ({"toolResponse": {"response": {"x": "d" * 400}}}, True, 0),
        ({"inlineData": {"mimeType": "image/png", "data": "A" * 4000}}, True, 3),
    ],
)
def test_what_bears_content_and_what_is_output(part: dict[str, Any], content: bool, tokens: int) -> None:
    meter, (seen,) = metered(says_part(part))
    assert (seen.content, meter.visible_output, meter.estimated_output_tokens) == (content, content, tokens)


def test_an_error_is_the_end() -> None:
    meter, seen = metered(text("hi", promptTokenCount=1, candidatesTokenCount=1) + ERROR)
    assert (seen[-1].error, seen[-1].terminal, meter.finished) == (True, True, True)
    assert meter.error is not None
    assert metered(b"event: error\ndata: nonsense\n\n")[0].error == b"nonsense"


def test_the_tier_that_answered() -> None:
    assert metered(event(usageMetadata={"serviceTier": "PRIORITY"}))[0].service_tier == "priority"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=4) | st.floats(allow_nan=False, width=16),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["candidates", "content", "parts", "text", "index", "finishReason", "usageMetadata", "functionCall"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId", "error"), ODD
    ),
)


@given(st.lists(CHUNKS | ODD, max_size=6), st.data())
def test_no_stream_makes_it_raise_nor_depends_on_its_cuts(chunks: list[Any], data: st.DataObject) -> None:
    body = b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8).map(sorted))
    whole, cut = metered(body)[0], metered(body, cuts)[0]
    assert whole.final_usage(PROMPT) == cut.final_usage(PROMPT)
    usage = whole.final_usage(PROMPT)
    assert 0 <= usage.prompt_tokens <= TOKENS_MAX
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= TOKENS_MAX
    assert 0 <= usage.cached_tokens <= usage.prompt_tokens
    assert usage.output_tokens or not whole.estimated_output_tokens


@given(ODD | st.lists(CHUNKS, max_size=4) | CHUNKS)
def test_no_answer_makes_the_readers_raise(answer: Any) -> None:
    for read in (read_generate_answer, read_embed_answer):
        read(msgspec.json.encode(answer))
        read(msgspec.json.encode(answer)[:-1])
