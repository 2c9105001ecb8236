import asyncio

import aiohttp
import pytest
from aiohttp import web

from tests.fakes.turnstile import Turnstile


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), headers={"x-told": request.headers["x-case"]})


async def serve(runner: web.AppRunner) -> str:
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def test_bodies_pass_unchanged_and_each_request_is_noted_in_its_order() -> None:
    app = web.Application()
    app.router.add_post("/echo", echo)
    runner = web.AppRunner(app)
    async with Turnstile(await serve(runner)) as turnstile, aiohttp.ClientSession() as session:
        for case in ("one", "two", "one"):
            body = bytes(range(256)) * 1000
            async with session.post(f"{turnstile.url}/echo", data=body, headers={"x-case": case}) as response:
                assert await response.read() == body
                assert response.headers["x-told"] == case
    await runner.cleanup()
    assert [(one.method, one.path, one.headers["x-case"]) for one in turnstile.passed] == [
        ("POST", "/echo", "one"),
        ("POST", "/echo", "two"),
        ("POST", "/echo", "one"),
    ]
    first, last = turnstile.passed_with(x_case="one")
    assert first.at_s < last.at_s


@pytest.mark.parametrize("who", ["client", "server"])
async def test_whoever_hangs_up_has_hung_up_for_both(who: str) -> None:
    gone = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if who == "client":
            assert await reader.read() == b""
            gone.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with asyncio.timeout(10), Turnstile(url) as turnstile:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(turnstile.url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        if who == "client":
            writer.close()
            await gone.wait()
        else:
            assert await reader.read() == b""
            writer.close()
    server.close()
    await server.wait_closed()
