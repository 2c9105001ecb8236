"""Run as a process: `python -m tests.translator.guarded allowed-port forbidden-port`; says what became of each try.

The guard cannot be taken away again, so it has a process of its own.
"""

import asyncio
import json
import socket
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import httpx
import requests
import urllib3

from gateway.translator.process.engine import Engine
from gateway.translator.process.guard import EXCHANGE, Exchange, Guard
from tests.translator.conftest import MODEL, at_bedrock


async def main(allowed: int, forbidden: int) -> None:
    Guard([("127.0.0.1", allowed), ("localhost", allowed)]).install()
    picture = f"http://127.0.0.1:{forbidden}/picture.png"
    by_name = f"http://localhost:{forbidden}/picture.png"

    async def with_aiohttp() -> None:
        async with aiohttp.ClientSession() as session, session.get(picture):
            pass

    async def with_aiohttp_by_name() -> None:
        async with aiohttp.ClientSession() as session, session.get(by_name):
            pass

    async def with_httpx() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(picture)

    async def with_datagrams() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("127.0.0.1", forbidden))

    async def with_a_unix_socket() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect("/run/anything")

    async def with_litellm(provider: str, model: str) -> None:
        engine = Engine()
        upstream = at_bedrock(f"http://127.0.0.1:{allowed}")
        upstream.params["api_key"] = "key"
        if provider != "bedrock":
            upstream = type(upstream)(name="main", provider=provider, params={"api_key": "key"}, hosts=(), timeout_s=5)
        content = [{"type": "image_url", "image_url": {"url": picture}}]
        await engine.chat(upstream, {"model": model, "messages": [{"role": "user", "content": content}]})

    tries: dict[str, Callable[[], Awaitable[Any]]] = {
        "aiohttp": with_aiohttp,
        "aiohttp, by name": with_aiohttp_by_name,
        "httpx": with_httpx,
        "httpx, waiting": lambda: asyncio.to_thread(httpx.get, picture),
        "requests": lambda: asyncio.to_thread(requests.get, picture),
        "requests, by name": lambda: asyncio.to_thread(requests.get, by_name),
        "urllib": lambda: asyncio.to_thread(urllib.request.urlopen, picture),
        "urllib3": lambda: asyncio.to_thread(urllib3.PoolManager(retries=False).request, "GET", picture),
        "datagrams": with_datagrams,
        "unix": with_a_unix_socket,
        "litellm, bedrock": lambda: with_litellm("bedrock", MODEL),
        "litellm, anthropic": lambda: with_litellm("anthropic", "claude-3-haiku-20240307"),
        "litellm, gemini": lambda: with_litellm("gemini", "gemini-2.0-flash"),
    }
    for name, attempt in tries.items():
        EXCHANGE.set(Exchange())
        try:
            await attempt()
        except Exception as error:  # noqa: BLE001 - told to the test
            print(json.dumps([name, type(error).__name__]), flush=True)
        else:
            print(json.dumps([name, None]), flush=True)
    EXCHANGE.set(Exchange())
    for url in (f"http://127.0.0.1:{allowed}/fine", f"http://localhost:{allowed}/fine"):
        async with httpx.AsyncClient() as client:
            print(json.dumps([url, (await client.get(url)).status_code]), flush=True)
        EXCHANGE.set(Exchange())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
