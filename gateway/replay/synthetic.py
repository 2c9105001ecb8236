"""Answers invented on the spot: what the request asks for, or exactly what its `x-replay-…` headers direct.

Every output token is four characters of text (the last of a text may be shorter), one token an event, so that a
receiver can compare what it read with what it was told.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, Final, Literal

import msgspec

from gateway.replay.directions import Directions
from gateway.replay.heard import Heard
from gateway.replay.request import ChatRequest
from gateway.replay.schema_example import example
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.text import number_from, tokens_of, words
from gateway.replay.tool_calls import tool_calls

CREATED: Final = 1_767_225_600
"""One instant for every answer, so that the same seed gives the same bytes."""
FINGERPRINT: Final = "fp_replay"
ABSURD_TOKENS: Final = 2**62
JSON: Final = [("content-type", "application/json")]
SSE: Final = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
DONE: Final = b"data: [DONE]\n\n"

Kind = Literal["content", "reasoning", "call", "arguments"]
_encode: Final = msgspec.json.Encoder().encode


class Token(msgspec.Struct, frozen=True):
    """One output token of one choice."""

    kind: Kind
    text: str
    call: int = 0
    """Of a tool call: which, from 0."""


def synthesize(request: ChatRequest, directions: Directions, *, seed: int) -> Script:
    """The whole answer; it depends on nothing else."""
    seed = directions.seed if directions.seed is not None else seed
    choices: list[list[Token]] = []
    finishes: list[str] = []
    hidden = 0
    for index in range(request.n):
        tokens, finish, hidden = spoken(request, directions, number_from(seed, request.fingerprint, index))
        choices.append(tokens)
        finishes.append(finish)
    number = number_from(seed, request.fingerprint)
    answer = _Answer(request, directions, choices, finishes, hidden_tokens=hidden * request.n, number=number)
    return answer.stream() if request.stream else answer.whole()


def spoken(request: ChatRequest, directions: Directions, seed: int) -> tuple[list[Token], str, int]:
    """What one choice says within the request's limit, how it ends (as OpenAI names it), and how many of its tokens are
    hidden."""
    limit = request.limit if directions.overshoot == "no" else None
    wanted_hidden = 0 if directions.reasoning_text == "yes" else directions.reasoning_tokens
    hidden = wanted_hidden if limit is None else min(wanted_hidden, limit)
    tokens = _tokens(request, directions, seed)
    room = len(tokens) if limit is None else limit - hidden
    whole = hidden == wanted_hidden and room >= len(tokens)
    finish = "tool_calls" if any(token.kind == "call" for token in tokens) else "stop"
    return tokens[:room], finish if whole else "length", hidden


def _tokens(request: ChatRequest, directions: Directions, seed: int) -> list[Token]:
    """What one choice says, visible reasoning included."""
    reasoning = [Token("reasoning", text) for text in words(directions.reasoning_tokens, seed)]
    shown = reasoning if directions.reasoning_text == "yes" else []
    calls = tool_calls(request, directions)
    if calls:
        return shown + [token for call, (name, told) in enumerate(calls) for token in _call_tokens(call, name, told)]
    if directions.output_tokens is not None:
        texts = words(directions.output_tokens - directions.reasoning_tokens, seed)
    elif request.response_format.get("type") in ("json_object", "json_schema"):
        texts = tokens_of(_encode(_formatted(request, seed)).decode())
    else:
        texts = tokens_of(_friendly(request, seed))
    return shown + [Token("content", text) for text in texts]


def _call_tokens(call: int, name: str, arguments: str) -> list[Token]:
    return [Token("call", name, call), *(Token("arguments", text, call) for text in tokens_of(arguments))]


def _formatted(request: ChatRequest, seed: int) -> Any:
    """What the demanded schema allows; without one an object with the keys that the question quotes."""
    heard = Heard(request.prompt)
    schema = request.response_format.get("json_schema")
    if isinstance(schema, dict):
        return example(schema.get("schema"), heard)
    return dict.fromkeys(heard.texts(), "example") or {"answer": "replayed", "seed": seed % 97}


def _friendly(request: ChatRequest, seed: int) -> str:
    luck = "".join(words(6, seed)).strip()
    told = [("You said", request.prompt), ("The tool said", request.result)]
    said = "".join(f"{who}: “{' '.join(text.split())[:200]}”. " for who, text in told if text.strip())
    return f"This is the replay provider, no model was asked. {said}A few words of its own: {luck}."


class _Answer:
    """Choices of tokens, written as one body or as events."""

    def __init__(
        self,
        request: ChatRequest,
        directions: Directions,
        choices: Sequence[Sequence[Token]],
        finishes: Sequence[str],
        *,
        hidden_tokens: int,
        number: int,
    ) -> None:
        self._request = request
        self._directions = directions
        self._choices = choices
        self._finishes = finishes
        self._number = number
        self._id = f"chatcmpl-{number:016x}"
        self._hidden = hidden_tokens
        prompt = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
        self._usage = Tokens(
            prompt_tokens=prompt,
            cached_tokens=min(directions.cached_tokens, prompt),
            cache_write_tokens=min(directions.cache_write_tokens, prompt),
            output_tokens=sum(map(len, choices)) + hidden_tokens,
            reasoning_tokens=hidden_tokens + sum(token.kind == "reasoning" for each in choices for token in each),
        )

    def whole(self) -> Script:
        choices = [
            {"index": index, "message": self._message(tokens), "logprobs": None, "finish_reason": finish}
            for index, (tokens, finish) in enumerate(zip(self._choices, self._finishes, strict=True))
        ]
        body = self._envelope("chat.completion", choices)
        if self._directions.usage != "no":
            body["usage"] = self._usage_object()
        return Script(
            id=self._id,
            model=self._request.model,
            headers=JSON,
            streamed=False,
            pieces=[_encode(body)],
            piece_tokens=[self._usage.output_tokens],
            usage_piece=0 if self._directions.usage == "yes" else None,
            tokens=self._usage,
        )

    def stream(self) -> Script:
        pieces: list[bytes] = [b": the replay provider is thinking\n\n"] * self._directions.comments
        tokens: list[int] = [0] * self._directions.comments
        before, after = self._event_frame()
        for index in range(len(self._choices)):
            role = _encode({"role": "assistant", "content": "", "refusal": None})
            pieces.append(before + b"%d" % index + b',"delta":' + role + b',"finish_reason":null}]' + after)
            tokens.append(self._hidden if index == 0 else 0)
        # Choices take turns, as they do where a model writes them at once.
        events = [self._events(index, tokens) for index, tokens in enumerate(self._choices)]
        for turn in range(max(map(len, events), default=0)):
            for choice in events:
                if turn < len(choice):
                    delta, count = choice[turn]
                    pieces.append(before + delta + after)
                    tokens.append(count)
        for index, finish in enumerate(self._finishes):
            pieces.append(before + b'%d,"delta":{},"finish_reason":"%b"}]' % (index, finish.encode()) + after)
            tokens.append(0)
        usage_piece = None
        if self._request.include_usage and self._directions.usage != "no":
            usage_piece = len(pieces)
            chunk = {**self._envelope("chat.completion.chunk", []), "usage": self._usage_object()}
            pieces.append(b"data: " + _encode(chunk) + b"\n\n")
            tokens.append(0)
        if self._directions.done == "yes":
            pieces.append(DONE)
            tokens.append(0)
        return Script(
            id=self._id,
            model=self._request.model,
            headers=SSE,
            streamed=True,
            pieces=pieces,
            piece_tokens=tokens,
            usage_piece=usage_piece if self._directions.usage == "yes" else None,
            tokens=self._usage,
            lead=self._directions.comments + len(self._choices),
        )

    def _event_frame(self) -> tuple[bytes, bytes]:
        """Everything of an event but its choice's index, delta and finish_reason."""
        frame = _encode(self._envelope("chat.completion.chunk", []))
        before = b"data: " + frame[: -len(b"]}")] + b'{"index":'
        return before, (b',"usage":null}\n\n' if self._request.include_usage else b"}\n\n")

    def _events(self, index: int, tokens: Sequence[Token]) -> list[tuple[bytes, int]]:
        size = 1 if self._directions.chunks is None else max(1, -(-len(tokens) // self._directions.chunks))
        events = []
        for (kind, call), run in groupby(tokens, key=lambda token: (token.kind, token.call)):
            texts = [token.text for token in run]
            for at in range(0, len(texts), size):
                text = "".join(texts[at : at + size])
                delta = _encode(self._delta(kind, text, index, call))
                event = b'%d,"delta":%b,"finish_reason":null}]' % (index, delta)
                events.append((event, len(texts[at : at + size])))
        return events

    def _delta(self, kind: Kind, text: str, index: int, call: int) -> dict[str, Any]:
        match kind:
            case "content":
                return {"content": text}
            case "reasoning":
                return {"reasoning_content": text}
            case "call":
                function = {"name": text, "arguments": ""}
                opened = {"index": call, "id": self._call_id(index, call), "type": "function", "function": function}
                return {"tool_calls": [opened]}
            case "arguments":
                return {"tool_calls": [{"index": call, "function": {"arguments": text}}]}

    def _message(self, tokens: Iterable[Token]) -> dict[str, Any]:
        tokens = list(tokens)
        content = "".join(token.text for token in tokens if token.kind == "content")
        message: dict[str, Any] = {"role": "assistant", "content": content or None, "refusal": None}
        if reasoning := "".join(token.text for token in tokens if token.kind == "reasoning"):
            message["reasoning_content"] = reasoning
        calls: list[dict[str, Any]] = []
        for token in tokens:
            if token.kind == "call":
                function = {"name": token.text, "arguments": ""}
                calls.append({"id": self._call_id(0, token.call), "type": "function", "function": function})
            elif token.kind == "arguments":
                calls[-1]["function"]["arguments"] += token.text
        if calls:
            message["tool_calls"] = calls
        elif not content:
            message["content"] = ""
        return message

    def _call_id(self, index: int, call: int) -> str:
        return f"call_{number_from(self._number, index, call):016x}"

    def _envelope(self, object: str, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": object,
            "created": CREATED,
            "model": self._request.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }

    def _usage_object(self) -> dict[str, Any]:
        usage = self._usage
        if self._directions.usage == "absurd":
            return {"prompt_tokens": -1, "completion_tokens": ABSURD_TOKENS, "total_tokens": ABSURD_TOKENS - 1}
        prompt_details = {"cached_tokens": usage.cached_tokens, "audio_tokens": 0}
        if usage.cache_write_tokens:
            prompt_details["cache_write_tokens"] = usage.cache_write_tokens
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
            "prompt_tokens_details": prompt_details,
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
