"""A whole answer of Anthropic's messages as a chat completion."""

from typing import Any, Final

import msgspec

from gateway.core.translation.citations import annotation
from gateway.core.translation.fields import Fields, Losses, Translated, read_body, reading_answer
from gateway.core.translation.reasoning import detail_of, readable_text
from gateway.core.translation.stop_reasons import finish_reason
from gateway.core.translation.turns_to_chat import THINKING, place_of, read_call, read_thinking
from gateway.core.translation.usage import MessagesUsage

SERVICE_TIER: Final = {"standard": "default", "priority": "priority"}
"""Of an answer."""

_SAID: Final = ("text", "tool_use", *THINKING)
_ANY: Final = msgspec.json.Decoder(dict[str, Any])
_ANYS: Final = msgspec.json.Decoder(list[dict[str, Any]])


def answer_to_chat(body: bytes, *, created: int, in_pieces: bool = False) -> Translated:
    """`created` is the answer's time in seconds since 1970, which the messages dialect does not tell. `in_pieces`: for
    the way on to another dialect, what one chat message would say in another order is several choices of index 0.

    What a chat cannot say (blocks of tools that the provider ran) is left out and listed: an answer that was paid for
    is not refused. Raises UnreadableAnswer.
    """
    losses = Losses(drop=True)
    with reading_answer():
        message = read_body(body, losses)
        out = _translate(message, created, losses, in_pieces=in_pieces)
        message.ignore("type", "role")
        message.close()
        return Translated(msgspec.json.encode(out), losses.dropped)


def _translate(message: Fields, created: int, losses: Losses, *, in_pieces: bool) -> dict[str, Any]:
    pieces = [_Said(losses)]
    message.required("content", message.peek("content"))
    for block in message.take_objects("content"):
        kind = block.take_text("type") or ""
        if in_pieces and pieces[-1].is_past(kind):
            pieces.append(_Said(losses))
        pieces[-1].add(kind, block)
    stop = message.take_text("stop_reason") or ""
    ends = ending(stop, message.take("stop_sequence"))
    details = message.take_object("stop_details")
    explanation = details.take_text("explanation") if details is not None else None
    if in_pieces and explanation and pieces[-1].is_past("text"):
        pieces.append(_Said(losses))
    choices = [{"index": 0, "message": said.message(), "logprobs": None, **ends} for said in pieces]
    choices[-1]["message"]["refusal"] = explanation
    usage = MessagesUsage()
    raw = message.take("usage")
    reported = _ANY.decode(raw) if raw is not None else {}
    usage.add(reported)
    if reported.get("iterations"):
        losses.add("usage.iterations")
    out: dict[str, Any] = {
        "id": message.take_text("id") or "",
        "object": "chat.completion",
        "created": created,
        "model": message.take_text("model") or "",
        "choices": choices,
        "usage": usage.as_chat(),
    }
    if usage.service_tier in SERVICE_TIER:
        out["service_tier"] = SERVICE_TIER[usage.service_tier]
    return out


def ending(stop_reason: str, stop_sequence: object) -> dict[str, Any]:
    """Why it stopped, as the fields of a choice. Beside OpenAI's reason stands Anthropic's own, as OpenRouter names it,
    and the sequence that was met, as vLLM does."""
    ends: dict[str, Any] = {"finish_reason": finish_reason(stop_reason), "native_finish_reason": stop_reason or None}
    if stop_sequence is not None:
        ends["stop_reason"] = stop_sequence
    return ends


class _Said:
    """The blocks of an answer, sorted into the fields of a message."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self._texts: list[str] = []
        self._text_chars = 0
        self._thought: list[dict[str, Any]] = []
        self._calls: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._place = 0

    def is_past(self, kind: str) -> bool:
        """Whether a block would be said before what is there already."""
        return kind in _SAID and place_of(kind) < self._place

    def add(self, kind: str, block: Fields) -> None:
        self._place = place_of(kind) if kind in _SAID else self._place
        if kind == "text":
            self._add_text(block)
        elif kind in THINKING:
            self._thought.append(read_thinking(kind, block))
        elif kind == "tool_use":
            self._calls.append(read_call(block))
        else:
            block.lose_all(kind)

    def _add_text(self, block: Fields) -> None:
        text = block.required("text", block.take_text("text"))
        start, self._text_chars = self._text_chars, self._text_chars + len(text)
        self._texts.append(text)
        if (raw := block.take("citations")) is not None:
            for at, citation in enumerate(_ANYS.decode(raw)):
                made = annotation(citation, start, self._text_chars)
                if made is not None:
                    self._annotations.append(made)
                else:
                    self._losses.add(block.name(f"citations[{at}].type"), value=str(citation.get("type")))
        block.close()

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._texts) or None, "refusal": None}
        if self._thought:
            details = [detail_of(block, index) for index, block in enumerate(self._thought)]
            if text := readable_text(details):
                message["reasoning_content"] = text
            message["reasoning_details"] = details
        if self._annotations:
            message["annotations"] = self._annotations
        if self._calls:
            message["tool_calls"] = self._calls
        return message
