"""The facts of a Messages request. What of one is refused is in tests/edge/inference/test_anthropic_messages.py."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.anthropic_messages.request import (
    MessagesRequest,
    read_counting_request,
    read_messages_request,
)
from gateway.core.anthropic_messages.splicing import BUDGET_TOKENS_MIN, splice_for
from gateway.core.anthropic_messages.tools import HIDDEN_BYTES
from gateway.core.errors import InvalidRequest
from gateway.upstream.registry import Upstream
from tests.core import json_text

USER = [{"role": "user", "content": "hi"}]
UPSTREAM = Upstream(name="main", provider="anthropic", base_url="http://127.0.0.1:9/v1", api_key="")


def encoded(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "max_tokens": 100, "messages": USER, **fields})


def read(**fields: Any) -> MessagesRequest:
    return read_messages_request(encoded(**fields))


def read_block(**block: Any) -> MessagesRequest:
    return read(messages=[{"role": "user", "content": [block]}])


def test_the_facts_of_a_plain_request() -> None:
    body = encoded(stream=True, service_tier="standard_only", system="be brief")
    request = read_messages_request(body)
    assert (request.model, request.stream, request.output_limit, request.n) == ("m", True, 100, 1)
    assert (request.service_tier, request.message_count, request.prompt_bytes) == ("standard_only", 1, len(body))
    others = ("images", "by_reference", "tools", "hosted_tools", "audio", "other_output", "cache_writes_1h")
    assert not any(getattr(request, name) for name in others)


def test_white_space_and_inline_images_are_not_in_the_bytes_of_the_prompt() -> None:
    spaced = msgspec.json.format(encoded(), indent=4)
    assert read_messages_request(spaced).prompt_bytes == read().prompt_bytes
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1000}
    request = read_block(type="image", source=source)
    assert request.images == 1
    assert request.prompt_bytes == read_block(type="image", source={**source, "data": ""}).prompt_bytes
    assert not request.by_reference


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "hi"}]}},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"source": {"type": "url"}}},
        {"type": "tool_result", "tool_use_id": "1", "content": "18"},
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "18"}]},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "s"},
        {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "encrypted_content": "e"}]},
    ],
)
def test_blocks_that_are_all_there(block: dict[str, Any]) -> None:
    assert not read_block(**block).by_reference


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "source": {"type": "url", "url": "https://images.example/cat.png"}},
        {"type": "document", "source": {"type": "url", "url": "https://papers.example/p.pdf"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A"}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "https://x.example"}}]},
        {"type": "not_known_yet"},
        {"text": "without a type"},
    ],
)
def test_blocks_whose_bytes_bound_nothing(block: dict[str, Any]) -> None:
    assert read_block(**block).by_reference


def test_a_reference_to_a_tool_has_its_definition_read_again() -> None:
    tools = [{"name": "look", "description": "x" * 1000, "input_schema": {"type": "object"}}]
    plain = read(tools=tools)
    result = {"type": "tool_result", "content": [{"type": "tool_reference", "tool_name": "look"}]}
    referring = read(tools=tools, messages=[{"role": "user", "content": [result]}])
    assert referring.prompt_bytes > plain.prompt_bytes + 1000


def test_tools_of_the_client_and_of_the_provider() -> None:
    own = {"name": "look", "input_schema": {"type": "object"}}
    assert (read(tools=[own]).tools, read(tools=[own]).hosted_tools) == (True, False)
    shell = read(tools=[{"type": "bash_20250124", "name": "bash"}])
    assert not shell.hosted_tools
    assert shell.prompt_bytes >= HIDDEN_BYTES
    for tool in ({"type": "web_search_20250305", "name": "web_search"}, {"type": "code_execution_20260120"}):
        assert read(tools=[own, tool]).hosted_tools
    assert read(mcp_servers=[{"type": "url", "url": "https://mcp.example", "name": "x"}]).hosted_tools
    assert not read(mcp_servers=[]).hosted_tools
    assert read(container={"skills": [{"type": "anthropic", "skill_id": "pdf"}]}).hosted_tools


@pytest.mark.parametrize("ttl", ['"1h"', '"\\u0031h"', '"1\\u0068"'])
def test_an_hour_in_the_cache_is_seen_in_every_spelling(ttl: str) -> None:
    system = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "5m"}}]
    body = encoded(system=system).decode().replace('"5m"', ttl)
    assert read_messages_request(body.encode()).cache_writes_1h
    assert not read_messages_request(body.replace(ttl, '"5m"').encode()).cache_writes_1h


def test_to_count_tokens_no_limit_is_needed() -> None:
    body = msgspec.json.encode({"model": "m", "messages": USER})
    assert read_counting_request(body).output_limit is None
    with pytest.raises(InvalidRequest, match="max_tokens") as refusal:
        read_messages_request(body)
    assert refusal.value.param == "max_tokens"


_KEYS = st.sampled_from(["model", "max_tokens", "messages", "system", "tools", "thinking", "container", "Model", "x"])
_VALUES = st.one_of(json_text.values, st.sampled_from(['"m"', "5", '[{"role":"user","content":[{"type":"image"}]}]']))


@given(text=st.lists(st.tuples(_KEYS, _VALUES), max_size=6).flatmap(json_text.object_of))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    try:
        request = read_messages_request(text.encode())
    except InvalidRequest:
        return
    assert request.model == msgspec.json.decode(text)["model"]


# --- splicing ---------------------------------------------------------------------------------------------------------


def test_what_need_not_change_stays_the_same_bytes() -> None:
    request = read()
    assert splice_for(request, "m", UPSTREAM, None) == (request.body, False)
    assert splice_for(request, "m", UPSTREAM, 100)[0] is request.body
    assert splice_for(request, "m", UPSTREAM, 5000)[0] is request.body, "a limit is never raised"


def test_model_and_limit_are_replaced_where_they_stand() -> None:
    body = b'{ "max_tokens" : 100, "messages": [{"role": "user", "content": "\xc3\xa4"}], "model" : "m" }'
    spliced, _ = splice_for(read_messages_request(body), "other", UPSTREAM, 50)
    assert spliced == body.replace(b" 100,", b" 50,").replace(b'"m" }', b'"other" }')


@pytest.mark.parametrize(
    ("limit", "budget"), [(5000, 4999), (BUDGET_TOKENS_MIN + 1, BUDGET_TOKENS_MIN), (300, BUDGET_TOKENS_MIN)]
)
def test_a_budget_for_thinking_stays_below_a_lowered_limit(limit: int, budget: int) -> None:
    request = read(max_tokens=9000, thinking={"type": "enabled", "budget_tokens": 8000})
    spliced = msgspec.json.decode(splice_for(request, "m", UPSTREAM, limit)[0])
    assert (spliced["max_tokens"], spliced["thinking"]["budget_tokens"]) == (limit, budget)
