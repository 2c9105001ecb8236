"""A stream of response events as chat chunks, event by event.

Source: OpenAI's reference of streaming events. Items are known by their place (`output_index`); some providers name
others at the end than at the start. What an item holds at its end and no delta has said is said then.
"""

from typing import Any, Final

import msgspec

from gateway.core.sse import SseEvent
from gateway.core.translation.fields import Losses, reading_answer
from gateway.core.translation.reasoning import TEXT_KEY
from gateway.core.translation.responses.answers_to_chat import PARTED
from gateway.core.translation.responses.endings import finish_reason, kept
from gateway.core.translation.responses.items import (
    ENCRYPTED,
    RESPONSES_FORMAT,
    details_of,
    nested_annotation,
)
from gateway.core.translation.responses.usage import TIERS, as_chat
from gateway.core.translation.stream_to_chat import DONE, KEEP_ALIVE

_EVENT: Final = msgspec.json.Decoder(dict[str, Any])
_FAILED: Final = "The provider ended the stream with an error."
_OURS: Final = ("message", "reasoning", "function_call")


class _Item(msgspec.Struct):
    kind: str
    id: str = ""
    place: int = 0
    """Of a call among the calls."""
    starts: dict[int, int] = {}
    """How much of the answer came before each of a message's texts, by content_index."""
    details: dict[tuple[str, int], int] = {}
    """The index of each text of a reasoning item among all details, by its type and its own index."""
    said: bool = False
    """Something of it came in pieces."""


class ResponsesStreamToChat:
    """Feed it every event in order; it answers with the bytes of whole chunks, often none.

    `include_usage` adds the chunk that a chat client asks for by that name; `in_pieces` as in responses_answer_to_chat:
    annotations then follow their text. Raises UnreadableAnswer for data that is no event of this dialect.
    """

    def __init__(self, *, include_usage: bool, in_pieces: bool = False) -> None:
        self._include_usage = include_usage
        self._in_pieces = in_pieces
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
        self._started = False
        self._items: dict[int, _Item] = {}
        self._calls = 0
        self._details = 0
        self._chars = 0
        self._annotations: list[dict[str, Any]] = []
        self._losses = Losses(drop=True)
        self.finished = False
        """`[DONE]` was said."""
        self.failed = False
        """An error was said. If neither holds at its end, the stream broke off, and its reader can see that."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the chat dialect could not say so far."""
        return self._losses.dropped

    def feed(self, event: SseEvent) -> bytes:
        if self.finished or self.failed:
            return b""
        if event.data is None:
            return KEEP_ALIVE
        if event.data.strip() == b"[DONE]":  # OpenRouter's, behind the end
            return b""
        with reading_answer():
            return self._translate(_EVENT.decode(event.data), event.event)

    def close(self) -> bytes:
        """Nothing: the dialect has an end of its own."""
        return b""

    def _translate(self, data: dict[str, Any], name: str) -> bytes:
        kind = data.get("type", name)
        match kind:
            case "response.created" | "response.in_progress" | "response.queued":
                return self._start(_object(data.get("response")))
            case "response.completed" | "response.incomplete":
                return self._finish(_object(data.get("response")))
            case "response.failed" | "response.cancelled":
                return self._fail(_object(_object(data.get("response")).get("error")))
            case "error":
                return self._fail(_object(data.get("error")) or data)
            case _:
                return self._go_on(kind, _number(data.get("output_index")), data)

    def _go_on(self, kind: str, index: int, data: dict[str, Any]) -> bytes:
        match kind:
            case "response.output_item.added":
                return self._begin(index, _object(data.get("item")))
            case "response.output_text.delta":
                return self._say(index, _number(data.get("content_index")), data)
            case "response.refusal.delta":
                self._item(index, "message").said = True
                return self._refuse(_string(data.get("delta")))
            case "response.output_text.annotation.added":
                return self._annotate(index, _number(data.get("content_index")), data.get("annotation"))
            case "response.function_call_arguments.delta":
                item = self._item(index, "function_call")
                return self._say_arguments(item, _string(data.get("delta")))
            case "response.reasoning_summary_text.delta":
                return self._think(index, "reasoning.summary", _number(data.get("summary_index")), data.get("delta"))
            case "response.reasoning_text.delta":
                return self._think(index, "reasoning.text", _number(data.get("content_index")), data.get("delta"))
            case "response.output_item.done":
                return self._end(index, _object(data.get("item")))
            case _:
                return b""

    def _start(self, response: dict[str, Any]) -> bytes:
        if self._started:
            return b""
        self._started = True
        self._head["id"], self._head["model"] = _string(response.get("id")), _string(response.get("model"))
        created = response.get("created_at")
        self._head["created"] = int(created) if isinstance(created, int | float) else 0
        return self._chunk({"role": "assistant", "content": ""})

    def _item(self, index: int, kind: str) -> _Item:
        """One that nobody has announced is as its deltas say."""
        if index not in self._items:
            self._items[index] = _Item(kind)
        return self._items[index]

    def _begin(self, index: int, item: dict[str, Any]) -> bytes:
        kind = _string(item.get("type"))
        known = self._items[index] = _Item(kind, id=_string(item.get("id")))
        if kind not in _OURS:
            self._losses.add("output[0].type", value=kind)
            return b""
        if kind == "message":
            return self._text(PARTED) if self._chars else b""
        if self._in_pieces:
            self._chars = 0
        if kind == "reasoning":
            return b""
        known.place, self._calls = self._calls, self._calls + 1
        function = {"name": _string(item.get("name")), "arguments": ""}
        call = {"index": known.place, "id": _string(item.get("call_id")), "type": "function", "function": function}
        return self._chunk({"tool_calls": [call]}) + self._say_arguments(known, _string(item.get("arguments")))

    def _text(self, text: str, logprobs: Any = None) -> bytes:
        self._chars += len(text)
        told = {"content": logprobs, "refusal": None} if isinstance(logprobs, list) and logprobs else None
        return self._chunk({"content": text}, logprobs=told)

    def _say(self, index: int, part: int, data: dict[str, Any]) -> bytes:
        item = self._item(index, "message")
        item.said = True
        item.starts.setdefault(part, self._chars)
        text = _string(data.get("delta"))
        return self._text(text, data.get("logprobs")) if text else b""

    def _refuse(self, refusal: str) -> bytes:
        if self._in_pieces:
            self._chars = 0
        return self._chunk({"refusal": refusal})

    def _annotate(self, index: int, part: int, annotation: Any) -> bytes:
        before = self._item(index, "message").starts.get(part, 0)
        if (made := nested_annotation(_object(annotation), before=before)) is None:
            kind = str(_object(annotation).get("type"))
            self._losses.add("output[0].content[0].annotations[0].type", value=kind)
            return b""
        self._annotations.append(made)
        return self._say_annotations() if self._in_pieces else b""

    def _say_annotations(self) -> bytes:
        """All at once: SDKs do not add them up."""
        said, self._annotations = self._annotations, []
        return self._chunk({"annotations": said}) if said else b""

    def _say_arguments(self, item: _Item, pieces: str) -> bytes:
        if not pieces or item.kind != "function_call":
            return b""
        item.said = True
        return self._chunk({"tool_calls": [{"index": item.place, "function": {"arguments": pieces}}]})

    def _think(self, index: int, kind: str, at: int, text: Any) -> bytes:
        item = self._item(index, "reasoning")
        item.said = True
        begins = (kind, at) not in item.details
        if begins:
            item.details[kind, at] = self._details
            self._details += 1
        detail: dict[str, Any] = {"type": kind, TEXT_KEY[kind]: _string(text), "index": item.details[kind, at]}
        if begins:
            detail |= {**({"id": item.id} if item.id else {}), "format": RESPONSES_FORMAT}
        return self._say_detail(detail)

    def _say_detail(self, detail: dict[str, Any]) -> bytes:
        text = detail.get(TEXT_KEY.get(detail["type"], ""))
        return self._chunk({**({"reasoning_content": text} if text else {}), "reasoning_details": [detail]})

    def _end(self, index: int, whole: dict[str, Any]) -> bytes:
        item = self._item(index, _string(whole.get("type")))
        match item.kind:
            case "function_call" if not item.said:
                return self._say_arguments(item, _string(whole.get("arguments")) or "{}")
            case "reasoning":
                return self._end_reasoning(item, whole)
            case "message" if not item.said:
                parts = enumerate(map(_object, whole.get("content") or ()))
                return b"".join([self._say_part(index, at, part) for at, part in parts])
        return b""

    def _say_part(self, index: int, at: int, part: dict[str, Any]) -> bytes:
        if refusal := _string(part.get("refusal")):
            return self._refuse(refusal)
        said = [self._say(index, at, {"delta": part.get("text"), "logprobs": part.get("logprobs")})]
        said += [self._annotate(index, at, annotation) for annotation in part.get("annotations") or ()]
        return b"".join(said)

    def _end_reasoning(self, item: _Item, whole: dict[str, Any]) -> bytes:
        sealed = _string(whole.get("encrypted_content"))
        if item.said:
            if not sealed:
                return b""
            more = {"id": item.id} if item.id else {}
            details = [{"type": ENCRYPTED, "data": sealed, **more, "format": RESPONSES_FORMAT, "index": self._details}]
        else:
            details = details_of(whole, self._details)
        self._details += len(details)
        return b"".join([self._say_detail(detail) for detail in details])

    def _finish(self, response: dict[str, Any]) -> bytes:
        ends = {"finish_reason": finish_reason(response, called=self._calls > 0), **kept(response)}
        tier = response.get("service_tier")
        more = {"service_tier": tier} if isinstance(tier, str) and tier in TIERS else {}
        said = [self._start(response), self._say_annotations(), self._chunk({}, ends, **more)]
        if self._include_usage and (usage := as_chat(response.get("usage"))) is not None:
            said.append(self._line({"choices": [], "usage": usage}))
        self.finished = True
        return b"".join([*said, DONE])

    def _fail(self, error: dict[str, Any]) -> bytes:
        self.failed = True
        code = error.get("code") if isinstance(error.get("code"), str) else None
        kind = _string(error.get("type"))
        told = {
            "message": _string(error.get("message")) or _FAILED,
            "type": "server_error" if kind in ("", "error") else kind,
            "param": error.get("param") if isinstance(error.get("param"), str) else None,
            "code": code,
        }
        return self._line({"error": told})

    def _chunk(
        self, delta: dict[str, Any], ends: dict[str, Any] | None = None, *, logprobs: Any = None, **more: Any
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, **(ends or {"finish_reason": None})}
        return self._line({"choices": [choice], **more})

    def _line(self, said: dict[str, Any]) -> bytes:
        return b"data: " + msgspec.json.encode(self._head | said) + b"\n\n"


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
