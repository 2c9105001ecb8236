"""What Bedrock really answered, through litellm and the gateway: its own figures are charged, event streams too.

One answer is always there; where RECORDINGS_DIR is set, those of many model families are.
"""

import base64
import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.bedrock import Bedrock, usage
from tests.translator.conftest import MODEL, Open


class Row(NamedTuple):
    id: str
    streamed: bool
    body: bytes

    @property
    def usage(self) -> dict[str, int]:
        """Found in the bytes, whatever frames they are in."""
        at = self.body.rindex(b'"usage":') + len(b'"usage":')
        told, _ = json.JSONDecoder().raw_decode(self.body[at:].decode("utf-8", "replace").lstrip())
        assert isinstance(told, dict)
        return told


def rows() -> Iterator[Row]:
    content = [{"text": "Hello"}]
    message = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    yield Row("made up", False, json.dumps({**message, "usage": usage(3, 2, cacheReadInputTokens=5)}).encode())
    if folder := os.environ.get("RECORDINGS_DIR"):
        with gzip.open(Path(folder) / "bedrock-converse.jsonl.gz", "rt") as lines:
            for row in map(json.loads, lines):
                if row["status"] == 200:
                    encoded = row.get("body_encoding") == "base64"
                    body = base64.b64decode(row["body"]) if encoded else row["body"].encode()
                    yield Row(row["id"], row["path"].endswith("stream"), body)


async def test_recorded_answers_are_charged_by_what_they_state(translating: Open, bedrock: Bedrock) -> None:
    road = await translating(credits="10000")
    told: list[tuple[str, int, int]] = []
    for row in rows():
        bedrock.played = row.body
        request: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        answer = await road.ask({**request, "stream": row.streamed})
        assert answer.status == 200, (row.id, answer.body)
        if row.streamed:
            assert answer.events[-1] == b"[DONE]", row.id
        stated = row.usage
        prompt = sum(stated.get(name, 0) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"))
        told.append((row.id, prompt, stated["outputTokens"]))

    books = await road.books()
    assert [(id, each.prompt_tokens, each.output_tokens) for (id, *_), each in zip(told, books, strict=True)] == told
    assert {each.ended for each in books} == {"ok"}
