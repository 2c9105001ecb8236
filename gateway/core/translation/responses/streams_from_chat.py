"""A stream of chat chunks as the events of a response, chunk by chunk.

Source: OpenAI's references of chunks and of streaming events.
"""

from typing import Any, Final

import msgspec

from gateway.core.openai_chat.usage import ReportedUsage, usage_objects
from gateway.core.sse import SseEvent
from gateway.core.translation.answers_to_messages import EMPTY, read_content
from gateway.core.translation.fields import Fields, Losses, reading_answer
from gateway.core.translation.responses.answers_from_chat import item_ids
from gateway.core.translation.responses.endings import ending
from gateway.core.translation.responses.item_writer import EventWriter, ItemWriter
from gateway.core.translation.responses.items import flat_annotation, response
from gateway.core.translation.responses.usage import TIERS, as_responses
from gateway.core.translation.stream_to_chat import KEEP_ALIVE

FAILED: Final = "The provider ended the stream with an error."
FAILED_CODE: Final = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "rate_limit_error": "rate_limit_exceeded",
    "context_length_exceeded": "context_length_exceeded",
    "insufficient_quota": "insufficient_quota",
    "insufficient_credits": "insufficient_quota",
}
"""Of `response.failed`, by the code or the type of a chat's error; anything else is a server_error."""

_DETAILS: Final = msgspec.json.Decoder(list[dict[str, Any]])


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: dict[str, msgspec.Raw] | None = None
    logprobs: Any = None
    finish_reason: Any = None
    native_finish_reason: Any = None
    stop_reason: Any = None


class _Chunk(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    created: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class ChatStreamToResponses:
    """Feed it every event in order, and `close` it when the provider's answer has ended; it answers with the bytes of
    whole events, often none. Only the first choice is told. `request` as in chat_answer_to_responses.

    Raises UnreadableAnswer for data that is no chunk, and for an answer of more than HELD_CHARS_MAX characters: the
    last event repeats all of it.
    """

    def __init__(self, *, request: bytes | None = None) -> None:
        self._request = request
        self._losses = Losses(drop=True)
        self._events = EventWriter()
        self._items = ItemWriter(self._events, item_ids(""), self._losses)
        self._response: dict[str, Any] | None = None
        self._reported = ReportedUsage()
        self._carried: dict[str, Any] = {}
        self._finish_reason = ""
        self._kept: dict[str, Any] = {}
        self.finished = False
        """response.completed or response.incomplete was said."""
        self.failed = False
        """An error was said. If neither holds at its end, the stream broke off, and its reader can see that."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the Responses dialect could not say so far."""
        return self._losses.dropped

    def feed(self, event: SseEvent) -> bytes:
        if self.finished or self.failed:
            return b""
        if event.data is None:
            return KEEP_ALIVE
        if event.data.strip() == b"[DONE]":
            return self._finish() if self._response is not None else b""
        with reading_answer():
            return self._translate(_CHUNK.decode(event.data), event)

    def close(self) -> bytes:
        """Some providers end without `[DONE]`: the answer is whole if they have said why it stopped."""
        return self._finish() if self._finish_reason and not (self.finished or self.failed) else b""

    def _translate(self, chunk: _Chunk, event: SseEvent) -> bytes:
        said = []
        failed = bool(chunk.error) or event.event == "error"
        if self._response is None and (chunk.choices or chunk.id or failed):
            said.append(self._start(chunk))
        for fields in usage_objects(chunk.usage, chunk.x_groq):
            self._reported.add(fields)
            self._carried |= fields
        tier = chunk.service_tier
        if isinstance(tier, str) and tier in TIERS and self._response is not None:
            self._response["service_tier"] = tier
        for choice in chunk.choices or ():
            if choice.index in (0, None):
                said.append(self._tell(choice))
            else:
                self._losses.add("choices[1]")
        if failed:
            said.append(self._fail(chunk.error if isinstance(chunk.error, dict) else {"message": chunk.error}))
        return b"".join(said)

    def _start(self, chunk: _Chunk) -> bytes:
        id = chunk.id if isinstance(chunk.id, str) else ""
        self._items = ItemWriter(self._events, item_ids(id), self._losses)
        self._response = response(
            id=id,
            created=int(chunk.created) if isinstance(chunk.created, int | float) else 0,
            model=chunk.model if isinstance(chunk.model, str) else "",
            status="in_progress",
            request=self._request,
        )
        created = self._events.write("response.created", response=self._response)
        return created + self._events.write("response.in_progress", response=self._response)

    def _tell(self, choice: _Choice) -> bytes:
        if isinstance(choice.finish_reason, str) and choice.finish_reason:
            self._finish_reason = choice.finish_reason
        for key in ("native_finish_reason", "stop_reason"):
            if isinstance(value := getattr(choice, key), str) and value:
                self._kept[key] = value
        delta = Fields(choice.delta or {}, "choices[0].message", self._losses)
        delta.ignore("role")
        delta.ignore_if(EMPTY)
        said = [self._think(delta)]
        thought, text = read_content(delta)
        said += [self._items.think(thought), self._items.say(text, _logprobs(choice.logprobs))]
        if (raw := delta.take("annotations")) is not None:
            said += [self._cite(annotation) for annotation in _DETAILS.decode(raw)]
        said.append(self._items.refuse(delta.take_text("refusal") or ""))
        said += [self._items.call(call) for call in delta.take_objects("tool_calls")]
        delta.close()
        return b"".join(said)

    def _think(self, delta: Fields) -> bytes:
        raw = delta.take("reasoning_details")
        details = _DETAILS.decode(raw) if raw is not None else []
        texts = [delta.take_text(key) or "" for key in ("reasoning_content", "reasoning")]
        if details:
            return b"".join([self._items.think_detail(detail) for detail in details])
        return self._items.think(texts[0] or texts[1])

    def _cite(self, annotation: dict[str, Any]) -> bytes:
        if (made := flat_annotation(annotation)) is None:
            self._losses.add("choices[0].message.annotations[0].type", value=str(annotation.get("type")))
            return b""
        return self._items.cite(made)

    def _finish(self) -> bytes:
        assert self._response is not None
        ends = ending(self._finish_reason, self._kept)
        told = self._items.end(ends["status"])
        whole = {**self._response, **ends, "output": self._items.output, "usage": self._usage()}
        self.finished = True
        return told + self._events.write(f"response.{ends['status']}", response=whole)

    def _usage(self) -> dict[str, Any] | None:
        if not self._carried:
            return None
        return as_responses(self._reported.usage(prompt_tokens=0, output_tokens=0), carried=self._carried)

    def _fail(self, error: dict[str, Any]) -> bytes:
        """Some clients read the response that failed; SDKs raise for what has an `error` at its top."""
        assert self._response is not None
        self.failed = True
        told = failure(error)
        code = next((FAILED_CODE[word] for key in ("code", "type") if (word := told[key]) in FAILED_CODE), None)
        said = {"code": code or "server_error", "message": told["message"]}
        whole = {**self._response, "status": "failed", "error": said, "output": self._items.ended}
        whole["usage"] = self._usage()
        flat = {key: told[key] for key in ("code", "message", "param")}
        failed = self._events.write("response.failed", response=whole)
        return failed + self._events.write("error", **flat, error=told)


def failure(error: dict[str, Any]) -> dict[str, Any]:
    """The `error` of a chat chunk, in full."""
    texts = {key: value if isinstance(value := error.get(key), str) and value else None for key in ("code", "param")}
    kind, message = error.get("type"), error.get("message")
    return {
        "type": kind if isinstance(kind, str) and kind else "server_error",
        "message": message if isinstance(message, str) and message else FAILED,
        **texts,
    }


def _logprobs(logprobs: Any) -> list[dict[str, Any]]:
    found = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
