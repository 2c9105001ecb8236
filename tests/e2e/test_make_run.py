"""What `make run` starts, on a fresh folder: the printed snippets are executed as they stand, the balance is exact."""

import asyncio
import json
import os
import pwd
import re
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.postgres.embedded import closed_to_others
from gateway.postgres.postmaster import Postmaster
from gateway.replay.server import ReplayServer
from tests.e2e.prices import charge_ucr, charges_ucr
from tests.e2e.running import REPOSITORY, RunningGateway, running_gateway
from tests.fakes import curl
from tests.fakes.turnstile import Turnstile

AS_MAKE_RUN: Final = ("--demo", "--config", str(REPOSITORY / "config" / "tollgate.toml"))
DEMO_CREDITS_UCR: Final = 1_000_000_000
READY_AGAIN_WITHIN_S: Final = 15.0
"""A few seconds on a machine with nothing else to do."""
SNIPPET_WITHIN_S: Final = 60.0

ANY_KEY: Final = re.compile(r"\btg-[A-Za-z0-9_-]{20,}")
REPLAY: Final = re.compile(r"the replay provider answers, at (http://\S+)/v1")
IS_THERE: Final = re.compile(r"demo organisation demo \([0-9a-f-]{36}\) is there")
OPERATOR: Final = re.compile(r"this run's operator key is (op-\S+)")
LISTENS: Final = re.compile(r"Tollgate listens on")


def users() -> list[str]:
    """Whoever runs the tests; and for root somebody else too, where others may come to this checkout and its Python."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    needed = (REPOSITORY, Path(sys.prefix), Path(sys.executable).resolve())
    reachable = all(closed_to_others(place) is None for place in needed)
    return [me, "nobody"] if os.geteuid() == 0 and reachable else [me]


@pytest.fixture(params=users())
def user(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(user: str) -> Iterator[Path]:
    """A fresh folder of the user's own, for everything that the gateway keeps."""
    folder = Path(tempfile.mkdtemp(prefix="tollgate-"))
    folder.chmod(0o755)
    os.chown(folder, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    yield folder
    Postmaster(folder / "data" / "postgres" / "cluster").stop(
        timeout_s=10
    )  # where the test failed before it was stopped
    shutil.rmtree(folder)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """PATH, with a curl at the end for machines without one."""
    curl.install(tmp_path / "bin")
    return os.pathsep.join([os.environ["PATH"], str(tmp_path / "bin")])


def started(user: str, home: Path, *, upstream_url: str | None = None) -> Any:
    return running_gateway(
        dsn=None,
        upstream_url=upstream_url,
        data_dir=home / "data",
        arguments=AS_MAKE_RUN,
        environ={"HOME": str(home), "TOLLGATE_OPERATOR_KEY": ""},
        user=user if os.geteuid() == 0 else None,
    )


def snippet(gateway: RunningGateway, beginning: str, *, ends: str) -> str:
    """The printed lines from the one that begins so to the one where `ends` matches."""
    lines = gateway.said.errors
    first = next(at for at, line in enumerate(lines) if line.strip().startswith(beginning))
    last = next(at for at, line in enumerate(lines) if at >= first and re.search(ends, line))
    return textwrap.dedent("\n".join(lines[first : last + 1]))


async def executed(*command: str, path: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, env={"PATH": path}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SNIPPET_WITHIN_S):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def balance_ucr(gateway: RunningGateway, path: str) -> int:
    """As the printed command shows it."""
    asked = snippet(gateway, f"curl {gateway.url}/v1/credits", ends=r'"$')
    data = json.loads(await executed("sh", "-c", asked, path=path), parse_float=Decimal)["data"]
    assert data["available"] == data["total_credits"] - data["total_usage"]
    assert (data["held"], data["receivable"]) == (0, 0)
    return int(data["available"] * 1_000_000)


def python_with_openai() -> str:
    """The SDK's own environment where it was made; litellm has brought the SDK along otherwise."""
    own = REPOSITORY / ".envs" / "openai-latest" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


async def test_the_printed_snippets_work_as_they_stand_and_cost_what_the_provider_sent(
    user: str, home: Path, path: str
) -> None:
    async with started(user, home) as gateway:
        replay_url = (await gateway.said.error(REPLAY))[1]
        printed = "\n".join(gateway.said.errors)
        assert len(set(ANY_KEY.findall(printed))) == 1
        assert await balance_ucr(gateway, path) == DEMO_CREDITS_UCR

        by_curl = await executed("sh", "-c", snippet(gateway, "curl -i", ends=r"[^\\]$"), path=path)
        assert by_curl.startswith("HTTP/1.1 200")
        assert "What is a toll?" in by_curl
        assert re.search(r"x-tollgate-credits-charged: 0\.\d{6}", by_curl, re.IGNORECASE)
        in_python = snippet(gateway, "from openai import OpenAI", ends=r"^ +print\(")
        assert "What is a toll?" in await executed(python_with_openai(), "-c", in_python, path=path)
        in_messages = snippet(gateway, f"curl {gateway.url}/v1/messages", ends=r"[^\\]$")
        assert json.loads(await executed("sh", "-c", in_messages, path=path))["type"] == "message"

        async with gateway.session.get(f"{replay_url}/_sent") as response:
            *calls, message = (await response.json())["calls"]
        assert len(calls) == 2
        left_ucr = DEMO_CREDITS_UCR - charges_ucr(calls) - charge_ucr(message["model"], message["tokens"], "anthropic")
        assert await balance_ucr(gateway, path) == left_ucr
        token = ANY_KEY.findall(printed)[0]
        assert await gateway.interrupt() == 0

    began = time.monotonic()
    async with started(user, home) as again:
        assert time.monotonic() - began < READY_AGAIN_WITHIN_S
        await again.said.error(IS_THERE)
        assert not ANY_KEY.search("\n".join(again.said.errors))
        headers = {"authorization": f"Bearer {token}"}
        async with again.session.get(f"{again.base_url}/credits", headers=headers) as response:
            data = json.loads(await response.text(), parse_float=Decimal)["data"]
        assert int(data["available"] * 1_000_000) == left_ucr
        operator = {"authorization": f"Bearer {(await again.said.error(OPERATOR))[1]}"}
        async with again.session.get(f"{again.url}/api/orgs", headers=operator) as response:
            assert response.status == 200
        assert await again.interrupt() == 0
        assert again.said.complaints() == []


async def test_a_provider_in_the_environment_goes_before_the_replay_provider(home: Path, user: str, path: str) -> None:
    async with ReplayServer() as provider, Turnstile(provider.url) as turnstile:
        async with started(user, home, upstream_url=f"{turnstile.url}/v1") as gateway:
            await gateway.said.error(LISTENS)
            await executed("sh", "-c", snippet(gateway, "curl -i", ends=r"[^\\]$"), path=path)
            assert not any(REPLAY.search(line) for line in gateway.said.errors)
            assert await gateway.interrupt() == 0
        [passed] = turnstile.passed
        assert passed.path == "/v1/chat/completions"
        assert passed.headers["authorization"] == "Bearer sk-replay"
