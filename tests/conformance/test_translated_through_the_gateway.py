"""Recorded calls through a running gateway by callers of the other dialect: they read the translated answer, and are
charged the usage that the provider recorded.

Every model has one price here, so that a charge says exactly which usage was counted.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import error_to_chat, error_to_messages
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from gateway.core.translation.responses.answers_from_chat import chat_answer_to_responses
from gateway.core.translation.responses.answers_to_chat import responses_answer_to_chat
from gateway.core.translation.responses.errors import messages_error_to_responses, responses_error_to_messages
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
from gateway.core.usage import Usage
from gateway.replay.server import ReplayOptions, ReplayServer
from tests.conformance.recorded import (
    Recorded,
    expected_usage,
    is_not_ready,
    messages_usage,
    own_usage,
    recorded,
    responses_usage,
    states_an_error,
)
from tests.conformance.test_translation import told
from tests.core.translation.responses.said import (
    Translate,
    encoded,
    fed,
    from_chat,
    from_messages,
    to_chat,
    to_messages,
)
from tests.e2e.audit import audit
from tests.e2e.running import Customer, RunningGateway, running_gateway

AT_ONCE: Final = 8
CREDITS: Final = 1_000_000
UCR_PER_CREDIT: Final = 1_000_000
CONFIG: Final = """
[reserve]
drop_unsupported = true

[[upstreams]]
name = "chats"
provider = "own"
base_url = "{url}"
models = ["a-chat"]
extended_chat = true

[[upstreams]]
name = "messages"
provider = "own"
base_url = "{url}"
models = ["a-message"]
dialects = ["anthropic-messages"]

[[upstreams]]
name = "responses"
provider = "own"
base_url = "{url}"
models = ["a-response"]
dialects = ["openai-responses"]

[[prices]]
provider = "own"
model = "a-response"
input_usd_per_million = 2
output_usd_per_million = 9
context_tokens = 1000000
output_tokens_max = 64000

[[prices]]
provider = "own"
model = "a-chat"
input_usd_per_million = 2
output_usd_per_million = 9
context_tokens = 1000000
output_tokens_max = 64000

[[prices]]
provider = "own"
model = "a-message"
input_usd_per_million = 2
output_usd_per_million = 9
context_tokens = 1000000
output_tokens_max = 64000
"""


@pytest.fixture
async def provider() -> AsyncIterator[ReplayServer]:
    folder = os.environ.get("RECORDINGS_DIR")
    async with ReplayServer(ReplayOptions(recordings=Path(folder) if folder else None)) as server:
        yield server


@pytest.fixture
async def gateway(dsn: str, provider: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    config = CONFIG.format(url=provider.base_url)
    async with running_gateway(dsn=dsn, upstream_url=None, data_dir=tmp_path, config=config) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


USAGE: Final = re.compile(rb'"usage":(\{(?:[^{}]|\{[^{}]*\})*\}|null)')


def as_a_chat(row: Recorded) -> dict[str, Any] | None:
    """What a chat client would have asked; None where nothing is left to say."""
    try:
        said = request_to_chat(json.dumps(row.request).encode(), ChatTarget(), drop_unsupported=True)
    except InvalidRequest:
        return None
    return {**json.loads(said.body), "model": "a-message"}


def as_a_message(row: Recorded) -> dict[str, Any] | None:
    target = MessagesTarget(max_tokens_default=4096)
    try:
        said = request_to_messages(json.dumps(row.request).encode(), target, drop_unsupported=True)
    except InvalidRequest:
        return None
    return {**json.loads(said.body), "model": "a-chat"}


def in_a_chat(row: Recorded, asked: dict[str, Any]) -> tuple[int, bytes]:
    """The answer that the chat client should read."""
    if row.status >= 400:
        error = error_to_chat(row.status, row.body)
        return error.status, error.body
    if row.streamed:
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        return 200, told(StreamToChat(created=0, include_usage=usage), row.body)
    return 200, answer_to_chat(row.body, created=0).body


def in_messages(row: Recorded) -> tuple[int, bytes]:
    if row.status >= 400:
        error = error_to_messages(row.status, row.body)
        return error.status, error.body
    if row.streamed:
        return 200, told(StreamToMessages(), row.body)
    return 200, answer_to_messages(row.body).body


def comparable(body: bytes) -> bytes:
    """Without the moment, and without the id of a refused call, which are the gateway's own."""
    return re.sub(rb'"created(_at)?":\d+|,"request_id":"[^"]*"', b"", body)


def without_usage(body: bytes) -> bytes:
    return USAGE.sub(b"", comparable(body))


def usage_told(body: bytes) -> Usage:
    """The last, of a caller of Messages or of Responses."""
    told = json.loads([found for found in USAGE.findall(body) if found != b"null"][-1])
    return Usage(prompt_tokens=told["input_tokens"], output_tokens=told["output_tokens"])


def cost_ucr(usage: Usage) -> int:
    # USD per million tokens are millionths of a USD per token, and a USD is a thousand credits.
    return 1_000 * (usage.prompt_tokens * 2 + usage.output_tokens * 9)


async def compare(
    gateway: RunningGateway,
    customer: Customer,
    path: str,
    wanted: list[tuple[Recorded, dict[str, Any], tuple[int, bytes], Usage | None]],
) -> None:
    room = asyncio.Semaphore(AT_ONCE)
    key = {"authorization": f"Bearer {customer.api_key}"}

    async def one(row: Recorded, request: dict[str, Any], answer: tuple[int, bytes], usage: Usage | None) -> int:
        headers = {**key, "content-type": "application/json", "x-replay-id": row.id}
        async with room:
            async with gateway.session.post(
                f"{gateway.base_url}{path}", data=json.dumps(request).encode(), headers=headers
            ) as response:
                status, body, id = response.status, await response.read(), response.headers["x-request-id"]
            shown = without_usage if usage is None else comparable
            assert (status, shown(body)) == (answer[0], shown(answer[1])), row.id
            async with gateway.session.get(
                f"{gateway.base_url}/generation", params={"id": id}, headers=key
            ) as response:
                call = json.loads(await response.read(), parse_float=Decimal)["data"]
        charged = int(Decimal(call["total_cost"]) * UCR_PER_CREDIT)
        if usage is None or row.status >= 400:
            assert charged == 0 or (call["end"], charged) == ("estimated", cost_ucr(usage_told(body))), row.id
        else:
            assert (call["end"], charged) == ("ok", cost_ucr(usage)), row.id
        return charged

    spent = sum(await asyncio.gather(*(one(*each) for each in wanted)))
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (CREDITS * UCR_PER_CREDIT - spent, 0)


async def test_recorded_messages_are_read_by_callers_of_chats_at_the_recorded_cost(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    wanted = []
    for row in recorded("anthropic-messages"):
        asked = as_a_chat(row)
        if asked is not None and not states_an_error(row):
            wanted.append((row, asked, in_a_chat(row, asked), messages_usage(row)))
    assert wanted
    await compare(gateway, customer, "/chat/completions", wanted)


async def test_recorded_chats_are_read_by_callers_of_messages_at_the_recorded_cost(gateway: RunningGateway) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    wanted = []
    for row in recorded():
        asked = as_a_message(row)
        if asked is not None and not states_an_error(row):
            usage = own_usage(row) if row.status == 200 else None
            wanted.append((row, asked, in_messages(row), expected_usage(usage) if usage else None))
    assert wanted
    await compare(gateway, customer, "/messages", wanted)


# --- OpenAI's Responses -----------------------------------------------------------------------------------------------

Wanted = tuple[Recorded, dict[str, Any], tuple[int, bytes], Usage | None]


def asked_as(row: Recorded, translate: Translate, model: str) -> dict[str, Any] | None:
    """What a client of the other dialect would have asked; None where nothing is left to say."""
    try:
        return {**json.loads(translate(encoded(row.request), True).body), "model": model}
    except InvalidRequest:
        return None


def responses_in_a_chat(row: Recorded, asked: dict[str, Any]) -> tuple[int, bytes]:
    if row.status >= 400:
        return row.status, row.body
    if row.streamed:
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        return 200, fed(ResponsesStreamToChat(include_usage=usage), row.body)
    return 200, responses_answer_to_chat(row.body).body


def responses_in_messages(row: Recorded, _: dict[str, Any]) -> tuple[int, bytes]:
    if row.status >= 400:
        error = responses_error_to_messages(row.status, row.body)
        return error.status, error.body
    if row.streamed:
        return 200, fed(ResponsesStreamToMessages(), row.body)
    return 200, responses_answer_to_messages(row.body).body


def chats_in_responses(row: Recorded, asked: dict[str, Any]) -> tuple[int, bytes]:
    if row.status >= 400:
        return row.status, row.body
    if row.streamed:
        return 200, fed(ChatStreamToResponses(request=json.dumps(asked).encode()), row.body)
    return 200, chat_answer_to_responses(row.body).body


def messages_in_responses(row: Recorded, asked: dict[str, Any]) -> tuple[int, bytes]:
    if row.status >= 400:
        error = messages_error_to_responses(row.status, row.body)
        return error.status, error.body
    if row.streamed:
        return 200, fed(MessagesStreamToResponses(created=0, request=json.dumps(asked).encode()), row.body)
    return 200, messages_answer_to_responses(row.body, created=0).body


def chat_usage(row: Recorded) -> Usage | None:
    usage = own_usage(row) if row.status == 200 else None
    return expected_usage(usage) if usage else None


@pytest.mark.parametrize(
    ("kind", "translate", "model", "path", "answer", "usage"),
    [
        ("openai-responses", to_chat(), "a-response", "/chat/completions", responses_in_a_chat, responses_usage),
        ("openai-responses", to_messages(), "a-response", "/messages", responses_in_messages, responses_usage),
        ("openai-chat", from_chat(), "a-chat", "/responses", chats_in_responses, chat_usage),
        ("anthropic-messages", from_messages(), "a-message", "/responses", messages_in_responses, messages_usage),
    ],
)
async def test_recorded_calls_are_read_by_callers_of_another_dialect_at_the_recorded_cost(
    gateway: RunningGateway,
    kind: str,
    translate: Translate,
    model: str,
    path: str,
    answer: Callable[[Recorded, dict[str, Any]], tuple[int, bytes]],
    usage: Callable[[Recorded], Usage | None],
) -> None:
    customer = await gateway.customer(credits=str(CREDITS))
    wanted: list[Wanted] = []
    for row in recorded(kind):
        asked = asked_as(row, translate, model)
        if asked is None or states_an_error(row) or (kind == "openai-responses" and is_not_ready(row)):
            continue
        wanted.append((row, asked, answer(row, asked), usage(row)))
    assert wanted
    await compare(gateway, customer, path, wanted)
