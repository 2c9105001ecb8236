"""A whole response as a chat completion."""

from typing import Any, Final

import msgspec

from gateway.core.translation.fields import Fields, Losses, Translated, UnreadableAnswer, read_body, reading_answer
from gateway.core.translation.reasoning import readable_text
from gateway.core.translation.responses.endings import finish_reason, kept
from gateway.core.translation.responses.input_to_chat import read_call
from gateway.core.translation.responses.items import details_of, nested_annotation
from gateway.core.translation.responses.usage import TIERS, as_chat

PLACE: Final = {"reasoning": 0, "message": 1, "function_call": 2}
"""Where an item stands in a chat message."""
PARTED: Final = "\n\n"
"""Between the texts of two messages that follow each other: they are paragraphs of their own."""

_ANY: Final = msgspec.json.Decoder(dict[str, Any])
_ANYS: Final = msgspec.json.Decoder(list[dict[str, Any]])
_NOT_WHOLE: Final = ("failed", "cancelled", "queued", "in_progress")


def responses_answer_to_chat(body: bytes, *, in_pieces: bool = False) -> Translated:
    """What a chat cannot say (items of tools that the provider ran) is left out and listed. `in_pieces`: for the way on
    to another dialect, what one chat message would say in another order is several choices of index 0.

    Raises UnreadableAnswer, also for a response that failed, was cancelled or is not ready.
    """
    losses = Losses(drop=True)
    with reading_answer():
        whole = read_body(body, losses)
        return Translated(msgspec.json.encode(_translate(whole, losses, in_pieces=in_pieces)), losses.dropped)


def _translate(whole: Fields, losses: Losses, *, in_pieces: bool) -> dict[str, Any]:
    _must_be_whole(whole)
    whole.required("output", whole.peek("output"))
    pieces = [Piece(losses)]
    for item in whole.take_objects("output"):
        kind = item.take_text("type") or ""
        if in_pieces and pieces[-1].is_past(kind):
            pieces.append(Piece(losses, details_before=pieces[-1].details_until))
        pieces[-1].add(kind, item)
    ended: dict[str, Any] = {
        key: _ANY.decode(raw) for key in ("incomplete_details",) if (raw := whole.take(key)) is not None
    }
    ended |= {key: whole.take_text(key) for key in ("status", "native_finish_reason", "stop_reason") if key in whole}
    ends = {"finish_reason": finish_reason(ended, called=any(piece.calls for piece in pieces)), **kept(ended)}
    created = whole.take_number("created_at")
    usage = whole.take("usage")
    out: dict[str, Any] = {
        "id": whole.take_text("id") or "",
        "object": "chat.completion",
        "created": int(created or 0),
        "model": whole.take_text("model") or "",
        "choices": [{"index": 0, "message": piece.message(), "logprobs": piece.logprobs, **ends} for piece in pieces],
    }
    if usage is not None:
        out["usage"] = as_chat(_ANY.decode(usage))
    if (tier := whole.take_text("service_tier")) in TIERS:
        out["service_tier"] = tier
    return out


def _must_be_whole(whole: Fields) -> None:
    status, error = whole.peek("status"), whole.take_object("error")
    if error is not None:
        said = error.take_text("message") or error.take_text("code") or "it does not say why"
        raise UnreadableAnswer(f"The provider's answer failed: {said}", "error")
    if status is not None and msgspec.json.decode(status) in _NOT_WHOLE:
        raise UnreadableAnswer("The provider's answer is not whole, by its `status`.", "status")


class Piece:
    """Items of an answer, sorted into the fields of a message."""

    def __init__(self, losses: Losses, *, details_before: int = 0) -> None:
        self._losses = losses
        self._details_before = details_before
        self._place = 0
        self._texts: list[str] = []
        self._chars = 0
        self._refusals: list[str] = []
        self._details: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []

    def is_past(self, kind: str) -> bool:
        """Whether an item would be said before what is there already."""
        return PLACE.get(kind, self._place) < self._place or (kind == "message" and bool(self._refusals))

    def add(self, kind: str, item: Fields) -> None:
        self._place = PLACE.get(kind, self._place)
        match kind:
            case "message":
                self._add_message(item)
            case "reasoning":
                read = {key: _ANYS.decode(raw) for key in ("summary", "content") if (raw := item.take(key)) is not None}
                texts = {key: item.take_text(key) for key in ("id", "encrypted_content")}
                self._details += details_of({**read, **texts}, self.details_until)
            case "function_call":
                self.calls.append(read_call(item))
            case _:
                item.lose_all(kind)

    def _add_message(self, item: Fields) -> None:
        if self._texts:
            self._say(PARTED)
        for part in item.take_objects("content"):
            kind = part.take_text("type") or ""
            if kind == "output_text":
                before = self._chars
                self._say(part.take_text("text") or "")
                self._annotate(part, before)
                if (raw := part.take("logprobs")) is not None:
                    self._logprobs += _ANYS.decode(raw)
            elif kind == "refusal":
                self._refusals.append(part.take_text("refusal") or "")
            else:
                part.lose_all(kind)

    def _say(self, text: str) -> None:
        self._texts.append(text)
        self._chars += len(text)

    def _annotate(self, part: Fields, before: int) -> None:
        raw = part.take("annotations")
        for at, annotation in enumerate(_ANYS.decode(raw) if raw is not None else ()):
            if (made := nested_annotation(annotation, before=before)) is not None:
                self._annotations.append(made)
            else:
                self._losses.add(part.name(f"annotations[{at}].type"), value=str(annotation.get("type")))

    @property
    def details_until(self) -> int:
        """Their indices go on from piece to piece."""
        return self._details_before + len(self._details)

    @property
    def logprobs(self) -> dict[str, Any] | None:
        return {"content": self._logprobs, "refusal": None} if self._logprobs else None

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._texts) or None,
            "refusal": "".join(self._refusals) or None,
        }
        if text := readable_text(self._details):
            message["reasoning_content"] = text
        if self._details:
            message["reasoning_details"] = self._details
        if self._annotations:
            message["annotations"] = self._annotations
        if self.calls:
            message["tool_calls"] = self.calls
        return message
