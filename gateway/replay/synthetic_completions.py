"""Text completions invented on the spot: the words of a chat, each prompt with its own."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.replay.directions import Directions
from gateway.replay.request import N_MAX, BadRequest, ChatRequest, fingerprint, number_of, object_of
from gateway.replay.script import Script
from gateway.replay.sent import Tokens
from gateway.replay.synthetic import ABSURD_TOKENS, CREATED, DONE, JSON, SSE, spoken
from gateway.replay.text import number_from, tokens_of

DEFAULT_LIMIT: Final = 16
_encode: Final = msgspec.json.Encoder().encode


class CompletionsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that decide an answer."""

    model: str
    stream: bool
    include_usage: bool
    prompts: list[str]
    prompt_tokens: int
    n: int
    best_of: int
    """Outputs of each prompt that are made; `n` of them are shown."""
    limit: int
    echo: bool
    fingerprint: int


def read_completions_request(body: bytes) -> CompletionsRequest:
    """Raises BadRequest."""
    fields = object_of(body)
    prompts, prompt_tokens = _prompts(fields.get("prompt"))
    limit = number_of(fields, "max_tokens", 0, 2**31 - 1)
    n = number_of(fields, "n", 1, N_MAX) or 1
    options = fields.get("stream_options")
    return CompletionsRequest(
        model=fields["model"],
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        prompts=prompts,
        prompt_tokens=prompt_tokens,
        n=n,
        best_of=max(n, number_of(fields, "best_of", 1, N_MAX) or 1),
        limit=DEFAULT_LIMIT if limit is None else limit,
        echo=fields.get("echo") is True,
        fingerprint=fingerprint(fields),
    )


def _prompts(prompt: object) -> tuple[list[str], int]:
    """Token numbers have no text here."""
    if prompt is None:
        return [""], 0
    if isinstance(prompt, str):
        return [prompt], len(tokens_of(prompt))
    if not isinstance(prompt, list) or not prompt:
        raise BadRequest("prompt must be a text or an array.", "prompt")
    if isinstance(prompt[0], int):
        return [""], len(prompt)
    texts = [each if isinstance(each, str) else "" for each in prompt]
    return texts, sum(len(tokens_of(each)) if isinstance(each, str) else len(each) for each in prompt)


def synthesize_completion(request: CompletionsRequest, directions: Directions, *, seed: int) -> Script:
    """The whole answer; it depends on nothing else."""
    seed = directions.seed if directions.seed is not None else seed
    shown: list[tuple[str, list[str], str]] = []
    made = 0
    for place, prompt in enumerate(request.prompts):
        for index in range(request.best_of):
            number = number_from(seed, request.fingerprint, place, index)
            tokens, finish, hidden = spoken(_as_chat(request, prompt), directions, number)
            made += len(tokens) + hidden
            if index < request.n:
                shown.append((prompt if request.echo else "", [token.text for token in tokens], finish))
    prompt_tokens = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
    usage = Tokens(
        prompt_tokens=prompt_tokens, cached_tokens=min(directions.cached_tokens, prompt_tokens), output_tokens=made
    )
    answer = _Answer(request, directions, shown, usage, number_from(seed, request.fingerprint))
    return answer.stream() if request.stream else answer.whole()


def _as_chat(request: CompletionsRequest, prompt: str) -> ChatRequest:
    return ChatRequest(
        model=request.model,
        stream=request.stream,
        include_usage=False,
        n=1,
        limit=request.limit,
        prompt_tokens=0,
        prompt=prompt,
        after_tool=False,
        tools=[],
        tool_choice="none",
        response_format={},
        fingerprint=request.fingerprint,
    )


class _Answer:
    """Outputs of texts, written as one body or as events."""

    def __init__(
        self,
        request: CompletionsRequest,
        directions: Directions,
        shown: list[tuple[str, list[str], str]],
        usage: Tokens,
        number: int,
    ) -> None:
        self._request = request
        self._directions = directions
        self._shown = shown
        """What is echoed, what is said and how it ends."""
        self._usage = usage
        self._id = f"cmpl-{number:016x}"

    def whole(self) -> Script:
        choices = [
            _choice(index, echoed + "".join(texts), finish) for index, (echoed, texts, finish) in enumerate(self._shown)
        ]
        body = self._envelope(choices)
        if self._directions.usage != "no":
            body["usage"] = self._usage_object()
        return self._script([_encode(body)], [self._usage.output_tokens], 0)

    def stream(self) -> Script:
        pieces = [b": the replay provider is thinking\n\n"] * self._directions.comments
        counts = [0] * self._directions.comments
        lead = len(pieces)
        for index, (echoed, texts, finish) in enumerate(self._shown):
            if echoed:
                pieces.append(self._event(_choice(index, echoed, None)))
                counts.append(0)
            size = 1 if self._directions.chunks is None else max(1, -(-len(texts) // self._directions.chunks))
            for at in range(0, len(texts), size):
                run = texts[at : at + size]
                pieces.append(self._event(_choice(index, "".join(run), None)))
                counts.append(len(run))
            pieces.append(self._event(_choice(index, "", finish)))
            counts.append(0)
        usage_piece = None
        if self._request.include_usage and self._directions.usage != "no":
            usage_piece = len(pieces)
            pieces.append(b"data: " + _encode({**self._envelope([]), "usage": self._usage_object()}) + b"\n\n")
            counts.append(0)
        if self._directions.done == "yes":
            pieces.append(DONE)
            counts.append(0)
        return self._script(pieces, counts, usage_piece, lead)

    def _script(self, pieces: list[bytes], counts: list[int], usage_piece: int | None, lead: int = 0) -> Script:
        return Script(
            id=self._id,
            model=self._request.model,
            headers=SSE if self._request.stream else JSON,
            streamed=self._request.stream,
            pieces=pieces,
            piece_tokens=counts,
            usage_piece=usage_piece if self._directions.usage == "yes" else None,
            tokens=self._usage,
            dialect="openai-completions",
            lead=lead,
        )

    def _event(self, choice: Mapping[str, Any]) -> bytes:
        usage = {"usage": None} if self._request.include_usage else {}
        return b"data: " + _encode({**self._envelope([choice]), **usage}) + b"\n\n"

    def _envelope(self, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": CREATED,
            "model": self._request.model,
            "choices": choices,
        }

    def _usage_object(self) -> dict[str, Any]:
        if self._directions.usage == "absurd":
            return {"prompt_tokens": -1, "completion_tokens": ABSURD_TOKENS, "total_tokens": ABSURD_TOKENS - 1}
        usage = self._usage
        return {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        }


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
