"""Invented answers in Anthropic's dialect: the same words as in OpenAI's, told as its content blocks."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from gateway.replay.directions import Directions
from gateway.replay.request import ChatRequest
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.synthetic import ABSURD_TOKENS, JSON, SSE, Token, spoken
from gateway.replay.text import number_from

STOPS: Final = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
SIGNATURE: Final = "replayed"
_encode: Final = msgspec.json.Encoder().encode


def synthesize_message(request: ChatRequest, directions: Directions, *, seed: int) -> Script:
    """The whole answer; it depends on nothing else."""
    seed = directions.seed if directions.seed is not None else seed
    tokens, finish, hidden = spoken(request, directions, number_from(seed, request.fingerprint, 0))
    prompt = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
    cached = min(directions.cached_tokens, prompt)
    written = min(directions.cache_write_tokens, prompt - cached)
    usage = Tokens(
        prompt_tokens=prompt,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(directions.cache_write_1h_tokens, written),
        output_tokens=len(tokens) + hidden,
        reasoning_tokens=hidden + sum(token.kind == "reasoning" for token in tokens),
    )
    message = _Message(request, directions, tokens, STOPS[finish], usage, number=number_from(seed, request.fingerprint))
    return message.stream(hidden) if request.stream else message.whole()


class _Message:
    """Tokens, written as one body or as events."""

    def __init__(
        self,
        request: ChatRequest,
        directions: Directions,
        tokens: Sequence[Token],
        stop_reason: str,
        usage: Tokens,
        *,
        number: int,
    ) -> None:
        self._model = request.model
        self._directions = directions
        self._blocks = [(kind, call, [*run]) for (kind, call), run in groupby(tokens, key=_block_of)]
        self._stop_reason = stop_reason
        self._usage = usage
        self._number = number
        self._id = f"msg_{number:016x}"

    def whole(self) -> Script:
        content = []
        for kind, call, tokens in self._blocks:
            block = self._opened(kind, call, tokens)
            text = "".join(token.text for token in tokens if token.kind != "call")
            match kind:
                case "text":
                    block["text"] = text
                case "thinking":
                    block |= {"thinking": text, "signature": SIGNATURE}
                case _:
                    block["input"] = _decoded(text)
            content.append(block)
        body = self._envelope(content, self._stop_reason)
        if self._directions.usage != "no":
            body["usage"] = self._usage_object()
        told = self._directions.usage == "yes"
        return self._script(JSON, [_encode(body)], [self._usage.output_tokens], 0 if told else None, lead=0)

    def stream(self, hidden: int) -> Script:
        directions = self._directions
        events: list[tuple[bytes, int]] = [(b": the replay provider is thinking\n\n", 0)] * directions.comments
        message = self._envelope([], None)
        if directions.usage != "no":
            message["usage"] = {**self._usage_object(), "output_tokens": 1}
        events.append((_event("message_start", message=message), hidden))
        events.append((_event("ping"), 0))
        lead = len(events) + (bool(self._blocks) and self._blocks[0][0] != "tool_use")
        for index, (kind, call, tokens) in enumerate(self._blocks):
            events += self._block_events(index, kind, call, tokens)
        usage_piece = None
        delta: dict[str, Any] = {"delta": {"stop_reason": self._stop_reason, "stop_sequence": None}}
        if directions.usage != "no":
            delta["usage"] = self._usage_object()
            usage_piece = len(events) if directions.usage == "yes" else None
        events.append((_event("message_delta", **delta), 0))
        if directions.done == "yes":
            events.append((_event("message_stop"), 0))
        pieces, tokens_of = [piece for piece, _ in events], [tokens for _, tokens in events]
        return self._script(SSE, pieces, tokens_of, usage_piece, lead=lead)

    def _block_events(self, index: int, kind: str, call: int, tokens: list[Token]) -> Iterator[tuple[bytes, int]]:
        block = self._opened(kind, call, tokens)
        named = sum(token.kind == "call" for token in tokens)
        yield _event("content_block_start", index=index, content_block=block), named
        texts = [token.text for token in tokens if token.kind != "call"]
        size = 1 if self._directions.chunks is None else max(1, -(-len(texts) // self._directions.chunks))
        for at in range(0, len(texts), size):
            delta = _delta(kind, "".join(texts[at : at + size]))
            yield _event("content_block_delta", index=index, delta=delta), len(texts[at : at + size])
        if kind == "thinking":
            delta = {"type": "signature_delta", "signature": SIGNATURE}
            yield _event("content_block_delta", index=index, delta=delta), 0
        yield _event("content_block_stop", index=index), 0

    def _opened(self, kind: str, call: int, tokens: Sequence[Token]) -> dict[str, Any]:
        match kind:
            case "text":
                return {"type": "text", "text": ""}
            case "thinking":
                return {"type": "thinking", "thinking": "", "signature": ""}
            case _:
                name = next((token.text for token in tokens if token.kind == "call"), "tool")
                return {
                    "type": "tool_use",
                    "id": f"toolu_{number_from(self._number, call):016x}",
                    "name": name,
                    "input": {},
                }

    def _envelope(self, content: list[Any], stop_reason: str | None) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }

    def _usage_object(self) -> dict[str, Any]:
        usage = self._usage
        if self._directions.usage == "absurd":
            return {"input_tokens": -1, "output_tokens": ABSURD_TOKENS}
        return {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": usage.cache_write_tokens - usage.cache_write_1h_tokens,
                "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
            "service_tier": "standard",
        }

    def _script(
        self,
        headers: list[tuple[str, str]],
        pieces: list[bytes],
        piece_tokens: list[int],
        usage_piece: int | None,
        *,
        lead: int,
    ) -> Script:
        return Script(
            id=self._id,
            model=self._model,
            headers=headers,
            streamed=headers is SSE,
            pieces=pieces,
            piece_tokens=piece_tokens,
            usage_piece=usage_piece,
            tokens=self._usage,
            lead=lead,
            dialect="anthropic-messages",
        )


def _block_of(token: Token) -> tuple[str, int]:
    match token.kind:
        case "content":
            return "text", 0
        case "reasoning":
            return "thinking", 0
        case _:
            return "tool_use", token.call


def _delta(kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "text":
            return {"type": "text_delta", "text": text}
        case "thinking":
            return {"type": "thinking_delta", "thinking": text}
        case _:
            return {"type": "input_json_delta", "partial_json": text}


def _event(type: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (type.encode(), _encode({"type": type, **fields}))


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}  # cut short by a limit
