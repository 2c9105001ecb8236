"""The habits that the table says a provider has, against what providers have sent: as shapes always, and where
RECORDINGS_DIR is set, as real traffic."""

import json
import re
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from gateway.core.openai_chat.answer import read_chat_answer
from gateway.core.openai_chat.meter import ChatMeter
from gateway.core.openai_chat.request import read_chat_request
from gateway.core.openai_chat.splicing import splice
from gateway.core.sse import SseParser
from gateway.core.usage import Usage
from gateway.upstream.providers import PROVIDERS
from tests.conformance.recorded import Recorded, expected_usage, own_usage, recorded, states_an_error

_TEXT: Final = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hello"}}]}
_ENDS: Final[dict[str, Any]] = {
    "id": "c",
    "model": "m",
    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
}
_APART: Final[dict[str, Any]] = {"id": "c", "model": "m", "choices": []}
_PLAIN: Final = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}
_USED: Final = Usage(prompt_tokens=40, output_tokens=12)

SHAPES: Final[dict[str, tuple[list[dict[str, Any]], Usage]]] = {
    "openai": (
        [_ENDS, _APART | {"usage": _PLAIN | {"prompt_tokens_details": {"cached_tokens": 8}}}],
        Usage(prompt_tokens=40, cached_tokens=8, output_tokens=12),
    ),
    "groq": ([_ENDS | {"usage": _PLAIN, "x_groq": {"usage": _PLAIN}}], _USED),
    "mistral": ([_ENDS | {"usage": _PLAIN | {"num_cached_tokens": 8}}], Usage(40, 8, 0, 12)),
    "deepseek": (
        [_ENDS, _APART | {"usage": _PLAIN | {"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 32}}],
        Usage(40, 8, 0, 12),
    ),
    "xai": (
        [
            _ENDS,
            _APART | {"usage": _PLAIN | {"total_tokens": 82, "completion_tokens_details": {"reasoning_tokens": 30}}},
        ],
        Usage(prompt_tokens=40, output_tokens=42, reasoning_tokens=30),
    ),
    "gemini": (
        [
            _TEXT | {"usage": {"prompt_tokens": 40, "completion_tokens": 5, "total_tokens": 60}},
            _ENDS | {"usage": _PLAIN | {"total_tokens": 82}},
        ],
        Usage(prompt_tokens=40, output_tokens=42),
    ),
    "openrouter": ([_ENDS | {"usage": _PLAIN | {"cost": 0.01}}], _USED),
    "zai": ([_ENDS | {"usage": _PLAIN}], _USED),
    "moonshot": (
        [{**_ENDS, "choices": [{**_ENDS["choices"][0], "usage": _PLAIN | {"cached_tokens": 8}}]}],
        Usage(40, 8, 0, 12),
    ),
    "deepinfra": ([_ENDS | {"usage": _PLAIN | {"estimated_cost": 0.01}}], _USED),
    "huggingface": ([_ENDS, _APART | {"usage": _PLAIN | {"cached_tokens": 8}}], Usage(40, 8, 0, 12)),
    "snowflake": ([_ENDS, _APART | {"usage": _PLAIN}], _USED),
}
"""The ends of streams as docs/providers.md tells them, each behind some text."""


@pytest.mark.parametrize(("ends", "usage"), SHAPES.values(), ids=SHAPES)
def test_a_stream_that_ends_as_the_providers_do_is_read_exactly(ends: list[dict[str, Any]], usage: Usage) -> None:
    body = b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in (_TEXT, *ends)) + b"data: [DONE]\n\n"
    meter = metered(body)
    assert meter.final_usage(7) == meter.usage == usage


def metered(body: bytes, n: int = 1) -> ChatMeter:
    meter = ChatMeter(n=n)
    for event in SseParser().feed(body):
        meter.observe(event)
    return meter


def provider_of(row: Recorded) -> str | None:
    for name, provider in PROVIDERS.items():
        address = re.escape(urlsplit(provider.base_url or provider.base_url_hint).netloc)
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^.]+", address), row.host):
            return name
    return None


def test_recorded_chats_are_read_exactly_and_asked_as_their_provider_takes_it() -> None:
    """Without RECORDINGS_DIR there are none: those that are shipped are of no provider."""
    for row in recorded():
        name = provider_of(row)
        if name is None or row.status != 200:
            continue
        stated = own_usage(row)
        if not row.streamed:
            assert stated is not None
            assert read_chat_answer(row.body).final_usage(7) == expected_usage(stated), row.id
            continue
        body = json.dumps({key: value for key, value in row.request.items() if key != "stream_options"}).encode()
        sent = json.loads(splice(read_chat_request(body), include_usage=PROVIDERS[name].include_usage))
        if "stream_options" in row.request:  # and was answered 200: it takes them
            assert sent["stream_options"] == row.request["stream_options"], row.id
        found = metered(row.body, row.choices)
        if stated is None:
            assert states_an_error(row), row.id
        else:
            assert found.final_usage(7) == found.usage == expected_usage(stated), row.id


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.groq.com", "groq"),
        ("my-own.openai.azure.com", "azure"),
        ("bedrock-mantle.us-east-1.api.aws", "bedrock_mantle"),
        ("localhost:11434", "ollama"),
        ("evil.example", None),
        ("api.groq.com.evil.example", None),
    ],
)
def test_a_host_is_its_providers(host: str, name: str | None) -> None:
    assert provider_of(Recorded("1", host, {}, 200, False, b"")) == name
