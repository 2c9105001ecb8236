"""The examples of the documents work: each page is run from top to bottom, with real curl, against a real gateway.

`bash` blocks are run. In `console` blocks, what follows `$ ` is run, up to the end of its quotes, and what stands below
it is what it prints: white space aside, with `…` for whatever differs from run to run. `python` blocks are run too. All
of a page share one shell, whose variables are exported; the first command that fails ends it.
"""

import asyncio
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.app import Gateway
from gateway.replay.server import ReplayServer
from gateway.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = ("api.md", "examples.md")
OPERATOR_KEY = "the operator's key"
WITHIN_S = 120.0

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN = {"bash", "console", "python"}
_MARK = "--- example "


@dataclass(frozen=True)
class Example:
    line: int
    command: str
    printed: str | None = None
    """None: it is not told."""


def examples(page: str, folder: Path) -> Iterator[Example]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 2
        kind, body = fence.groups()
        if kind == "bash":
            yield Example(line, body)
        elif kind == "python":
            file = folder / f"example_{line}.py"
            file.write_text(body)
            yield Example(line, f"{shlex.quote(sys.executable)} {file}")
        elif kind == "console":
            yield from commands(body, line)


def commands(body: str, line: int) -> Iterator[Example]:
    lines = body.splitlines()
    while lines:
        assert lines[0].startswith("$ "), f"line {line} is printed by nothing"
        at, command = line, lines.pop(0)[2:]
        line += 1
        while lines and not is_whole(command):
            command += "\n" + lines.pop(0)
            line += 1
        printed = []
        while lines and not lines[0].startswith("$ "):
            printed.append(lines.pop(0))
            line += 1
        yield Example(at, command, "\n".join(printed) or None)


def is_whole(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:  # inside quotes
        return False
    return not command.endswith("\\")


def bare(text: str) -> str:
    return re.sub(r"\s+", "", text)


def pattern(printed: str) -> str:
    return ".*".join(re.escape(part) for part in bare(printed).split("…"))


@pytest.fixture
async def url(dsn: str, prices_read_once: None) -> AsyncIterator[str]:
    async with ReplayServer() as replay:
        settings = Settings(port=0, shutdown_drain_s=5.0, pool_size_max=4)
        settings = settings.with_default_upstream("openai", base_url=replay.base_url, api_key="sk-example")
        gateway = await Gateway.start(settings, dsn=dsn, operator_key=OPERATOR_KEY, sole_owner=True)
        yield gateway.url
        assert await gateway.ledger.audit(full=True) == []
        await gateway.stop()


@pytest.mark.parametrize("page", PAGES)
async def test_the_examples_of_a_page_work(page: str, url: str, tmp_path: Path) -> None:
    found = list(examples(page, tmp_path))
    steps = [f"printf '\\n%s\\n' '{_MARK}{number}'\n{example.command}\n" for number, example in enumerate(found)]
    script = "set -euo pipefail -o allexport\n" + "".join(steps).replace("localhost:8080", url.removeprefix("http://"))
    file = tmp_path / "page.sh"
    file.write_text(script)
    bash = await asyncio.create_subprocess_exec(
        "bash", file, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path),
             "TOLLGATE_OPERATOR_KEY": OPERATOR_KEY, "TOLLGATE_URL": url, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        output = (await bash.communicate())[0].decode()
    printed = re.split(rf"\n{_MARK}\d+\n", output)[1:]
    last = found[len(printed) - 1]
    assert bash.returncode == 0, f"{page}, line {last.line}: {last.command}\n{printed[-1]}"
    for example, text in zip(found, printed, strict=True):
        if example.printed is not None:
            where = f"{page}, line {example.line}: {example.command}\nprints\n{text}\nand not\n{example.printed}"
            assert re.fullmatch(pattern(example.printed), bare(text), re.DOTALL), where


@pytest.mark.parametrize("page", PAGES)
def test_every_curl_of_a_page_is_run(page: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    for kind, body in _FENCE.findall(text):
        assert kind in _RUN or not re.search(r"^(\$ )?(curl|api|own)\b", body, re.MULTILINE), body
    told = len(re.findall(r"localhost:8080", text))
    assert sum(example.command.count("localhost:8080") for example in examples(page, tmp_path)) == told > 0
