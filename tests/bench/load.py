"""A raw HTTP load: so many connections, one request after another on each, every answer checked to its last byte.

Prints one JSON object: requests, wrong answers, latencies and times to the first event in milliseconds.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from typing import cast

import uvloop

_END_WHOLE = b'"prompt_tokens_details":'
_END_STREAM = b"data: [DONE]\n\n"


class Tally:
    """What all connections saw."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.first_s: list[float] = []
        self.wrong = 0
        self.samples: list[str] = []


class Caller(asyncio.Protocol):
    """One connection. Sends the next request when an answer is whole, until told to stop."""

    def __init__(self, request: bytes, tally: Tally, *, stream: bool) -> None:
        self._request = request
        self._tally = tally
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self.closed = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self._send()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._began and not self._stopping:
            self._tally.wrong += 1
        if not self.closed.done():
            self.closed.set_result(None)

    def stop(self) -> None:
        """No further request; the connection closes once the answer under way is whole."""
        self._stopping = True

    def _send(self) -> None:
        self._parts: list[bytes] = []
        self._need = -1
        self._size = 0
        self._first = 0.0
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._first:
            self._first = time.perf_counter()
        self._parts.append(data)
        self._size += len(data)
        if self._need < 0:
            joined = b"".join(self._parts)
            head_end = joined.find(b"\r\n\r\n")
            if head_end < 0:
                return
            head = joined[:head_end].lower()
            at = head.find(b"content-length:")
            if at >= 0:
                stop = head.find(b"\r\n", at)
                self._need = head_end + 4 + int(head[at + 15 : stop if stop >= 0 else None])
            else:
                self._need = sys.maxsize
        if self._need == sys.maxsize:
            if data.endswith(b"0\r\n\r\n"):
                self._whole()
        elif self._size >= self._need:
            self._whole()

    def _whole(self) -> None:
        now = time.perf_counter()
        answer = b"".join(self._parts)
        end = _END_STREAM if self._stream else _END_WHOLE
        if not answer.startswith(b"HTTP/1.1 200") or end not in answer:
            self._tally.wrong += 1
            if len(self._tally.samples) < 3:
                self._tally.samples.append(answer[:600].decode("utf-8", "replace"))
        else:
            self._tally.latencies_s.append(now - self._began)
            self._tally.first_s.append(self._first - self._began)
        if self._stopping:
            self._began = 0.0
            self._transport.close()
        else:
            self._send()


def request_bytes(*, host: str, key: str, stream: bool, prompt_bytes: int, model: str) -> bytes:
    body = {
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a toll keeper."},
            {"role": "user", "content": "toll " * (prompt_bytes // 5)},
        ],
        "max_tokens": 256,
    }
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    data = json.dumps(body, separators=(",", ":")).encode()
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    ).encode() + data


async def run(host: str, port: int, request: bytes, *, connections: int, seconds: float, stream: bool) -> Tally:
    tally = Tally()
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: Caller(request, tally, stream=stream), host, port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for caller in callers:
        caller.stop()
    await asyncio.wait([caller.closed for caller in callers], timeout=30)
    return tally


def _percentile_ms(values: list[float], percent: int) -> float | None:
    if len(values) < 2:
        return None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1] * 1000, 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--prompt-bytes", type=int, default=1000)
    parser.add_argument("--model", default="gpt-4o-mini")
    parser.add_argument("--stream", action="store_true")
    options = parser.parse_args()
    request = request_bytes(
        host=f"127.0.0.1:{options.port}",
        key=options.key,
        stream=options.stream,
        prompt_bytes=options.prompt_bytes,
        model=options.model,
    )
    tally = uvloop.run(
        run(
            "127.0.0.1",
            options.port,
            request,
            connections=options.connections,
            seconds=options.seconds,
            stream=options.stream,
        )
    )
    print(
        json.dumps(
            {
                "requests": len(tally.latencies_s),
                "wrong": tally.wrong,
                "samples": tally.samples,
                "p50_ms": _percentile_ms(tally.latencies_s, 50),
                "p99_ms": _percentile_ms(tally.latencies_s, 99),
                "first_p50_ms": _percentile_ms(tally.first_s, 50),
                "first_p99_ms": _percentile_ms(tally.first_s, 99),
            }
        )
    )
