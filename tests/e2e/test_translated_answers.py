"""Translated answers, read by the SDKs of the dialect that they are in: over real HTTP, checked by their own models."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import error_to_chat, error_to_messages
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.errors import (
    chat_error_to_responses,
    messages_error_to_responses,
    responses_error_to_chat,
    responses_error_to_messages,
)
from gateway.core.translation.responses.streams_from_chat import ChatStreamToResponses
from gateway.core.translation.responses.streams_to_chat import ResponsesStreamToChat
from gateway.core.translation.responses.through_chat import (
    MessagesStreamToResponses,
    ResponsesStreamToMessages,
    messages_answer_to_responses,
    responses_answer_to_messages,
)
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages
from tests.conformance.recorded import Recorded, is_not_ready
from tests.conformance.test_translation import CHATS, CREATED, MESSAGES, told
from tests.conformance.test_translation_of_responses import RESPONSES_ROWS
from tests.core.translation.accumulation import completion, message
from tests.core.translation.responses.said import fed, response_of
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


def in_responses(row: Recorded, translator: ChatStreamToResponses | MessagesStreamToResponses) -> Answer:
    """Of a chat or of messages."""
    of_chat = isinstance(translator, ChatStreamToResponses)
    if row.status >= 400:
        error = (chat_error_to_responses if of_chat else messages_error_to_responses)(row.status, row.body)
        return Answer(error.status, error.body, False)
    if row.streamed:
        return Answer(200, fed(translator, row.body), True)
    whole = chat_answer_to_responses(row.body) if of_chat else messages_answer_to_responses(row.body, created=CREATED)
    return Answer(200, whole.body, False)


def of_responses(row: Recorded, translator: ResponsesStreamToChat | ResponsesStreamToMessages) -> Answer:
    to_chat = isinstance(translator, ResponsesStreamToChat)
    if row.status >= 400:
        error = (responses_error_to_chat if to_chat else responses_error_to_messages)(row.status, row.body)
        return Answer(error.status, error.body, False)
    if row.streamed:
        return Answer(200, fed(translator, row.body), True)
    whole = responses_answer_to_chat(row.body) if to_chat else responses_answer_to_messages(row.body)
    return Answer(200, whole.body, False)


async def read_by(
    sdk: Sdk, name: str, answers: list[Answer], server_of: ServerOf, *, api: str = "messages"
) -> list[Any]:
    """What the SDK made of each answer."""

    async def answer(request: web.Request) -> web.Response:
        one = answers[int((await request.json())["model"])]
        kind = "text/event-stream" if one.streamed else "application/json"
        return web.Response(status=one.status, body=one.body, content_type=kind)

    app = web.Application()
    app.router.add_post("/v1/messages", answer)
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_post("/v1/responses", answer)
    server = await server_of(app)
    cases = [f"{at}-stream" if answer.streamed else str(at) for at, answer in enumerate(answers)]
    seen = await sdk.run(cases, {"SDK": name, "API": api, "BASE_URL": str(server.make_url("")).rstrip("/")})
    return [seen[case] for case in cases]


RAISED = {400: "BadRequestError", 401: "AuthenticationError", 404: "NotFoundError", 429: "RateLimitError"}


READY = [row for row in RESPONSES_ROWS if row.status >= 400 or not is_not_ready(row)]


async def test_anthropics_sdk_reads_chats(aiohttp_server: ServerOf) -> None:
    await reads_messages([of_anthropic(row) for row in CHATS], aiohttp_server)


async def test_anthropics_sdk_reads_responses(aiohttp_server: ServerOf) -> None:
    await reads_messages([of_responses(row, ResponsesStreamToMessages()) for row in READY], aiohttp_server)


async def reads_messages(answers: list[Answer], aiohttp_server: ServerOf) -> None:
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
    await reads_chats([of_openai(row) for row in MESSAGES], aiohttp_server)


async def test_openais_sdk_reads_responses_as_chats(aiohttp_server: ServerOf) -> None:
    rows = [of_responses(row, ResponsesStreamToChat(include_usage=True)) for row in READY]
    await reads_chats(rows, aiohttp_server)


async def test_openais_sdk_reads_chats_and_messages_as_responses(aiohttp_server: ServerOf) -> None:
    answers = [in_responses(row, ChatStreamToResponses()) for row in CHATS]
    answers += [in_responses(row, MessagesStreamToResponses(created=CREATED)) for row in MESSAGES]
    read = await read_by(OPENAI, "openai", answers, aiohttp_server, api="responses")
    for answer, seen in zip(answers, read, strict=True):
        if answer.status != 200:
            assert seen == {"raised": RAISED.get(answer.status, seen["raised"]), "status": answer.status}
        elif not answer.streamed:
            assert seen == json.loads(answer.body)
        elif b"event: error" in answer.body:
            assert seen["raised"] == "APIError"
        else:
            assert seen == response_of(answer.body)


async def reads_chats(answers: list[Answer], aiohttp_server: ServerOf) -> None:
    read = await read_by(OPENAI, "openai", answers, aiohttp_server, api="chat")
    for answer, seen in zip(answers, read, strict=True):
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
            assert seen.get("usage") == expected.get("usage")


def called(call: dict[str, Any]) -> tuple[str, str, str]:
    return call["id"], call["function"]["name"], call["function"]["arguments"]
