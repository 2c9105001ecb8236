"""An upstream that answers at once with fixed bytes: what is measured is the gateway, not the provider.

Answers every POST: a stream where the body asks for one, else a JSON object. Counts what it sent (`GET /_sent`).
Its usage is the same for each call, so that Σ sent = calls × usage.
"""

import argparse
import asyncio
import json
from typing import cast

import uvloop

PROMPT_TOKENS = 24
STREAM_CHUNKS_DEFAULT = 33
OUTPUT_TOKENS = 64

_WHOLE = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "toll " * OUTPUT_TOKENS, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": PROMPT_TOKENS + OUTPUT_TOKENS,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
).encode()
_WHOLE_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_WHOLE),
    _WHOLE,
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _event(choices: list[object], **more: object) -> bytes:
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "gpt-4o-mini",
        "system_fingerprint": "fp_0123456789",
        "choices": choices,
        **more,
    }
    data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


_TOKEN = _event([{"index": 0, "delta": {"content": " toll"}, "logprobs": None, "finish_reason": None}], usage=None)
_STOP = _event([{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}], usage=None)
_DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def _usage_event(chunks: int) -> bytes:
    return _event(
        [],
        usage={
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": chunks,
            "total_tokens": PROMPT_TOKENS + chunks,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    )


class Sent:
    """What all connections together have answered in full."""

    def __init__(self) -> None:
        self.whole = 0
        self.streams = 0


class Mock(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; requests have a content-length, as every proxy under test sends one."""

    def __init__(self, sent: Sent, *, chunks: int, interval_s: float, latency_s: float) -> None:
        self._sent = sent
        self._chunks = chunks
        self._interval_s = interval_s
        self._latency_s = latency_s
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (head_end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:head_end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 : head.find(b"\r\n", at) if b"\r\n" in head[at:] else None]) if at >= 0 else 0
            end = head_end + 4 + length
            if len(self._buffer) < end:
                return
            body, self._buffer = self._buffer[head_end + 4 : end], self._buffer[end:]
            if head.startswith(b"get"):
                self._answer_sent()
            elif b'"stream":true' in body or b'"stream": true' in body:
                self._loop.call_later(self._latency_s, self._stream, 0) if self._latency_s else self._stream(0)
            elif self._latency_s:
                self._loop.call_later(self._latency_s, self._whole)
            else:
                self._whole()

    def _whole(self) -> None:
        self._sent.whole += 1
        self._transport.write(_WHOLE_ANSWER)

    def _stream(self, index: int) -> None:
        if self._transport.is_closing():
            return
        if index == 0:
            self._transport.write(_STREAM_HEAD + _TOKEN)
        elif index < self._chunks:
            self._transport.write(_TOKEN)
        else:
            self._sent.streams += 1
            self._transport.write(_STOP + _usage_event(self._chunks) + _DONE)
            return
        self._loop.call_later(self._interval_s, self._stream, index + 1)

    def _answer_sent(self) -> None:
        body = json.dumps({"whole": self._sent.whole, "streams": self._sent.streams, "chunks": self._chunks}).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def serve(port: int, *, chunks: int, interval_s: float, latency_s: float) -> None:
    sent = Sent()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Mock(sent, chunks=chunks, interval_s=interval_s, latency_s=latency_s), "127.0.0.1", port, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--chunks", type=int, default=STREAM_CHUNKS_DEFAULT)
    parser.add_argument("--interval-ms", type=float, default=20.0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    options = parser.parse_args()
    uvloop.run(
        serve(
            options.port,
            chunks=options.chunks,
            interval_s=options.interval_ms / 1000,
            latency_s=options.latency_ms / 1000,
        )
    )
