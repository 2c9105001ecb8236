"""Recorded answers of real providers (or of our own making), found by id or by what was asked.

The format is one JSON object a line, gzipped or not: id, kind, request, status, headers, body (text exactly as it came,
or base64 with `body_encoding`), and fields that we do not need.
"""

import base64
import gzip
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, Self

import msgspec

from gateway.core.dialect import DialectName
from gateway.replay.gemini_request import gemini_fingerprint
from gateway.replay.request import fingerprint
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.synthetic_unstreamed import UNSTREAMED

OWN_RECORDINGS: Final = Path(__file__).parent / "recordings"
CHAT: Final = "openai-chat"
MESSAGES: Final = "anthropic-messages"
RESPONSES: Final = "openai-responses"
COUNTS: Final = "anthropic-count-tokens"
GEMINI: Final = "gemini-generate"
_MATCHED: Final = (CHAT, MESSAGES, RESPONSES, COUNTS, GEMINI, "openai-completions", *UNSTREAMED)
"""Kinds that are found by what was asked."""
_CHATS: Final = (CHAT, MESSAGES, RESPONSES, GEMINI)

_CALL: Final = re.compile(r"models/([^/:]+):([A-Za-z]+)")
_EVENT_ENDS: Final = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)|(?<=\r\r)")


class RecordingBroken(ValueError):
    """A file of recordings has a line that is none. Names the file and the line."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: str
    request: dict[str, Any]
    body: str
    path: str = ""
    status: int = 200
    headers: dict[str, str] = {}
    body_encoding: str | None = None

    @property
    def body_bytes(self) -> bytes:
        return base64.b64decode(self.body) if self.body_encoding == "base64" else self.body.encode()

    @property
    def model(self) -> str:
        model = self.request.get("model")
        if self.kind == GEMINI:
            named = _CALL.search(self.path)
            model = named[1] if named is not None else ""
        return model if isinstance(model, str) else ""

    @property
    def fingerprint(self) -> int:
        """Of what was asked."""
        if self.kind == GEMINI:
            named = _CALL.search(self.path)
            return gemini_fingerprint(self.request, named[2] if named is not None else "")
        return fingerprint(self.request)


class Question(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def fingerprint(self) -> int: ...


class Recordings:
    """All recordings of some folders, indexed. Several answers to one question are given in turn."""

    def __init__(self) -> None:
        self._by_id: dict[str, Recording] = {}
        self._by_question: defaultdict[int, list[Recording]] = defaultdict(list)
        self._turns: defaultdict[tuple[int, str], int] = defaultdict(int)

    @classmethod
    def load(cls, *folders: Path) -> Self:
        """Read `*.jsonl` and `*.jsonl.gz` of each folder, sorted by name. Raises RecordingBroken, OSError."""
        recordings = cls()
        for folder in folders:
            for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
                for recording in _read(path):
                    recordings._add(recording)
        return recordings

    def __len__(self) -> int:
        return len(self._by_id)

    def models(self) -> list[str]:
        return sorted({each.model for each in self._by_id.values() if each.kind in _CHATS and each.model})

    def by_id(self, id: str) -> Recording | None:
        return self._by_id.get(id)

    def by_question(self, request: Question, kind: str = CHAT) -> Recording | None:
        """A recorded call that asked the same, of the same model where there is one; the next of several."""
        asked = [each for each in self._by_question.get(request.fingerprint, ()) if each.kind == kind]
        if not asked:
            return None
        same = [each for each in asked if each.model == request.model]
        candidates = same or asked
        key = (request.fingerprint, request.model if same else "")
        turn = self._turns[key]
        self._turns[key] = turn + 1
        return candidates[turn % len(candidates)]

    def rewind(self) -> None:
        """Begin again with the first of several answers."""
        self._turns.clear()

    def _add(self, recording: Recording) -> None:
        self._by_id[recording.id] = recording
        if recording.kind in _MATCHED:
            self._by_question[recording.fingerprint].append(recording)


def script_of(recording: Recording) -> Script:
    """The recorded answer, byte for byte."""
    body = recording.body_bytes
    headers = [(name.lower(), value) for name, value in recording.headers.items()]
    streamed = "event-stream" in dict(headers).get("content-type", "")
    pieces = [piece for piece in _EVENT_ENDS.split(body) if piece] if streamed else [body]
    tokens: Tokens | None = None
    usage_piece = None
    answer_id = ""
    piece_tokens = []
    for position, piece in enumerate(pieces):
        said = _object(_data(piece) if streamed else piece)
        answer_id = answer_id or str(said.get("id") or said.get("responseId") or "")
        if recording.kind == MESSAGES:
            message = said.get("message")
            answer_id = answer_id or (str(message.get("id", "")) if isinstance(message, dict) else "")
            piece_tokens.append(int(said.get("type") == "content_block_delta"))
            found = messages_usage(said, tokens)
            final = said.get("type") != "message_start"
        elif recording.kind == RESPONSES:
            inner = said.get("response")
            response = inner if isinstance(inner, dict) else said
            answer_id = answer_id or str(response.get("id") or "")
            piece_tokens.append(int(str(said.get("type")).endswith(".delta")))
            found, final = _responses_usage(response), True
        elif recording.kind == GEMINI or "usageMetadata" in said:
            piece_tokens.append(int("candidates" in said))
            found, final = gemini_usage(said, tokens), True
        else:
            piece_tokens.append(int(_has_content(said)) if streamed else 0)
            found, final = _usage(said), True
        if found is not None:
            tokens, usage_piece = found, position if final else usage_piece
    return Script(
        id=answer_id,
        model=recording.model,
        status=recording.status,
        headers=headers,
        streamed=streamed,
        pieces=pieces,
        piece_tokens=piece_tokens,
        usage_piece=usage_piece,
        tokens=tokens or Tokens(),
        dialect=_DIALECTS.get(recording.kind, "openai-chat"),
        recorded=True,
    )


_DIALECTS: Final[Mapping[str, DialectName]] = {
    MESSAGES: "anthropic-messages",
    COUNTS: "anthropic-messages",
    RESPONSES: "openai-responses",
    GEMINI: "gemini-generate",
}


def _read(path: Path) -> Iterator[Recording]:
    decode = msgspec.json.Decoder(Recording).decode
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise RecordingBroken(f"{path}:{number}: {error}") from error


def _data(event: bytes) -> bytes:
    lines = re.split(rb"\r\n|\n|\r", event)
    return b"\n".join(line[5:].lstrip(b" ") for line in lines if line.startswith(b"data:"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return said if isinstance(said, dict) else {}


def _has_content(said: Mapping[str, Any]) -> bool:
    choices = said.get("choices")
    if not isinstance(choices, list):
        return False
    choices = [choice for choice in choices if isinstance(choice, dict)]
    if any(choice.get("text") for choice in choices):
        return True
    deltas = [choice.get("delta") for choice in choices]
    marks = ("content", "reasoning", "reasoning_content", "refusal", "tool_calls")
    return any(isinstance(delta, dict) and any(delta.get(mark) for mark in marks) for delta in deltas)


def _usage(said: Mapping[str, Any]) -> Tokens | None:
    usage = said.get("usage")
    if not isinstance(usage, dict):
        groq = said.get("x_groq")
        usage = groq.get("usage") if isinstance(groq, dict) else None
    if not isinstance(usage, dict):
        return _billed_units(said)
    if "completion_tokens" not in usage:  # embeddings and rankings; Voyage has a total alone
        return Tokens(prompt_tokens=usage.get("prompt_tokens") or usage.get("total_tokens") or 0)
    prompt = usage.get("prompt_tokens_details") or {}
    output = usage.get("completion_tokens_details") or {}
    return Tokens(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or usage.get("num_cached_tokens") or 0,
        cache_write_tokens=prompt.get("cache_write_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        reasoning_tokens=output.get("reasoning_tokens") or 0,
    )


def _responses_usage(response: Mapping[str, Any]) -> Tokens | None:
    usage = response.get("usage")
    if not isinstance(usage, dict):
        return None
    prompt, output = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
    return Tokens(
        prompt_tokens=usage.get("input_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or 0,
        cache_write_tokens=prompt.get("cache_write_tokens") or 0,
        output_tokens=usage.get("output_tokens") or 0,
        reasoning_tokens=output.get("reasoning_tokens") or 0,
    )


def _billed_units(said: Mapping[str, Any]) -> Tokens | None:
    """Cohere's."""
    meta = said.get("meta")
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    if not isinstance(billed, dict):
        return None
    return Tokens(prompt_tokens=(billed.get("input_tokens") or 0) + (billed.get("image_tokens") or 0))


def messages_usage(said: Mapping[str, Any], before: Tokens | None) -> Tokens | None:
    """Of an answer, or of an event of a stream and those `before` it: each field counts as it was said last."""
    message = said.get("message")
    usage = message.get("usage") if isinstance(message, dict) else said.get("usage")
    if not isinstance(usage, dict):
        return None
    before = before or Tokens()
    cached = _int(usage.get("cache_read_input_tokens"), before.cached_tokens)
    written = _int(usage.get("cache_creation_input_tokens"), before.cache_write_tokens)
    fresh = _int(usage.get("input_tokens"), before.prompt_tokens - before.cached_tokens - before.cache_write_tokens)
    kinds = usage.get("cache_creation") or {}
    details = usage.get("output_tokens_details") or {}
    return Tokens(
        prompt_tokens=fresh + cached + written,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=_int(kinds.get("ephemeral_1h_input_tokens"), before.cache_write_1h_tokens),
        output_tokens=_int(usage.get("output_tokens"), before.output_tokens),
        reasoning_tokens=_int(details.get("thinking_tokens"), before.reasoning_tokens),
    )


def gemini_usage(said: Mapping[str, Any], before: Tokens | None) -> Tokens | None:
    """Likewise. What tools had the model read is beside the prompt, thoughts beside what is said."""
    usage = said.get("usageMetadata")
    if not isinstance(usage, dict):
        return None
    before = before or Tokens()
    thoughts = _int(usage.get("thoughtsTokenCount"), before.reasoning_tokens)
    said_tokens = _int(usage.get("candidatesTokenCount"), before.output_tokens - before.reasoning_tokens)
    return Tokens(
        prompt_tokens=_int(usage.get("promptTokenCount"), 0) + _int(usage.get("toolUsePromptTokenCount"), 0),
        cached_tokens=_int(usage.get("cachedContentTokenCount"), before.cached_tokens),
        output_tokens=said_tokens + thoughts,
        reasoning_tokens=thoughts,
    )


def _int(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) else otherwise
