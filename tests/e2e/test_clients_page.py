"""docs/clients.md, run as it stands but for the address and the key."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from gateway.replay.server import ReplayServer
from tests.e2e.running import REPOSITORY, RunningGateway, running_gateway

SNIPPET_WITHIN_S: Final = 120.0
NODE: Final = (".envs/node/bin/node", "--input-type=module", "-")
COMMANDS: Final = {
    "OpenAI, Python": (".envs/openai-latest/bin/python", "-"),
    "OpenAI, Node.js": NODE,
    "Anthropic, Python": (".envs/anthropic/bin/python", "-"),
    "Anthropic, Node.js": NODE,
    "Google, Python": (".envs/gemini/bin/python", "-"),
    "LangChain": (".envs/langchain/bin/python", "-"),
    "LlamaIndex": (".envs/llama-index/bin/python", "-"),
    "Instructor": (".envs/llama-index/bin/python", "-"),
    "Pydantic AI": (".envs/pydantic-ai/bin/python", "-"),
    "Vercel's AI SDK": NODE,
}
SNIPPETS: Final = dict(
    re.findall(
        r"^## ([^\n]+)\n\n```(?:python|js)\n(.*?)```",
        (REPOSITORY / "docs" / "clients.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)


@pytest.fixture
async def gateway(dsn: str, replay: ReplayServer, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        dsn=dsn,
        upstream_url=replay.base_url,
        data_dir=tmp_path,
        environ={
            "ANTHROPIC_API_KEY": "sk-ant-replay",
            "ANTHROPIC_BASE_URL": replay.url,
            "GEMINI_API_KEY": "of-the-operator",
            "GEMINI_BASE_URL": replay.url,
        },
    ) as running:
        yield running


async def output_of(name: str, code: str) -> list[str]:
    program, *arguments = COMMANDS[name]
    process = await asyncio.create_subprocess_exec(
        REPOSITORY / program,
        *arguments,
        cwd=REPOSITORY / "tests/sdks/node",  # where Node.js finds the packages
        env={"PATH": os.environ["PATH"]},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SNIPPET_WITHIN_S):
            output, errors = await process.communicate(code.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{name}:\n{errors.decode()}"
    return output.decode().splitlines()


async def test_the_snippets_of_the_page_work(gateway: RunningGateway, replay: ReplayServer) -> None:
    customer = await gateway.customer(credits="10000")
    assert SNIPPETS.keys() == COMMANDS.keys()
    said = 0
    for name, snippet in SNIPPETS.items():
        code = snippet.replace("http://127.0.0.1:8080", gateway.url).replace("tg-…", customer.api_key)
        lines = await output_of(name, code)
        said += len(lines)
        if name == "Instructor":
            assert lines == ["Bridge 3"]
        else:
            assert all(line.startswith("This is the replay provider") for line in lines), name

    async with gateway.session.get(f"{replay.url}/_sent") as response:
        sent = await response.json()
    assert sent["total"]["calls"] == said == 14
    assert (await gateway.balance(customer.org_id)).balance_ucr < 10_000_000_000
