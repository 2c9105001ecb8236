"""Invented answers in OpenAI's Responses dialect: the same words as in a chat, told as its output items."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from gateway.replay.directions import Directions
from gateway.replay.request import ChatRequest
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.synthetic import ABSURD_TOKENS, CREATED, JSON, SSE, Token, spoken
from gateway.replay.text import number_from

Event = tuple[bytes, int]
"""Its bytes, and the output tokens that it brings."""
_encode: Final = msgspec.json.Encoder().encode


def synthesize_response(request: ChatRequest, directions: Directions, *, seed: int) -> Script:
    """The whole answer; it depends on nothing else."""
    seed = directions.seed if directions.seed is not None else seed
    tokens, finish, hidden = spoken(request, directions, number_from(seed, request.fingerprint, 0))
    prompt = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
    cached = min(directions.cached_tokens, prompt)
    usage = Tokens(
        prompt_tokens=prompt,
        cached_tokens=cached,
        cache_write_tokens=min(directions.cache_write_tokens, prompt - cached),
        output_tokens=len(tokens) + hidden,
        reasoning_tokens=hidden + sum(token.kind == "reasoning" for token in tokens),
    )
    response = _Response(request, directions, tokens, finish, usage, number=number_from(seed, request.fingerprint))
    return response.stream(hidden) if request.stream else response.whole()


class _Response:
    """Tokens, written as one body or as events."""

    def __init__(
        self,
        request: ChatRequest,
        directions: Directions,
        tokens: Sequence[Token],
        finish: str,
        usage: Tokens,
        *,
        number: int,
    ) -> None:
        self._model = request.model
        self._directions = directions
        self._runs = [(kind, call, [*run]) for (kind, call), run in groupby(tokens, key=_item_of)]
        self._short = finish == "length"
        self._usage = usage
        self._number = number
        self._id = f"resp_{number:016x}"
        self._sequence = 0

    def whole(self) -> Script:
        output = [self._item(at, kind, call, tokens) for at, (kind, call, tokens) in enumerate(self._runs)]
        told = self._directions.usage == "yes"
        body = _encode(self._envelope(self._status, output))
        return self._script(JSON, [(body, self._usage.output_tokens)], 0 if told else None, lead=0)

    def stream(self, hidden: int) -> Script:
        directions = self._directions
        events: list[Event] = [(b": the replay provider is thinking\n\n", 0)] * directions.comments
        begun = self._envelope("in_progress", [])
        events.append((self._event("response.created", response=begun), hidden))
        events.append((self._event("response.in_progress", response=begun), 0))
        lead = len(events)
        for at, (kind, call, tokens) in enumerate(self._runs):
            own = [*self._item_events(at, kind, call, tokens)]
            if at == 0:
                lead += 0 if kind == "function_call" else 2
            events += own
        usage_piece = None
        if directions.done == "yes":
            output = [self._item(at, kind, call, tokens) for at, (kind, call, tokens) in enumerate(self._runs)]
            usage_piece = len(events) if directions.usage == "yes" else None
            end = self._envelope(self._status, output)
            events.append((self._event(f"response.{self._status}", response=end), 0))
        return self._script(SSE, events, usage_piece, lead=lead)

    def _item_events(self, at: int, kind: str, call: int, tokens: list[Token]) -> Iterator[Event]:
        whole = self._item(at, kind, call, tokens)
        place = {"item_id": whole["id"], "output_index": at}
        texts = [token.text for token in tokens if token.kind != "call"]
        text = "".join(texts)
        named = sum(token.kind == "call" for token in tokens)
        begun: dict[str, Any] = {**whole, "status": "in_progress", **_EMPTY[kind]}
        yield self._event("response.output_item.added", output_index=at, item=begun), named
        told = _TOLD[kind]
        part: dict[str, Any] | None = {"type": _PART[kind], "text": ""} if kind != "function_call" else None
        if part is not None:
            part |= {"annotations": []} if kind == "message" else {}
            place["content_index"] = 0
            yield self._event("response.content_part.added", **place, part=part), 0
        size = 1 if self._directions.chunks is None else max(1, -(-len(texts) // self._directions.chunks))
        for start in range(0, len(texts), size):
            piece = texts[start : start + size]
            yield self._event(f"response.{told}.delta", **place, delta="".join(piece)), len(piece)
        if part is not None:
            yield self._event(f"response.{told}.done", **place, text=text), 0
            yield self._event("response.content_part.done", **place, part={**part, "text": text}), 0
        else:
            yield self._event(f"response.{told}.done", **place, name=whole["name"], arguments=text), 0
        yield self._event("response.output_item.done", output_index=at, item=whole), 0

    def _item(self, at: int, kind: str, call: int, tokens: Sequence[Token]) -> dict[str, Any]:
        text = "".join(token.text for token in tokens if token.kind != "call")
        number = f"{number_from(self._number, at):016x}"
        status = "incomplete" if self._short and at == len(self._runs) - 1 else "completed"
        if kind == "function_call":
            return {
                "id": f"fc_{number}",
                "type": kind,
                "status": status,
                "call_id": f"call_{number_from(self._number, call):016x}",
                "name": next((token.text for token in tokens if token.kind == "call"), "tool"),
                "arguments": text,
            }
        content: list[dict[str, Any]] = [{"type": _PART[kind], "text": text}]
        if kind == "reasoning":
            return {"id": f"rs_{number}", "type": kind, "status": status, "summary": [], "content": content}
        content[0] |= {"annotations": []}
        return {"id": f"msg_{number}", "type": kind, "status": status, "role": "assistant", "content": content}

    @property
    def _status(self) -> str:
        return "incomplete" if self._short else "completed"

    def _envelope(self, status: str, output: list[Any]) -> dict[str, Any]:
        ended = status != "in_progress"
        return {
            "id": self._id,
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": None,
            "metadata": {},
            "model": self._model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "service_tier": "default",
            "store": False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": self._usage_object() if ended and self._directions.usage != "no" else None,
        }

    def _usage_object(self) -> dict[str, Any]:
        usage = self._usage
        if self._directions.usage == "absurd":
            return {"input_tokens": -1, "output_tokens": ABSURD_TOKENS, "total_tokens": ABSURD_TOKENS}
        return {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
        }

    def _event(self, type: str, **fields: Any) -> bytes:
        event = {"type": type, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (type.encode(), _encode(event))

    def _script(
        self, headers: list[tuple[str, str]], events: list[Event], usage_piece: int | None, *, lead: int
    ) -> Script:
        return Script(
            id=self._id,
            model=self._model,
            headers=headers,
            streamed=headers is SSE,
            pieces=[piece for piece, _ in events],
            piece_tokens=[tokens for _, tokens in events],
            usage_piece=usage_piece,
            tokens=self._usage,
            lead=lead,
            dialect="openai-responses",
        )


_TOLD: Final = {
    "message": "output_text",
    "reasoning": "reasoning_text",
    "function_call": "function_call_arguments",
}
_PART: Final = {"message": "output_text", "reasoning": "reasoning_text"}
_EMPTY: Final[dict[str, dict[str, Any]]] = {
    "message": {"content": []},
    "reasoning": {"content": []},
    "function_call": {"arguments": ""},
}


def _item_of(token: Token) -> tuple[str, int]:
    match token.kind:
        case "content":
            return "message", 0
        case "reasoning":
            return "reasoning", 0
        case _:
            return "function_call", token.call
