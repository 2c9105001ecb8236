"""The bytes that a hostile upstream is made of: answers, streams and their pieces, framed by hand."""

import json
from collections.abc import Mapping
from typing import Final


def chat(text: str) -> bytes:
    """A whole chat completion whose content is `text`."""
    answer = {
        "id": "chatcmpl-hostile",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "hostile",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }
    return json.dumps(answer).encode()


def event(text: str, *, finish: str | None = None, usage: Mapping[str, object] | None = None) -> bytes:
    """One SSE event with a chat completion chunk."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    chunk: dict[str, object] = {
        "id": "chatcmpl-hostile",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "hostile",
        "choices": [choice] if usage is None else [],
    }
    if usage is not None:
        chunk["usage"] = dict(usage)
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def answer(body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    """A length-delimited answer; `length` overrides the true one."""
    length = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    return head.encode() + body


STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}


def piece(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*events: bytes) -> bytes:
    """A whole chunked answer."""
    return STREAM_HEAD + b"".join(piece(each) for each in events) + LAST_CHUNK


STREAM: Final = stream(event("Hello"), event(" there"), event("", finish="stop"), b"data: [DONE]\n\n")
