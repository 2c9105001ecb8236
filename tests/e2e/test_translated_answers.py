"""Translated answers, read by the SDKs of the dialect that they are in: over real HTTP, checked by their own models."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import error_to_chat, error_to_messages
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages
from tests.conformance.recorded import Recorded
from tests.conformance.test_translation import CHATS, CREATED, MESSAGES, told
from tests.core.translation.accumulation import completion, message
from tests.e2e.sdks import Sdk

ANTHROPIC = Sdk("anthropic-python", (".envs/anthropic/bin/python", "-m", "tests.sdks.python.translated"))
OPENAI = Sdk("openai-python-latest", (".envs/openai-latest/bin/python", "-m", "tests.sdks.python.translated"))

ServerOf = Callable[[web.Application], Awaitable[TestServer]]


class Answer(NamedTuple):
    status: int
    body: bytes
    streamed: bool


def of_anthropic(row: Recorded) -> Answer:
    if row.status >= 400:
        error = error_to_messages(row.status, row.body)
        return Answer(error.status, error.body, False)
    body = told(StreamToMessages(), row.body) if row.streamed else answer_to_messages(row.body).body
    return Answer(200, body, row.streamed)


def of_openai(row: Recorded) -> Answer:
    if row.status >= 400:
        error = error_to_chat(row.status, row.body)
        return Answer(error.status, error.body, False)
    if row.streamed:
        return Answer(200, told(StreamToChat(created=CREATED, include_usage=True), row.body), True)
    return Answer(200, answer_to_chat(row.body, created=CREATED).body, False)


async def read_by(sdk: Sdk, name: str, answers: list[Answer], server_of: ServerOf) -> list[Any]:
    """What the SDK made of each answer."""

    async def answer(request: web.Request) -> web.Response:
        one = answers[int((await request.json())["model"])]
        kind = "text/event-stream" if one.streamed else "application/json"
        return web.Response(status=one.status, body=one.body, content_type=kind)

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    app.router.add_post("/v1/chat/completions", answer)
    server = await server_of(app)
    cases = [f"{at}-stream" if answer.streamed else str(at) for at, answer in enumerate(answers)]
    seen = await sdk.run(cases, {"SDK": name, "BASE_URL": str(server.make_url("")).rstrip("/")})
    return [seen[case] for case in cases]


RAISED = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError"}


async def test_anthropics_sdk_reads_chats(aiohttp_server: ServerOf) -> None:
    answers = [of_anthropic(row) for row in CHATS]
    for answer, seen in zip(answers, await read_by(ANTHROPIC, "anthropic", answers, aiohttp_server), strict=True):
        if answer.status != 200:
            assert seen == {"raised": RAISED.get(answer.status, seen["raised"]), "status": answer.status}
        elif not answer.streamed:
            assert seen == json.loads(answer.body)
        elif b"event: error" in answer.body:
            assert "raised" in seen
        else:
            expected = message(answer.body)
            names = ("id", "model", "content", "stop_reason", "stop_sequence")
            assert [seen[name] for name in names] == [expected[name] for name in names]
            assert seen["usage"]["output_tokens"] == expected["usage"]["output_tokens"]
            assert seen["usage"]["input_tokens"] == expected["usage"]["input_tokens"]


async def test_openais_sdk_reads_messages(aiohttp_server: ServerOf) -> None:
    answers = [of_openai(row) for row in MESSAGES]
    for answer, seen in zip(answers, await read_by(OPENAI, "openai", answers, aiohttp_server), strict=True):
        if answer.status != 200:
            assert seen == {"raised": RAISED.get(answer.status, seen["raised"]), "status": answer.status}
        elif not answer.streamed:
            assert seen == json.loads(answer.body)
        elif b'"error":{' in answer.body:
            assert seen["raised"] == "APIError"
        else:
            expected = completion(answer.body)
            choice, said = seen["choices"][0], expected["choices"][0]["message"]
            assert choice["finish_reason"] == expected["choices"][0]["finish_reason"]
            for key in said.keys() - {"tool_calls"}:
                assert choice["message"][key] == said[key], key
            assert [called(call) for call in choice["message"].get("tool_calls") or ()] == [
                called(call) for call in said.get("tool_calls", ())
            ]
            assert seen["usage"] == expected["usage"]


def called(call: dict[str, Any]) -> tuple[str, str, str]:
    return call["id"], call["function"]["name"], call["function"]["arguments"]
