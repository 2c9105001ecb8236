"""The suites of tests/sdks, each run by its own SDK in its own environment."""

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.e2e.running import REPOSITORY

SUITE_WITHIN_S: Final = 120.0


@dataclass(frozen=True)
class Sdk:
    """One version of a client that users have."""

    name: str
    command: tuple[str, ...]
    timeout_error: str = "APITimeoutError"
    other_status_error: str = "APIStatusError"
    """Raised for a status that has no class of its own, 402 among them."""

    def __str__(self) -> str:
        return self.name

    async def run(self, cases: Iterable[str], environ: Mapping[str, str]) -> dict[str, Any]:
        """What the suite's cases saw, by case."""
        assert (REPOSITORY / self.command[0]).exists(), f"{self.command[0]} is missing: run `make sdk-envs`"
        process = await asyncio.create_subprocess_exec(
            *self.command,
            *cases,
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], **environ},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(SUITE_WITHIN_S):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, errors.decode()
        seen: dict[str, Any] = json.loads(output)
        crashed = [f"{case}:\n{facts['crashed']}" for case, facts in seen.items() if "crashed" in facts]
        assert not crashed, "\n".join(crashed)
        return seen


PYTHON_LATEST: Final = Sdk("openai-python-latest", (".envs/openai-latest/bin/python", "-m", "tests.sdks.python.suite"))
PYTHON_1: Final = Sdk("openai-python-1", (".envs/openai-1/bin/python", "-m", "tests.sdks.python.suite"))
NODE: Final = Sdk(
    "openai-node",
    (".envs/node/bin/node", "tests/sdks/node/suite.mjs"),
    timeout_error="APIConnectionTimeoutError",
    other_status_error="APIError",
)
RESPONSES: Final = Sdk(
    "openai-python-responses", (".envs/openai-latest/bin/python", "-m", "tests.sdks.python.responses_suite")
)
ANTHROPIC: Final = Sdk("anthropic-python", (".envs/anthropic/bin/python", "-m", "tests.sdks.python.anthropic_suite"))
ANTHROPIC_NODE: Final = Sdk("anthropic-node", (".envs/node/bin/node", "tests/sdks/node/anthropic_suite.mjs"))
GEMINI: Final = Sdk("google-genai", (".envs/gemini/bin/python", "-m", "tests.sdks.python.gemini_suite"))
SDKS: Final = (PYTHON_LATEST, PYTHON_1, NODE)
ANTHROPIC_SDKS: Final = (ANTHROPIC, ANTHROPIC_NODE)

LANGCHAIN: Final = Sdk("langchain", (".envs/langchain/bin/python", "-m", "tests.sdks.python.langchain"))
LLAMA_INDEX: Final = Sdk("llama-index", (".envs/llama-index/bin/python", "-m", "tests.sdks.python.llama_index_suite"))
INSTRUCTOR: Final = Sdk("instructor", (".envs/llama-index/bin/python", "-m", "tests.sdks.python.instructor_suite"))
PYDANTIC_AI: Final = Sdk("pydantic-ai", (".envs/pydantic-ai/bin/python", "-m", "tests.sdks.python.pydantic_ai_suite"))
VERCEL: Final = Sdk("vercel-ai", (".envs/node/bin/node", "tests/sdks/node/vercel_suite.mjs"))
