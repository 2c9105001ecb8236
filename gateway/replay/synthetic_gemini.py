"""Invented answers in Gemini's dialects: the same words as in OpenAI's, told as parts of candidates; and vectors."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from gateway.replay.directions import Directions
from gateway.replay.request import ChatRequest
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.synthetic import ABSURD_TOKENS, JSON, SSE, Token, spoken
from gateway.replay.text import number_from

STOPS: Final = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
SIGNATURE: Final = "cmVwbGF5ZWQ="
DIMENSIONS: Final = 8
_encode: Final = msgspec.json.Encoder().encode

_Piece = tuple[int, list[dict[str, Any]], int]
"""Of which candidate, what it says, and how many tokens that is."""


def synthesize_gemini(request: ChatRequest, directions: Directions, *, seed: int) -> Script:
    """The whole answer; it depends on nothing else. A stream is told as events, or where those are not asked for (there
    is no `alt=sse`) as one JSON array."""
    seed = directions.seed if directions.seed is not None else seed
    candidates = [spoken(request, directions, number_from(seed, request.fingerprint, at)) for at in range(request.n)]
    hidden = sum(hidden for _, _, hidden in candidates)
    prompt = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
    shown = sum(token.kind == "reasoning" for tokens, _, _ in candidates for token in tokens)
    usage = Tokens(
        prompt_tokens=prompt,
        cached_tokens=min(directions.cached_tokens, prompt),
        output_tokens=sum(len(tokens) for tokens, _, _ in candidates) + hidden,
        reasoning_tokens=hidden + shown,
    )
    answer = _Answer(
        request,
        directions,
        [tokens for tokens, _, _ in candidates],
        [STOPS[finish] for _, finish, _ in candidates],
        usage,
        id=f"replayed{number_from(seed, request.fingerprint):016x}",
    )
    return answer.stream(hidden) if request.stream else answer.whole()


def synthesize_embeddings(request: ChatRequest, directions: Directions, *, seed: int, single: bool) -> Script:
    """Vectors that depend on nothing but their place."""
    vectors = [{"values": [((at + place) % 17 - 8) / 8 for place in range(DIMENSIONS)]} for at in range(request.n)]
    body: dict[str, Any] = {"embedding": vectors[0]} if single else {"embeddings": vectors}
    prompt = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
    if directions.usage == "yes":
        body["usageMetadata"] = {"promptTokenCount": prompt}
    return Script(
        id=f"embedded{number_from(seed, request.fingerprint):016x}",
        model=request.model,
        headers=JSON,
        streamed=False,
        pieces=[_encode(body)],
        piece_tokens=[0],
        usage_piece=0 if directions.usage == "yes" else None,
        tokens=Tokens(prompt_tokens=prompt),
        dialect="gemini-embed",
    )


class _Answer:
    """Tokens of candidates, written as one body, as events, or as one array of what the events would be."""

    def __init__(
        self,
        request: ChatRequest,
        directions: Directions,
        candidates: Sequence[Sequence[Token]],
        finishes: Sequence[str],
        usage: Tokens,
        *,
        id: str,
    ) -> None:
        self._request = request
        self._directions = directions
        self._candidates = candidates
        self._finishes = finishes
        self._usage = usage
        self._id = id

    def whole(self) -> Script:
        candidates = []
        for at, (tokens, finish) in enumerate(zip(self._candidates, self._finishes, strict=True)):
            parts = [part for _, said, _ in self._pieces(at, tokens, size=len(tokens) or 1) for part in said]
            candidates.append(_candidate(at, parts, finish))
        body = self._chunk(candidates, self._usage.output_tokens - self._usage.reasoning_tokens)
        return self._script(JSON, [_encode(body)], [self._usage.output_tokens], told_at=0, lead=0)

    def stream(self, hidden: int) -> Script:
        chunks: list[tuple[dict[str, Any], int]] = []
        size = 1
        if self._directions.chunks is not None:
            size = max(1, -(-max(map(len, self._candidates), default=1) // self._directions.chunks))
        told = [self._pieces(at, tokens, size=size) for at, tokens in enumerate(self._candidates)]
        said = 0
        for turn in range(max(map(len, told), default=0)):
            for pieces in told:
                if turn < len(pieces):
                    at, parts, tokens = pieces[turn]
                    thought = any(part.get("thought") for part in parts)
                    said += 0 if thought else tokens
                    chunks.append((self._chunk([_candidate(at, parts)], said), tokens))
        for at, finish in enumerate(self._finishes):
            chunks.append((self._chunk([_candidate(at, [{"text": ""}], finish)], said), hidden if at == 0 else 0))
        bodies = [_encode(chunk) for chunk, _ in chunks]
        tokens_of = [tokens for _, tokens in chunks]
        if not self._request.include_usage:
            array = b"[" + b",\r\n".join(bodies) + b"]"
            return self._script(JSON, [array], [sum(tokens_of)], told_at=0, lead=0)
        if self._directions.done == "no":
            bodies, tokens_of = bodies[: -len(self._finishes)], tokens_of[: -len(self._finishes)]
        comments = self._directions.comments
        events = [b": the replay provider is thinking\r\n\r\n"] * comments
        events += [b"data: " + body + b"\r\n\r\n" for body in bodies]
        told_at = len(events) - 1 if self._directions.done == "yes" else None
        return self._script(SSE, events, [0] * comments + tokens_of, told_at=told_at, lead=comments)

    def _pieces(self, at: int, tokens: Sequence[Token], *, size: int) -> list[_Piece]:
        pieces: list[_Piece] = []
        for (thought, call), run in groupby(tokens, key=_part_of):
            run_tokens = list(run)
            if call >= 0:
                pieces.append((at, [_call(run_tokens)], len(run_tokens)))
                continue
            for start in range(0, len(run_tokens), size):
                some = run_tokens[start : start + size]
                part: dict[str, Any] = {"text": "".join(token.text for token in some)}
                pieces.append((at, [part | {"thought": True} if thought else part], len(some)))
        return pieces

    def _chunk(self, candidates: list[Any], said: int) -> dict[str, Any]:
        chunk: dict[str, Any] = {"candidates": candidates}
        if self._directions.usage != "no":
            chunk["usageMetadata"] = self._usage_object(said)
        return chunk | {"modelVersion": self._request.model, "responseId": self._id}

    def _usage_object(self, said: int) -> dict[str, Any]:
        usage = self._usage
        if self._directions.usage == "absurd":
            return {"promptTokenCount": -1, "candidatesTokenCount": ABSURD_TOKENS, "totalTokenCount": ABSURD_TOKENS}
        told = {
            "promptTokenCount": usage.prompt_tokens,
            "candidatesTokenCount": said,
            "totalTokenCount": usage.prompt_tokens + said + usage.reasoning_tokens,
            "cachedContentTokenCount": usage.cached_tokens,
            "thoughtsTokenCount": usage.reasoning_tokens,
        }
        return {name: count for name, count in told.items() if count} | {"serviceTier": "standard"}

    def _script(
        self,
        headers: list[tuple[str, str]],
        pieces: list[bytes],
        piece_tokens: list[int],
        *,
        told_at: int | None,
        lead: int,
    ) -> Script:
        return Script(
            id=self._id,
            model=self._request.model,
            headers=headers,
            streamed=headers is SSE,
            pieces=pieces,
            piece_tokens=piece_tokens,
            usage_piece=told_at if self._directions.usage == "yes" else None,
            tokens=self._usage,
            lead=lead,
            dialect="gemini-generate",
        )


def _candidate(at: int, parts: list[dict[str, Any]], finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": at}
    return candidate if finish is None else candidate | {"finishReason": finish}


def _part_of(token: Token) -> tuple[bool, int]:
    return token.kind == "reasoning", token.call if token.kind in ("call", "arguments") else -1


def _call(tokens: Sequence[Token]) -> dict[str, Any]:
    name = next((token.text for token in tokens if token.kind == "call"), "tool")
    text = "".join(token.text for token in tokens if token.kind == "arguments")
    try:
        arguments = msgspec.json.decode(text)
    except msgspec.DecodeError:
        arguments = {}  # cut short by a limit
    return {"functionCall": {"name": name, "args": arguments}, "thoughtSignature": SIGNATURE}
