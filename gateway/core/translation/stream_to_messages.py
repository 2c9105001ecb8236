"""A stream of chat chunks as Anthropic's events, chunk by chunk.

Sources: Anthropic's page on streaming, OpenAI's reference of chunks. A chat's text, thinking and calls run beside each
other; Anthropic's blocks come one after another (`block_writer` sees to that).
"""

from typing import Any, Final

import msgspec

from gateway.core.openai_chat.usage import ReportedUsage, usage_objects
from gateway.core.sse import SseEvent
from gateway.core.translation.answers_to_messages import EMPTY, SERVICE_TIER, read_content
from gateway.core.translation.block_writer import BlockWriter, event_bytes
from gateway.core.translation.citations import citation
from gateway.core.translation.errors import messages_error
from gateway.core.translation.fields import Fields, Losses, reading_answer
from gateway.core.translation.stop_reasons import stop_reason
from gateway.core.translation.usage import as_messages

PING: Final = event_bytes({"type": "ping"})


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: dict[str, msgspec.Raw] | None = None
    finish_reason: Any = None
    native_finish_reason: Any = None
    stop_reason: Any = None


class _Chunk(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    error: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_DETAILS: Final = msgspec.json.Decoder(list[dict[str, Any]])
_TEXTS: Final = ("reasoning_content", "reasoning")


class StreamToMessages:
    """Feed it every event in order, and `close` it when the provider's answer has ended; it answers with the bytes of
    whole events, often none. Only the first choice is told.

    The input tokens of message_start are 0: a chat tells its usage last, and so does message_delta, which corrects
    them. Raises UnreadableAnswer for data that is no chunk, and for more than can be held back.
    """

    def __init__(self) -> None:
        self._losses = Losses(drop=True)
        self._blocks = BlockWriter(self._losses)
        self._reported = ReportedUsage()
        self._carried: dict[str, Any] = {}
        self._tier: str | None = None
        self._finish_reason = ""
        self._native = ""
        self._stop_sequence: str | None = None
        self._refusal: list[str] = []
        self._refused = False
        self._started = False
        self.finished = False
        """message_stop was said."""
        self.failed = False
        """An error was said. If neither holds at its end, the stream broke off, and its reader can see that."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """What the messages dialect could not say so far."""
        return self._losses.dropped

    def feed(self, event: SseEvent) -> bytes:
        if self.finished or self.failed:
            return b""
        if event.data is None:
            return PING
        if event.data.strip() == b"[DONE]":
            return self._finish() if self._started else b""
        with reading_answer():
            return self._translate(_CHUNK.decode(event.data), event)

    def close(self) -> bytes:
        """Some providers end without `[DONE]`: the answer is whole if they have said why it stopped."""
        return self._finish() if self._finish_reason and not (self.finished or self.failed) else b""

    def _translate(self, chunk: _Chunk, event: SseEvent) -> bytes:
        said = []
        if not self._started and (chunk.choices or chunk.id):
            said.append(self._start(chunk))
        for fields in usage_objects(chunk.usage, chunk.x_groq):
            self._reported.add(fields)
            self._carried |= fields
        if isinstance(chunk.service_tier, str):
            self._tier = SERVICE_TIER.get(chunk.service_tier)
        for choice in chunk.choices or ():
            if choice.index in (0, None):
                said.append(self._tell(choice))
            else:
                self._losses.add("choices[1]")
        if chunk.error or event.event == "error":
            self.failed = True
            error = chunk.error if isinstance(chunk.error, dict) else {"message": chunk.error}
            said.append(event_bytes({"type": "error", "error": messages_error(error)}))
        return b"".join(said)

    def _start(self, chunk: _Chunk) -> bytes:
        self._started = True
        self._blocks.answer_id = id = chunk.id if isinstance(chunk.id, str) else ""
        message: dict[str, Any] = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": chunk.model if isinstance(chunk.model, str) else "",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": as_messages(
                ReportedUsage().usage(prompt_tokens=0, output_tokens=0), carried={}, service_tier=None
            ),
        }
        return event_bytes({"type": "message_start", "message": message})

    def _tell(self, choice: _Choice) -> bytes:
        if isinstance(choice.finish_reason, str) and choice.finish_reason:
            self._finish_reason = choice.finish_reason
        if isinstance(choice.native_finish_reason, str) and choice.native_finish_reason:
            self._native = choice.native_finish_reason
        if isinstance(choice.stop_reason, str):
            self._stop_sequence = choice.stop_reason
        delta = Fields(choice.delta or {}, "choices[0].message", self._losses)
        delta.ignore("role")
        delta.ignore_if(EMPTY)
        said = [self._think(delta)]
        thought, text = read_content(delta)
        said += [self._blocks.think(thought), self._blocks.say(text)]
        if refusal := delta.take_text("refusal"):
            if self._native == "refusal":
                self._refusal.append(refusal)
            else:
                self._refused = True
                said.append(self._blocks.say(refusal))
        said += [self._blocks.call(call) for call in delta.take_objects("tool_calls")]
        if (raw := delta.take("annotations")) is not None:
            said += [self._cite(annotation) for annotation in _DETAILS.decode(raw)]
        delta.close()
        return b"".join(said)

    def _think(self, delta: Fields) -> bytes:
        """Details, or where there are none the text that repeats them for readers."""
        raw = delta.take("reasoning_details")
        details = _DETAILS.decode(raw) if raw is not None else []
        texts = [delta.take_text(key) or "" for key in _TEXTS]
        if details:
            return b"".join([self._blocks.think_detail(detail) for detail in details])
        return self._blocks.think(texts[0] or texts[1])

    def _cite(self, annotation: dict[str, Any]) -> bytes:
        made = citation(annotation)
        if made is None:
            self._losses.add("choices[0].message.annotations[0].type", value=str(annotation.get("type")))
            return b""
        return self._blocks.cite(made)

    def _finish(self) -> bytes:
        blocks = self._blocks.end()
        reason = stop_reason(
            self._finish_reason,
            native=self._native or ("stop_sequence" if self._stop_sequence is not None else ""),
            tools_called=self._blocks.called,
            refused=self._refused,
        )
        delta: dict[str, Any] = {"stop_reason": reason, "stop_sequence": self._stop_sequence}
        if self._native == "refusal":
            explanation = "".join(self._refusal) or None
            delta["stop_details"] = {"type": "refusal", "category": None, "explanation": explanation}
        counts = self._reported.usage(prompt_tokens=0, output_tokens=0)
        usage = as_messages(counts, carried=self._carried, service_tier=self._tier)
        self.finished = True
        return (
            blocks
            + event_bytes({"type": "message_delta", "delta": delta, "usage": usage})
            + event_bytes({"type": "message_stop"})
        )
