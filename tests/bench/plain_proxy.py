"""aiohttp on both sides and nothing else: what the libraries cost before the gateway has done anything."""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web


async def serve(port: int, mock_port: int) -> None:
    url = f"http://127.0.0.1:{mock_port}/v1/chat/completions"
    async with ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=None),
    ) as session:

        async def proxy(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            async with session.post(url, data=body, headers={"content-type": "application/json"}) as answer:
                if "content-length" in answer.headers:
                    return web.Response(body=await answer.read(), content_type="application/json")
                response = web.StreamResponse(headers={"content-type": "text/event-stream"})
                await response.prepare(request)
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
                return response

        app = web.Application()
        app.router.add_post("/v1/chat/completions", proxy)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
