"""Invented answers in Gemini's dialects: their text has exactly the tokens that their usage reports, however told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replay.directions import Directions
from gateway.replay.gemini_request import read_counted, read_embed_request, read_gemini_request
from gateway.replay.request import BadRequest
from gateway.replay.script import Script
from gateway.replay.synthetic_gemini import synthesize_embeddings, synthesize_gemini

TOOL = {
    "functionDeclarations": [
        {"name": "tide_at", "parameters": {"type": "OBJECT", "properties": {"harbour": {"type": "STRING"}}}}
    ]
}


def script(directions: Directions | None = None, *, action: str = "generateContent", **fields: Any) -> Script:
    asked = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}], **fields}
    request = read_gemini_request(json.dumps(asked).encode(), "m", action, events=action.endswith("?sse"))
    return synthesize_gemini(request, directions or Directions(), seed=1)


def stream(directions: Directions | None = None, **fields: Any) -> list[Any]:
    asked = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}], **fields}
    request = read_gemini_request(json.dumps(asked).encode(), "m", "streamGenerateContent", events=True)
    found = synthesize_gemini(request, directions or Directions(), seed=1)
    assert found.streamed
    lines = [piece for piece in found.pieces if piece.startswith(b"data: {")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def said(chunks: list[Any], at: int = 0) -> str:
    candidates = [each for chunk in chunks for each in chunk["candidates"] if each["index"] == at]
    return "".join(part.get("text", "") for each in candidates for part in each["content"]["parts"])


@given(
    output=st.integers(1, 40),
    reasoning=st.integers(0, 40),
    shown=st.booleans(),
    n=st.integers(1, 3),
    limit=st.none() | st.integers(1, 50),
    pieces=st.none() | st.integers(1, 8),
)
def test_every_way_to_tell_it_says_the_same_and_reports_it(
    output: int, reasoning: int, shown: bool, n: int, limit: int | None, pieces: int | None
) -> None:
    directions = Directions(
        output_tokens=max(output, reasoning),
        reasoning_tokens=reasoning,
        reasoning_text="yes" if shown else "no",
        chunks=pieces,
    )
    config: dict[str, Any] = {"candidateCount": n}
    if limit is not None:
        config["maxOutputTokens"] = limit
    events = stream(directions, generationConfig=config)
    whole = json.loads(script(directions, generationConfig=config).pieces[0])
    array = json.loads(script(directions, action="streamGenerateContent", generationConfig=config).pieces[0])
    # A stream's question has another fingerprint, and so other words, but as many.
    for at in range(n):
        assert said(events, at) == said(array, at)
        assert len(said(events, at)) == len(said([whole], at))
    used = [chunks[-1]["usageMetadata"] for chunks in (events, array, [whole])]
    assert used[0] == used[1] == used[2]
    tokens = max(output, reasoning) if limit is None else min(limit, max(output, reasoning))
    assert used[0].get("candidatesTokenCount", 0) + used[0].get("thoughtsTokenCount", 0) == n * tokens
    assert used[0]["totalTokenCount"] == used[0]["promptTokenCount"] + n * tokens


def test_a_tool_is_called_and_its_result_is_answered_in_words() -> None:
    answer = json.loads(script(tools=[TOOL]).pieces[0])
    (part,) = answer["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["name"] == "tide_at"
    result = {"role": "user", "parts": [{"functionResponse": {"name": "tide_at", "response": {}}}]}
    assert said([json.loads(script(tools=[TOOL], contents=[result]).pieces[0])])
    none = {"functionCallingConfig": {"mode": "NONE"}}
    assert said([json.loads(script(tools=[TOOL], toolConfig=none).pieces[0])])


def test_embeddings_are_as_many_as_were_asked_for() -> None:
    one = {"content": {"parts": [{"text": "hello"}]}}
    for action, body, count in (
        ("embedContent", one, 1),
        ("batchEmbedContents", {"requests": [one] * 3}, 3),
    ):
        request = read_embed_request(json.dumps(body).encode(), "m", action)
        found = synthesize_embeddings(request, Directions(), seed=1, single=action == "embedContent")
        answer = json.loads(found.pieces[0])
        assert len(answer.get("embeddings") or [answer["embedding"]]) == count
        assert answer["usageMetadata"]["promptTokenCount"] == found.tokens.prompt_tokens


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"contents":[]}'])
def test_what_it_cannot_use_it_says(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_gemini_request(body, "m", "generateContent", events=False)
    with pytest.raises(BadRequest):
        read_counted(body)
    with pytest.raises(BadRequest):
        read_embed_request(body, "m", "embedContent")
