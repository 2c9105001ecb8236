"""Cohere's own chat and embeddings, asked of a child alone: whole, streamed, with tools."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.translator.child import Child
from gateway.translator.settings import Orders, TranslatorSettings, translated

USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 4}, "tokens": {"input_tokens": 71, "output_tokens": 6}}
START = {"type": "message-start", "id": "1", "delta": {"message": {"role": "assistant", "content": []}}}


def end(reason: str) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": USAGE}}


def text(words: str) -> dict[str, Any]:
    return {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": words}}}}


def call(kind: str, **of: Any) -> dict[str, Any]:
    return {"type": kind, "index": 0, "delta": {"message": {"tool_calls": of}}}


SAID = [START, text("Hel"), text("lo"), {"type": "content-end", "index": 0}, end("COMPLETE")]
CALLED = [
    START,
    call("tool-call-start", id="c1", type="function", function={"name": "toll", "arguments": ""}),
    call("tool-call-delta", function={"arguments": '{"road":'}),
    call("tool-call-delta", function={"arguments": '"A1"}'}),
    {"type": "tool-call-end", "index": 0},
    end("TOOL_CALL"),
]


class Cohere:
    def __init__(self) -> None:
        self.events = SAID
        self.url = ""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        if not (await request.json()).get("stream"):
            message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
            return web.json_response({"id": "1", "finish_reason": "COMPLETE", "message": message, "usage": USAGE})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in self.events:
            await response.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        return response

    async def embed(self, request: web.Request) -> web.Response:
        vectors = [[0.5, 0.25] for _ in (await request.json())["texts"]]
        return web.json_response(
            {"id": "x", "embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": 3}}}
        )


@pytest.fixture
async def cohere() -> AsyncIterator[Cohere]:
    server, app = Cohere(), web.Application()
    app.router.add_post("/v2/chat", server.chat)
    app.router.add_post("/v2/embed", server.embed)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


async def test_cohere_is_spoken_to_in_its_own_dialect(cohere: Cohere, tmp_path: Path) -> None:
    common: dict[str, Any] = {
        "provider": "cohere",
        "api_key": "key-of-cohere",
        "params": {},
        "hosts": (),
        "timeout_s": 10,
    }
    upstreams = (
        translated(name="chat", base_url=f"{cohere.url}/v2/chat", **common),
        translated(name="em bed/x", base_url=f"{cohere.url}/v2/embed", **common),
    )
    orders = Orders(socket=str(tmp_path / "s"), body_bytes_max=100_000, upstreams=upstreams)
    child = Child(orders, TranslatorSettings(), on_news=lambda: None)
    await child.start()
    messages = [{"role": "user", "content": "hi"}]
    tool = {"type": "function", "function": {"name": "toll", "parameters": {"type": "object", "properties": {}}}}
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(orders.socket)) as session:

            async def ask(**fields: Any) -> str:
                body = {"model": "command-a-03-2025", "messages": messages, **fields}
                async with session.post("http://translator/chat/chat/completions", json=body) as answer:
                    assert answer.status == 200, await answer.text()
                    return await answer.text()

            def chunks(stream: str) -> list[Any]:
                *events, done = [part.removeprefix("data: ") for part in stream.split("\n\n")[:-1]]
                assert done == "[DONE]", stream
                return [json.loads(event) for event in events]

            whole = json.loads(await ask())
            assert whole["choices"][0]["message"]["content"] == "Hello"
            assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (71, 6)

            said = chunks(await ask(stream=True))
            assert "".join(each["choices"][0]["delta"].get("content") or "" for each in said[:-1]) == "Hello"
            assert said[-2]["choices"][0]["finish_reason"] == "stop"
            assert said[-1]["usage"] == {"prompt_tokens": 71, "completion_tokens": 6, "total_tokens": 77}

            cohere.events = CALLED
            called = chunks(await ask(stream=True, tools=[tool]))
            calls = [one for each in called[:-1] for one in each["choices"][0]["delta"].get("tool_calls", ())]
            assert calls[0]["id"] == "c1"
            assert calls[0]["function"]["name"] == "toll"
            assert "".join(one["function"]["arguments"] for one in calls) == '{"road":"A1"}'
            assert called[-2]["choices"][0]["finish_reason"] == "tool_calls"

            cohere.events = [START, text("Hel")]
            assert '"error"' in (await ask(stream=True)).split("\n\n")[-2]

            texts = {"model": "embed-english-v3.0", "input": ["a", "b"]}
            async with session.post("http://translator/em%20bed%2Fx/embeddings", json=texts) as answer:
                embedded = await answer.json()
            assert [each["embedding"] for each in embedded["data"]] == [[0.5, 0.25]] * 2
            assert embedded["usage"]["prompt_tokens"] == 3

            async with session.post("http://translator/chat/chat/completions", data=b"x" * 100_001) as answer:
                assert answer.status == 413
            async with session.post("http://translator/other/chat/completions", json={}) as answer:
                assert answer.status == 404
    finally:
        await child.stop()
    assert child.status == 0
