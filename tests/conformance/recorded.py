"""Recorded calls: those that are shipped, and where RECORDINGS_DIR is set, real traffic as well."""

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.core.usage import Usage
from gateway.replay.recordings import OWN_RECORDINGS


class Recorded(NamedTuple):
    id: str
    host: str
    request: dict[str, Any]
    status: int
    streamed: bool
    body: bytes
    path: str = ""

    @property
    def choices(self) -> int:
        return self.request.get("n") or 1


def recorded(kind: str = "openai-chat") -> Iterator[Recorded]:
    """Every one of the kind, in the order of the files."""
    folders = [OWN_RECORDINGS, *([Path(os.environ["RECORDINGS_DIR"])] if os.environ.get("RECORDINGS_DIR") else [])]
    for path in sorted(path for folder in folders for path in folder.glob(f"{kind}.jsonl*")):
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in text.splitlines():
            row = json.loads(line)
            streamed = row["headers"].get("content-type", "").startswith("text/event-stream")
            yield Recorded(
                row["id"],
                row.get("host", ""),
                row["request"],
                row["status"],
                streamed,
                row["body"].encode(),
                row.get("path", ""),
            )


def own_usage(row: Recorded) -> dict[str, Any] | None:
    """The usage that the answer itself states, found with the standard library only."""
    if not row.streamed:
        return json.loads(row.body).get("usage")  # type: ignore[no-any-return]
    stated = [chunk["usage"] for chunk in _chunks(row) if chunk.get("usage")]
    return stated[-1] if stated else None


def states_an_error(row: Recorded) -> bool:
    """Whether a stream ends with the provider's own error event."""
    return any(chunk.get("error") for chunk in _chunks(row))


def _chunks(row: Recorded) -> list[dict[str, Any]]:
    lines = row.body.decode().replace("\r\n", "\n").split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


def expected_usage(stated: dict[str, Any]) -> Usage:
    details = stated.get("prompt_tokens_details") or {}
    cached = details.get("cached_tokens") or stated.get("num_cached_tokens") or stated.get("cached_tokens") or 0
    reasoning = (stated.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    return Usage(
        prompt_tokens=stated["prompt_tokens"],
        cached_tokens=cached,
        cache_write_tokens=details.get("cache_write_tokens") or 0,
        output_tokens=stated["completion_tokens"],
        reasoning_tokens=min(reasoning, stated["completion_tokens"]),
    )


# --- Anthropic's dialect ----------------------------------------------------------------------------------------------


def messages_usage(row: Recorded) -> Usage | None:
    """What the answer itself states, found with the standard library only: the last figure of each kind."""
    stated: dict[str, Any] = {}
    objects = _chunks(row) if row.streamed else [json.loads(row.body)]
    for said in objects:
        for usage in (said.get("usage"), (said.get("message") or {}).get("usage")):
            stated |= {name: value for name, value in (usage or {}).items() if value is not None}
    if not stated:
        return None
    cached, written = stated.get("cache_read_input_tokens", 0), stated.get("cache_creation_input_tokens", 0)
    return Usage(
        prompt_tokens=stated["input_tokens"] + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=stated.get("cache_creation", {}).get("ephemeral_1h_input_tokens", 0),
        output_tokens=stated["output_tokens"],
        reasoning_tokens=stated.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )


def names_what_is_stored(row: Recorded) -> bool:
    """Files, containers of an earlier call: other organisations' as well as one's own, by an id alone."""
    request = row.request
    said = json.dumps([request["messages"], request.get("system")])
    stored = '"type": "file"' in said or '"container_upload"' in said
    return stored or isinstance(request.get("container"), str)


def asks_another_model(row: Recorded) -> bool:
    """By one of its tools."""
    return any(tool.get("model", row.request["model"]) != row.request["model"] for tool in row.request.get("tools", []))


# --- Gemini's dialects ------------------------------------------------------------------------------------------------

_GEMINI_CALL = re.compile(r"models/([^/:]+):([A-Za-z]+)")
_STORED_FILE = re.compile(r'"file_?[Uu]ri": "(?:gs://|https://generativelanguage\.)')


def gemini_call(row: Recorded) -> tuple[str, str]:
    """The model and what is asked of it, as its address says."""
    named = _GEMINI_CALL.search(row.path)
    assert named is not None, row.path
    return named[1], named[2]


def gemini_usage(row: Recorded) -> Usage | None:
    """What the answer itself states: the last figure of each kind."""
    objects = _chunks(row) if row.streamed else [json.loads(row.body)]
    stated: dict[str, Any] = {}
    for said in objects:
        stated |= said.get("usageMetadata") or {}
    if not stated:
        return None
    thoughts = stated.get("thoughtsTokenCount", 0)
    return Usage(
        prompt_tokens=stated["promptTokenCount"] + stated.get("toolUsePromptTokenCount", 0),
        cached_tokens=stated.get("cachedContentTokenCount", 0),
        output_tokens=stated.get("candidatesTokenCount", 0) + thoughts,
        reasoning_tokens=thoughts,
    )


def names_what_is_stored_at_google(row: Recorded) -> bool:
    """Files, caches, stores to search."""
    said = json.dumps(row.request)
    return "cachedContent" in row.request or _STORED_FILE.search(said) is not None or '"fileSearch"' in said


# --- OpenAI's Responses -----------------------------------------------------------------------------------------------


def responses_usage(row: Recorded) -> Usage | None:
    """What the answer itself states, found with the standard library only."""
    objects = [chunk.get("response") or {} for chunk in _chunks(row)] if row.streamed else [json.loads(row.body)]
    stated = [usage for said in objects if (usage := said.get("usage"))]
    if not stated:
        return None
    inputs, outputs = stated[-1].get("input_tokens_details") or {}, stated[-1].get("output_tokens_details") or {}
    return Usage(
        prompt_tokens=stated[-1]["input_tokens"],
        cached_tokens=inputs.get("cached_tokens") or 0,
        cache_write_tokens=inputs.get("cache_write_tokens") or 0,
        output_tokens=stated[-1]["output_tokens"],
        reasoning_tokens=outputs.get("reasoning_tokens") or 0,
    )


def is_not_ready(row: Recorded) -> bool:
    """A response that goes on in the background, or that was called off there."""
    return not row.streamed and json.loads(row.body).get("status") in ("queued", "in_progress", "cancelled")
