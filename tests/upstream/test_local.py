"""Upstreams that are called over a unix socket, wherever somebody says at each call."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from gateway.core.errors import UpstreamUnreachable
from gateway.upstream.client import UpstreamClient
from gateway.upstream.registry import Upstream
from tests.upstream.calls import BODY, PATH, PATIENT, read_all


@dataclass
class Place:
    path: str
    left: int = 0
    was_lost: bool = False

    def leave(self) -> None:
        self.left += 1

    def lost(self) -> None:
        self.was_lost = True


@dataclass
class Places:
    """Hands out one after the other."""

    coming: list[Place]
    given: list[Place] = field(default_factory=list)

    async def enter(self, upstream: str) -> Place:
        assert upstream == "local"
        self.given.append(self.coming.pop(0))
        return self.given[-1]


UPSTREAM = Upstream(
    name="local", provider="p", base_url="http://translator/local", api_key="", via="translator", timeouts=PATIENT
)


async def _serve(path: str) -> web.AppRunner:
    async def answer(request: web.Request) -> web.Response:
        assert request.host == "translator"
        assert "authorization" not in request.headers
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_post("/local/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    return runner


async def test_a_call_has_its_place_until_its_answer_is_over(tmp_path: Path) -> None:
    runner = await _serve(str(tmp_path / "s"))
    places = Places([Place(str(tmp_path / "s")) for _ in range(3)])
    async with UpstreamClient(translator=places) as client:
        for _ in range(2):
            answer = await client.send(UPSTREAM, PATH, BODY)
            assert (answer.status, places.given[-1].left) == (200, 0)
            assert await read_all(answer) == BODY
            assert places.given[-1].left == 1
        given_up = await client.send(UPSTREAM, PATH, BODY)
        given_up.abort()
        assert places.given[-1].left == 1
    await runner.cleanup()


async def test_where_nobody_listens_the_next_place_is_asked_once(tmp_path: Path) -> None:
    runner = await _serve(str(tmp_path / "s"))
    dead, alive = Place(str(tmp_path / "gone")), Place(str(tmp_path / "s"))
    async with UpstreamClient(translator=Places([dead, alive])) as client:
        assert await read_all(await client.send(UPSTREAM, PATH, BODY)) == BODY
    assert (dead.left, dead.was_lost, alive.left, alive.was_lost) == (1, True, 1, False)

    dead_too = Places([Place(str(tmp_path / "gone")) for _ in range(3)])
    async with UpstreamClient(translator=dead_too) as client:
        with pytest.raises(UpstreamUnreachable):
            await client.send(UPSTREAM, PATH, BODY)
    assert [place.left for place in dead_too.given] == [1, 1]
    await runner.cleanup()
