"""What a call through the translator costs: processor time and memory of its process, on a local Converse.

python -m tests.bench.translator [calls]
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from gateway.translator.child import MIB, Child
from gateway.translator.settings import Orders, TranslatorSettings
from tests.fakes.bedrock import Bedrock
from tests.translator.conftest import MODEL, at_bedrock

AT_ONCE = 8
WORDS = 100


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


async def measure(calls: int) -> None:
    async with Bedrock() as bedrock:
        with tempfile.TemporaryDirectory() as folder:
            orders = Orders(socket=f"{folder}/s", body_bytes_max=MIB, upstreams=(at_bedrock(bedrock.url),))
            child = Child(orders, TranslatorSettings(), on_news=lambda: None)
            began = time.monotonic()
            await child.start()
            print(
                f"start: {time.monotonic() - began:.1f} s, {cpu_s(child.pid):.1f} s CPU, {rss_mib(child.pid):.0f} MiB"
            )
            try:
                await _measure(child, bedrock, calls)
            finally:
                await child.stop()


async def _measure(child: Child, bedrock: Bedrock, calls: int) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(child.path)) as session:

        async def ask(count: int, *, stream: bool) -> None:
            body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
            for _ in range(count):
                async with session.post("http://translator/main/chat/completions", json=body) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()

        began = time.monotonic()
        await ask(1, stream=True)
        print(f"first call: {(time.monotonic() - began) * 1e3:.0f} ms")
        for label, stream, words in (("whole", False, 4), ("4 chunks", True, 4), (f"{WORDS} chunks", True, WORDS)):
            bedrock.words = ("word ",) * words
            for number in range(2):
                before, began = cpu_s(child.pid), time.monotonic()
                await asyncio.gather(*(ask(calls // AT_ONCE, stream=stream) for _ in range(AT_ONCE)))
                spent, took = cpu_s(child.pid) - before, time.monotonic() - began
                print(
                    f"{label}, round {number + 1}: {spent / calls * 1e3:.2f} ms CPU a call, "
                    f"{calls / took:.0f} calls/s, {rss_mib(child.pid):.0f} MiB"
                )
            bedrock.asked.clear()
        began = time.monotonic()
        bedrock.words = ("word ",) * 4
        await ask(100, stream=False)
        print(f"one after the other: {(time.monotonic() - began) * 10:.1f} ms a call")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
