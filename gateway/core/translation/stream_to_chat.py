"""A stream of Anthropic's messages as chat chunks, event by event.

Sources: Anthropic's page on streaming, OpenAI's reference of chunks. The pieces add up as OpenAI's SDK adds them:
strings of one key are joined, so an id, a format or a signature comes once.
"""

from typing import Any, Final

import msgspec

from gateway.core.sse import SseEvent
from gateway.core.translation.answers_to_chat import SERVICE_TIER, ending
from gateway.core.translation.citations import annotation
from gateway.core.translation.errors import chat_error
from gateway.core.translation.fields import Losses, reading_answer
from gateway.core.translation.reasoning import FORMAT, detail_of
from gateway.core.translation.usage import MessagesUsage

DONE: Final = b"data: [DONE]\n\n"
KEEP_ALIVE: Final = b": ping\n\n"

_OTHER_PIECES: Final = ("tool_use", "thinking", "redacted_thinking")
_EVENT: Final = msgspec.json.Decoder(dict[str, Any])
_FAILED: Final = "The provider ended the stream with an error."


class _Block(msgspec.Struct):
    kind: str
    place: int = 0
    """Of a call or of a detail, among its kind."""
    start_chars: int = 0
    """How much text came before it."""
    input: str = "{}"
    """What a call says if nothing of its input comes in pieces."""
    cited: list[dict[str, Any]] = []


class StreamToChat:
    """Feed it every event in order; it answers with the bytes of whole chunks, often none.

    `created` is the stream's time in seconds since 1970; `include_usage` adds the chunk that a chat client asks for by
    that name; `in_pieces` as in answer_to_chat: annotations then follow their text. Raises UnreadableAnswer for data
    that is no event of this dialect.
    """

    def __init__(self, *, created: int, include_usage: bool, in_pieces: bool = False) -> None:
        self._in_pieces = in_pieces
        self._created = created
        self._include_usage = include_usage
        self._id = ""
        self._model = ""
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._details = 0
        self._text_chars = 0
        self._annotations: list[dict[str, Any]] = []
        self._usage = MessagesUsage()
        self._losses = Losses(drop=True)
        self._said_why = False
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
        with reading_answer():
            return self._translate(_EVENT.decode(event.data), event.event)

    def close(self) -> bytes:
        """Anthropic's streams have an end of their own, so the end of the bytes completes nothing."""
        return b""

    def _translate(self, data: dict[str, Any], name: str) -> bytes:
        match data.get("type", name):
            case "message_start":
                return self._start(_object(data.get("message")))
            case "content_block_start":
                return self._start_block(_number(data.get("index")), _object(data.get("content_block")))
            case "content_block_delta":
                return self._continue_block(_number(data.get("index")), _object(data.get("delta")))
            case "content_block_stop":
                return self._stop_block(_number(data.get("index")))
            case "message_delta":
                self._usage.add(data.get("usage"))
                return self._say_why(_object(data.get("delta")))
            case "message_stop":
                return self._finish()
            case "ping":
                return KEEP_ALIVE
            case "error":
                self.failed = True
                return self._line({"error": chat_error(_object(data.get("error")), _FAILED)})
            case _:
                return b""

    def _start(self, message: dict[str, Any]) -> bytes:
        self._id, self._model = _string(message.get("id")), _string(message.get("model"))
        self._usage.add(message.get("usage"))
        return self._chunk({"role": "assistant", "content": ""})

    def _start_block(self, index: int, block: dict[str, Any]) -> bytes:
        kind = _string(block.get("type"))
        if self._in_pieces and kind in _OTHER_PIECES:
            self._text_chars = 0
        known = self._blocks[index] = _Block(kind, start_chars=self._text_chars)
        match kind:
            case "text":
                text = _string(block.get("text"))
                known.cited = list(block.get("citations") or ())
                return self._say_text(text) if text else b""
            case "tool_use":
                known.place, self._calls = self._calls, self._calls + 1
                known.input = msgspec.json.encode(_object(block.get("input"))).decode()
                function = {"name": _string(block.get("name")), "arguments": ""}
                call = {"index": known.place, "id": _string(block.get("id")), "type": "function", "function": function}
                return self._chunk({"tool_calls": [call]})
            case "thinking":
                known.place, self._details = self._details, self._details + 1
                text, signature = _string(block.get("thinking")), _string(block.get("signature"))
                said = self._say_thinking(known, text)
                return said + (self._say_signature(known, signature) if signature else b"")
            case "redacted_thinking":
                known.place, self._details = self._details, self._details + 1
                return self._chunk({"reasoning_details": [detail_of(block, known.place)]})
            case _:
                self._losses.add("content[0].type", value=kind)
                return b""

    def _continue_block(self, index: int, delta: dict[str, Any]) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            return b""
        match block.kind, delta.get("type"):
            case "text", "text_delta":
                return self._say_text(_string(delta.get("text")))
            case "text", "citations_delta":
                block.cited.append(_object(delta.get("citation")))
            case "tool_use", "input_json_delta":
                if pieces := _string(delta.get("partial_json")):
                    block.input = ""
                    return self._say_arguments(block, pieces)
            case "thinking", "thinking_delta":
                return self._say_thinking(block, _string(delta.get("thinking")))
            case "thinking", "signature_delta":
                return self._say_signature(block, _string(delta.get("signature")))
        return b""

    def _stop_block(self, index: int) -> bytes:
        block = self._blocks.pop(index, None)
        if block is None:
            return b""
        if block.kind == "tool_use" and block.input:
            return self._say_arguments(block, block.input)
        for citation in block.cited:
            if (made := annotation(citation, block.start_chars, self._text_chars)) is not None:
                self._annotations.append(made)
            else:
                self._losses.add("content[0].citations[0].type", value=str(citation.get("type")))
        return self._say_annotations() if self._in_pieces else b""

    def _say_annotations(self) -> bytes:
        said, self._annotations = self._annotations, []
        return self._chunk({"annotations": said}) if said else b""

    def _say_text(self, text: str) -> bytes:
        self._text_chars += len(text)
        return self._chunk({"content": text})

    def _say_arguments(self, block: _Block, pieces: str) -> bytes:
        return self._chunk({"tool_calls": [{"index": block.place, "function": {"arguments": pieces}}]})

    def _say_thinking(self, block: _Block, text: str) -> bytes:
        detail = {"type": "reasoning.text", "text": text, "index": block.place}
        return self._chunk({**({"reasoning_content": text} if text else {}), "reasoning_details": [detail]})

    def _say_signature(self, block: _Block, signature: str) -> bytes:
        detail = {"type": "reasoning.text", "signature": signature, "format": FORMAT, "index": block.place}
        return self._chunk({"reasoning_details": [detail]})

    def _say_why(self, delta: dict[str, Any]) -> bytes:
        """Annotations come all at once, last: SDKs do not add them up."""
        reason = delta.get("stop_reason")
        if not isinstance(reason, str) or self._said_why:
            return b""
        self._said_why = True
        cited = self._say_annotations()
        explanation = _object(delta.get("stop_details")).get("explanation")
        said = {"refusal": explanation} if isinstance(explanation, str) else {}
        tier = SERVICE_TIER.get(self._usage.service_tier or "")
        more = {"service_tier": tier} if tier is not None else {}
        return cited + self._chunk(said, ending(reason, delta.get("stop_sequence")), **more)

    def _finish(self) -> bytes:
        said_why = b"" if self._said_why else self._chunk({}, {"finish_reason": "stop"})
        usage = self._line({"choices": [], "usage": self._usage.as_chat()}) if self._include_usage else b""
        self.finished = True
        return said_why + usage + DONE

    def _chunk(self, delta: dict[str, Any], ends: dict[str, Any] | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, **(ends or {"finish_reason": None})}
        return self._line({"choices": [choice], **more})

    def _line(self, said: dict[str, Any]) -> bytes:
        head = {"id": self._id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}
        return b"data: " + msgspec.json.encode(head | said) + b"\n\n"


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
