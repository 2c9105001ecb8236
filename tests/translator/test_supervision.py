"""The gateway as its operator starts it, from a file: its translator comes with the first call and goes with it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.running import RunningGateway, running_gateway
from tests.fakes.bedrock import WORDS, Bedrock
from tests.road import until
from tests.translator.conftest import MODEL, SECRET

CONFIG = """
[[upstreams]]
name = "aws"
provider = "bedrock"
via = "translator"
base_url = "{url}"
models = ["{model}"]
params = {{ aws_region_name = "us-east-1", aws_access_key_id = "AKIA-of-the-operator" }}
params_env = {{ aws_secret_access_key = "BEDROCK_SECRET" }}

[[prices]]
provider = "bedrock"
model = "{model}"
input_usd_per_million = 1
output_usd_per_million = 10
context_tokens = 8000
output_tokens_max = 2000
"""


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ask(gateway: RunningGateway) -> dict[str, object]:
    customer = await gateway.customer(credits="10")
    async with gateway.session.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": "hi"}]},
        headers={"authorization": f"Bearer {customer.api_key}"},
    ) as response:
        body = await response.json()
        assert response.status == 200, body
        assert isinstance(body, dict)
        return body


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_it_starts_with_the_first_call_and_ends_with_its_gateway(
    how: signal.Signals, dsn: str, bedrock: Bedrock, tmp_path: Path
) -> None:
    config = CONFIG.format(url=bedrock.url, model=MODEL)
    async with running_gateway(
        dsn=dsn, upstream_url=None, data_dir=tmp_path, config=config, environ={"BEDROCK_SECRET": SECRET}
    ) as gateway:
        assert children_of(gateway.process.pid) == []
        answer = await ask(gateway)
        assert answer["choices"][0]["message"]["content"] == "".join(WORDS)  # type: ignore[index]

        (child,) = children_of(gateway.process.pid)
        told = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
        assert SECRET.encode() not in told
        folder = Path(dict(pair.split("=", 1) for pair in told.decode().split("\0") if "=" in pair)["HOME"])
        assert folder.stat().st_mode & 0o777 == 0o700
        (socket,) = folder.iterdir()
        assert socket.stat().st_mode & 0o077 == 0

        os.kill(gateway.process.pid, how)
        await until(lambda: not Path(f"/proc/{child}").exists(), "the child is gone")
        async with asyncio.timeout(30):
            await gateway.process.wait()
            await gateway.said.end()
        assert not folder.exists()
        assert SECRET not in "".join(gateway.said.errors)
        assert SECRET not in str(gateway.said.requests)


async def test_a_process_that_hangs_is_killed_and_replaced(dsn: str, bedrock: Bedrock, tmp_path: Path) -> None:
    config = CONFIG.format(url=bedrock.url, model=MODEL) + "\n[translator]\nsilence_s = 2\n"
    async with running_gateway(
        dsn=dsn, upstream_url=None, data_dir=tmp_path, config=config, environ={"BEDROCK_SECRET": SECRET}
    ) as gateway:
        await ask(gateway)
        (child,) = children_of(gateway.process.pid)
        os.kill(child, signal.SIGSTOP)
        await until(lambda: not Path(f"/proc/{child}").exists(), "it was killed")
        await ask(gateway)
        assert children_of(gateway.process.pid) != [child]
