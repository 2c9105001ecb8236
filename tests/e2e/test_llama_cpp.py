"""A server that nobody here wrote is behind the gateway: llama.cpp's, with a model whose words are known beforehand."""

import contextlib
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.e2e.audit import audit
from tests.e2e.llama_cpp import (
    ASKED_TOKENS,
    DIALECTS,
    FOREVER,
    INPUT_UCR,
    SAID,
    SAID_TOKENS,
    TOOL_SCHEMA,
    WINDOW,
    Answer,
    Llama,
    ask,
    chat,
    cost_ucr,
    response,
    running_llama,
)
from tests.e2e.running import Customer, RunningGateway, running_gateway
from tests.e2e.sdks import ANTHROPIC, PYTHON_LATEST
from tests.road import until

UCR_PER_CREDIT: Final = 1_000_000
MUCH: Final = 30_000
"""Tokens: seconds of talk, so that what stops before was stopped."""


@pytest.fixture
async def llama(tmp_path: Path) -> AsyncIterator[Llama]:
    async with running_llama(tmp_path) as llama:
        yield llama


@pytest.fixture
async def gateway(dsn: str, llama: Llama, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(dsn=dsn, upstream_url=None, data_dir=tmp_path, config=llama.config()) as running:
        yield running
        assert await running.stop() == 0
        assert running.said.complaints() == []
        assert await audit(dsn) == []


@pytest.fixture
async def customer(gateway: RunningGateway) -> Customer:
    return await gateway.customer(credits="10000")


# --- what is said, and what it costs ----------------------------------------------------------------------------------


async def test_every_dialect_native_and_translated_says_the_same_and_costs_what_the_server_counted(
    gateway: RunningGateway, customer: Customer
) -> None:
    spent_ucr = 0
    for caller, (path, request, said, stream_said) in DIALECTS.items():
        for model in ("native", *DIALECTS):
            for stream in (False, True):
                answer = await ask(gateway, customer, path, request(model, stream=stream))
                assert answer.status == 200, answer.body
                assert (stream_said if stream else said)(answer) == SAID, answer.body
                prompt, cached, output = answer.tokens
                assert (prompt, output, answer.row["end"]) == (ASKED_TOKENS, SAID_TOKENS, "ok")
                assert cached == (ASKED_TOKENS - 1 if spent_ucr else 0), (
                    "the server has it in its cache after the first"
                )
                assert answer.cost_ucr == cost_ucr(prompt, cached, output)
                translated = model if model not in ("native", caller) else None
                assert answer.headers.get("x-tollgate-translated") == translated
                spent_ucr += answer.cost_ucr
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000 * UCR_PER_CREDIT - spent_ucr, 0)


async def test_the_usage_that_the_server_reports_is_what_is_charged(
    gateway: RunningGateway, customer: Customer
) -> None:
    whole = await ask(gateway, customer, "chat/completions", chat("native", max_tokens=3))
    usage = whole.json["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert (whole.json["choices"][0]["finish_reason"], usage["completion_tokens"]) == ("length", 3)
    assert whole.cost_ucr == cost_ucr(usage["prompt_tokens"], cached, 3)
    charged = Decimal(whole.headers["x-tollgate-credits-charged"])
    assert charged * UCR_PER_CREDIT == whole.cost_ucr

    with_usage = chat("native", stream=True, stream_options={"include_usage": True})
    streamed = await ask(gateway, customer, "chat/completions", with_usage)
    [usage] = [chunk["usage"] for chunk in streamed.events if not chunk["choices"]]
    assert streamed.tokens == (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], SAID_TOKENS)
    unasked = await ask(gateway, customer, "chat/completions", chat("native", stream=True))
    assert all(chunk["choices"] and "usage" not in chunk for chunk in unasked.events)
    assert unasked.tokens == streamed.tokens, "asked for by the gateway, and kept from who did not ask"

    completed = await ask(gateway, customer, "completions", {"model": "native", "prompt": "Whoever"})
    assert completed.json["choices"][0]["text"] == SAID.removeprefix("Whoever")
    assert completed.cost_ucr == cost_ucr(2, completed.tokens[1], SAID_TOKENS - 1)

    embedded = await ask(gateway, customer, "embeddings", {"model": "embedder", "input": ["Hello", "a"]})
    assert [one["index"] for one in embedded.json["data"]] == [0, 1]
    assert embedded.json["usage"]["prompt_tokens"] == len("Hello") + len("a") + 2, "each begins with a token of its own"
    assert embedded.cost_ucr == 8 * INPUT_UCR

    counting = {"model": "native", "messages": chat("native")["messages"]}
    async with gateway.session.post(
        f"{gateway.base_url}/messages/count_tokens", json=counting, headers={"x-api-key": customer.api_key}
    ) as response:
        assert await response.json() == {"input_tokens": ASKED_TOKENS}


async def test_the_server_calls_tools_in_every_dialect(gateway: RunningGateway, customer: Customer) -> None:
    tool = {"name": "open_gate", "description": "Opens a gate", "parameters": TOOL_SCHEMA}
    asked: dict[str, dict[str, Any]] = {
        "openai-chat": {"tools": [{"type": "function", "function": tool}], "tool_choice": "required"},
        "anthropic-messages": {
            "tools": [{"name": "open_gate", "description": "Opens a gate", "input_schema": TOOL_SCHEMA}],
            "tool_choice": {"type": "any"},
        },
        "openai-responses": {"tools": [{"type": "function", **tool}], "tool_choice": "required"},
    }
    for caller, (path, request, _, _) in DIALECTS.items():
        for model in ("native", *DIALECTS):
            answer = await ask(gateway, customer, path, request(model, **asked[caller]))
            assert answer.status == 200, answer.body
            calls = calls_of(caller, answer)
            assert calls
            assert all(name == "open_gate" and given["gate"] in ("north", "south") for name, given in calls)
            assert answer.row["end"] == "ok"
            assert answer.cost_ucr == cost_ucr(*answer.tokens)
    streamed = await ask(gateway, customer, "chat/completions", chat("native", stream=True, **asked["openai-chat"]))
    calls_streamed = [
        call["function"]
        for chunk in streamed.events
        for choice in chunk["choices"]
        for call in choice["delta"].get("tool_calls", [])
        if call["index"] == 0
    ]
    assert calls_streamed[0]["name"] == "open_gate"
    assert json.loads("".join(call["arguments"] for call in calls_streamed))["gate"] in ("north", "south")


def calls_of(dialect: str, answer: Answer) -> list[tuple[str, Any]]:
    if dialect == "openai-chat":
        functions = [call["function"] for call in answer.json["choices"][0]["message"]["tool_calls"]]
        return [(function["name"], json.loads(function["arguments"])) for function in functions]
    if dialect == "anthropic-messages":
        return [(block["name"], block["input"]) for block in answer.json["content"] if block["type"] == "tool_use"]
    items = [item for item in answer.json["output"] if item["type"] == "function_call"]
    return [(item["name"], json.loads(item["arguments"])) for item in items]


async def test_the_vendors_own_sdks_read_its_answers(gateway: RunningGateway, customer: Customer) -> None:
    seen = await PYTHON_LATEST.run(
        ["chat", "stream", "stream_with_usage", "stream_helper", "async_client"],
        {"OPENAI_BASE_URL": gateway.base_url, "OPENAI_API_KEY": customer.api_key},
    )
    for case in ("chat", "stream", "stream_with_usage", "stream_helper"):
        assert [choice["content"] for choice in seen[case]["choices"]] == [SAID]
    assert [usage["completion_tokens"] for usage in seen["stream_with_usage"]["usages"]] == [SAID_TOKENS]
    seen = await ANTHROPIC.run(
        ["message", "stream", "stream_helper", "async_client", "count_tokens"],
        {"ANTHROPIC_BASE_URL": gateway.url, "ANTHROPIC_API_KEY": customer.api_key},
    )
    assert {seen[case]["text"] for case in ("message", "stream", "stream_helper")} == {SAID}
    assert seen["stream"]["types"][-2:] == ["message_delta", "message_stop"]
    assert (await gateway.balance(customer.org_id)).held_ucr == 0


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_an_output_limit_that_the_gateway_sets_is_kept(gateway: RunningGateway) -> None:
    poor = await gateway.customer(credits="10")
    request = chat("native", **FOREVER)
    del request["max_tokens"]
    answer = await ask(gateway, poor, "chat/completions", request)
    limit = int(answer.headers["x-tollgate-output-limit"])
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert 256 < limit == answer.json["usage"]["completion_tokens"]
    assert answer.cost_ucr <= 10 * UCR_PER_CREDIT


async def test_what_would_be_made_beyond_what_is_held_is_refused(gateway: RunningGateway, customer: Customer) -> None:
    """llama.cpp itself makes 40 tokens of max_tokens 5 with n_predict 40, and reports one answer's usage of two."""
    two = [
        ("chat/completions", chat("native", n=2), "n", "answers_not_counted"),
        ("completions", {"model": "native", "prompt": ["a", "b"]}, "prompt", "answers_not_counted"),
        ("chat/completions", chat("native", n_cmpl=2), "n_cmpl", "invalid_request"),
        ("chat/completions", chat("native", n_predict=40), "n_predict", "invalid_request"),
        ("completions", {"model": "native", "prompt": "a", "n_predict": 40}, "n_predict", "invalid_request"),
        ("responses", response("native", max_completion_tokens=40), "max_completion_tokens", "invalid_request"),
        ("responses", response("native", n=2), "n", "invalid_request"),
    ]
    for path, body, param, code in two:
        answer = await ask(gateway, customer, path, body)
        error = answer.json["error"]
        assert (answer.status, error["param"], error["code"]) == (400, param, code)
    assert (await gateway.balance(customer.org_id)).balance_ucr == 10_000 * UCR_PER_CREDIT


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_the_servers_errors_arrive_as_they_are_and_cost_nothing(
    gateway: RunningGateway, customer: Customer
) -> None:
    long = [{"role": "user", "content": "x" * (WINDOW + 1)}]
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    seeing = [{"role": "user", "content": [picture]}]
    relayed = [
        ("chat/completions", chat("native", temperature="hot"), 400, "invalid_request_error"),
        ("chat/completions", chat("native", messages=long), 400, "exceed_context_size_error"),
        ("chat/completions", chat("native", messages=long, stream=True), 400, "exceed_context_size_error"),
        ("chat/completions", chat("native", messages=seeing), 500, "server_error"),
        ("messages", chat("native", messages=long), 400, "exceed_context_size_error"),
        ("messages", chat("openai-chat", messages=long, stream=True), 400, "invalid_request_error"),
        ("embeddings", {"model": "native", "input": "a"}, 501, "not_supported_error"),
    ]
    for path, body, status, kind in relayed:
        answer = await ask(gateway, customer, path, body)
        assert (answer.status, answer.json["error"]["type"]) == (status, kind), answer.body
        assert (answer.row["end"], answer.cost_ucr) == ("error", 0)
    unkept = response("native", store=True)
    kept = await ask(gateway, customer, "responses", unkept)
    again = await ask(gateway, customer, "responses", {**unkept, "previous_response_id": kept.json["id"]})
    assert (again.status, again.json["error"]["type"], again.cost_ucr) == (400, "invalid_request_error", 0)
    assert "previous_response_id" in again.json["error"]["message"], "it keeps none, and says so"
    unknown = await ask(gateway, customer, "chat/completions", chat("tiny-llama-70b"))
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000 * UCR_PER_CREDIT - kept.cost_ucr, 0)


async def test_a_caller_who_hangs_up_stops_the_server_and_pays_for_what_came(
    gateway: RunningGateway, llama: Llama, customer: Customer
) -> None:
    async with streaming_forever(gateway, customer) as response:
        for _ in range(20):
            await next_event(response)
        assert not await llama.idle()
        response.close()
    row = await gateway.said.request(id=response.headers["x-request-id"])
    await until(llama.idle, "the server stops")
    made = max(slot.get("n_prompt_tokens", 0) for slot in await llama.slots()) - ASKED_TOKENS
    assert made < MUCH / 2, "were it read on, all would be made"
    assert row["end"] == "cancelled"
    # The first event has only a role. A sentence of 7 tokens has 31 characters, which by our own count may be 8.
    assert 19 <= row["output_tokens"] <= (made + 2) * 8 / 7
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000 * UCR_PER_CREDIT - row["cost_ucr"], 0)


async def test_a_server_that_is_killed_ends_its_stream_with_an_error_and_what_came_is_charged(
    gateway: RunningGateway, llama: Llama, customer: Customer
) -> None:
    async with streaming_forever(gateway, customer) as response:
        for _ in range(20):
            await next_event(response)
        llama.process.kill()
        *_, last = [line for line in (await response.read()).splitlines() if line]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    row = await gateway.said.request(id=response.headers["x-request-id"])
    assert row["end"] == "error"
    assert 19 <= row["output_tokens"] < MUCH
    refused = await ask(gateway, customer, "chat/completions", chat("native"))
    assert (refused.status, refused.json["error"]["code"], refused.cost_ucr) == (502, "upstream_error", 0)
    balance = await gateway.balance(customer.org_id)
    assert (balance.balance_ucr, balance.held_ucr) == (10_000 * UCR_PER_CREDIT - row["cost_ucr"], 0)


@contextlib.asynccontextmanager
async def streaming_forever(gateway: RunningGateway, customer: Customer) -> AsyncIterator[aiohttp.ClientResponse]:
    request = {**chat("native", stream=True, **FOREVER), "max_tokens": MUCH}
    headers = {"authorization": f"Bearer {customer.api_key}"}
    url = f"{gateway.base_url}/chat/completions"
    async with gateway.session.post(url, json=request, headers=headers) as response:
        yield response


async def next_event(response: aiohttp.ClientResponse) -> None:
    assert (await response.content.readline()).startswith(b"data: ")
    assert await response.content.readline() == b"\n"
