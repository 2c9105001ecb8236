"""llama.cpp's server as a process, what it says of itself, and calls of every dialect that it speaks.

async with running_llama(folder) as llama:
    config = llama.config()
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.e2e.running import PROCESS_WITHIN_S, REPOSITORY, Customer, RunningGateway

PYTHON: Final = REPOSITORY / ".envs" / "llama-cpp" / "bin" / "python"
INPUT_UCR: Final = 3_000
CACHED_UCR: Final = 300
OUTPUT_UCR: Final = 15_000
WINDOW: Final = 32_768
FOREVER: Final = {"logit_bias": {"4": -100, "5": -100}, "temperature": 0}
"""Without the token that ends an answer and the one that calls a tool, tests/servers/tiny_llama.py begins anew."""
ASKED: Final = "Say hello."
ASKED_TOKENS: Final = 32
"""ASKED in the model's chat template: a byte is a token."""
SAID: Final = "Whoever crosses pays the toll."
SAID_TOKENS: Final = 7
TOOL_SCHEMA: Final = {
    "type": "object",
    "properties": {"gate": {"enum": ["north", "south"]}},
    "required": ["gate"],
    "additionalProperties": False,
}

SDK_MODELS: Final = ("gpt-4o-mini", "claude-haiku-4-5")
"""What the suites of tests/sdks ask for; here they are the tiny one."""

_CONFIG: Final = """
[reserve]
default_output_limit_tokens = 4096

[[prices]]
provider = "llama_cpp"
model = "tiny-llama"
input_usd_per_million = 3
cached_usd_per_million = 0.3
output_usd_per_million = 15
context_tokens = 32768
"""
_UPSTREAM: Final = """
[[upstreams]]
name = "{name}"
provider = "llama_cpp"
base_url = "{url}/v1"
models = []
{more}

[[models]]
name = "{name}"
targets = [{{ upstream = "{name}", model = "tiny-llama" }}]
"""
_ALIAS: Final = """
[[models]]
name = "{name}"
targets = [{{ upstream = "native", model = "tiny-llama" }}]
"""


@dataclass
class Llama:
    """The server that talks, and the one with the same model that makes embeddings."""

    talks: str
    embeds: str
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession

    def config(self) -> str:
        """Models `native` and `embedder`, and one for each dialect of chats that is asked in that dialect alone."""
        upstreams = [("native", self.talks, ""), ("embedder", self.embeds, "")]
        upstreams += [(name, self.talks, f'dialects = ["{name}"]') for name in DIALECTS]
        tables = [_UPSTREAM.format(name=name, url=url, more=more) for name, url, more in upstreams]
        return _CONFIG + "".join(tables) + "".join(_ALIAS.format(name=name) for name in SDK_MODELS)

    async def slots(self) -> list[dict[str, Any]]:
        """What it works on."""
        async with self.session.get(f"{self.talks}/slots") as response:
            slots: list[dict[str, Any]] = await response.json()
            return slots

    async def idle(self) -> bool:
        return not any(slot["is_processing"] for slot in await self.slots())


@contextlib.asynccontextmanager
async def running_llama(folder: Path) -> AsyncIterator[Llama]:
    assert PYTHON.exists(), f"{PYTHON} is missing: run `make server-envs`"
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), "-m", "tests.servers.llama_cpp", str(folder)),
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PROCESS_WITHIN_S):
            addresses = json.loads(await process.stdout.readline())
        async with aiohttp.ClientSession() as session:
            yield Llama(**addresses, process=process, session=session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# --- calls ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    row: Mapping[str, Any]
    """What the gateway's log says of the call: `cost_ucr`, tokens, how it ended."""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def tokens(self) -> tuple[int, int, int]:
        """Of the prompt, what of them was cached, of the output: as the gateway has booked them."""
        prompt, cached, output = (self.row.get(f"{kind}_tokens", 0) for kind in ("prompt", "cached", "output"))
        return prompt, cached, output

    @property
    def cost_ucr(self) -> int:
        return int(self.row.get("cost_ucr", 0))

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, `[DONE]` left out."""
        lines = [line.removeprefix(b"data: ") for line in self.body.splitlines() if line.startswith(b"data: ")]
        return [json.loads(line) for line in lines if line != b"[DONE]"]


async def ask(gateway: RunningGateway, customer: Customer, path: str, body: Mapping[str, Any]) -> Answer:
    headers = {"authorization": f"Bearer {customer.api_key}"}
    async with gateway.session.post(f"{gateway.base_url}/{path}", json=body, headers=headers) as response:
        content = await response.read()
        row = await gateway.said.request(id=response.headers["x-request-id"])
        return Answer(response.status, response.headers, content, row)


def cost_ucr(prompt_tokens: int, cached_tokens: int, output_tokens: int) -> int:
    return (prompt_tokens - cached_tokens) * INPUT_UCR + cached_tokens * CACHED_UCR + output_tokens * OUTPUT_UCR


# --- the dialects of chats --------------------------------------------------------------------------------------------


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": ASKED}], "max_tokens": 2_000, **more}


def response(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "input": ASKED, "max_output_tokens": 2_000, **more}


def chat_said(answer: Answer) -> str:
    return str(answer.json["choices"][0]["message"]["content"])


def chat_stream_said(answer: Answer) -> str:
    deltas = [choice["delta"] for chunk in answer.events for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def message_said(answer: Answer) -> str:
    return "".join(block["text"] for block in answer.json["content"] if block["type"] == "text")


def message_stream_said(answer: Answer) -> str:
    deltas = [event["delta"] for event in answer.events if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


def response_said(answer: Answer) -> str:
    items = [item for item in answer.json["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in items for part in item["content"])


def response_stream_said(answer: Answer) -> str:
    return "".join(event["delta"] for event in answer.events if event["type"] == "response.output_text.delta")


DIALECTS: Final[Mapping[str, Any]] = {
    "openai-chat": ("chat/completions", chat, chat_said, chat_stream_said),
    "anthropic-messages": ("messages", chat, message_said, message_stream_said),
    "openai-responses": ("responses", response, response_said, response_stream_said),
}
"""Path, request, what a whole answer says, what a stream says."""
