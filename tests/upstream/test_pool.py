"""How many connections there are, whose turn it is, and when a connection is too old."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.core.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from gateway.upstream.client import UpstreamAnswer, UpstreamClient
from gateway.upstream.registry import Timeouts
from tests.fakes.hostile_bytes import chat
from tests.fakes.hostile_upstream import HostileUpstream
from tests.upstream.calls import BODY, PATH, PATIENT, ask, read_all, upstream_at

HURRIED = Timeouts(connect_s=0.05, first_event_s=5, idle_s=5, total_s=20)


@contextlib.asynccontextmanager
async def one_connection_in_use(hostile: HostileUpstream) -> AsyncIterator[tuple[UpstreamClient, UpstreamAnswer]]:
    async with UpstreamClient(connections_max=1) as client:
        yield client, await begin(client, hostile, "hangs_before_first_event")


async def begin(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str, timeouts: Timeouts = PATIENT
) -> UpstreamAnswer:
    return await client.send(upstream_at(hostile.url(behaviour), timeouts), PATH, BODY)


async def turns_of_the_loop() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


# --- turns ------------------------------------------------------------------------------------------------------------


async def test_calls_beyond_the_limit_wait_and_come_in_the_order_of_their_asking(hostile: HostileUpstream) -> None:
    order: list[int] = []

    async def call(number: int) -> None:
        await ask(client, hostile, "well_behaved")
        order.append(number)

    async with one_connection_in_use(hostile) as (client, answer), asyncio.TaskGroup() as calls:
        for number in range(10):
            calls.create_task(call(number))
            await turns_of_the_loop()
        assert len(hostile.requests) == 1
        answer.abort()
        calls.create_task(call(10))
    assert order == list(range(11))
    assert hostile.connections == 2


async def test_who_has_just_ended_a_call_does_not_go_before_those_who_wait(hostile: HostileUpstream) -> None:
    order: list[str] = []

    async def call(name: str) -> None:
        for _ in range(3):
            await ask(client, hostile, "well_behaved")
            order.append(name)

    async with UpstreamClient(connections_max=1) as client:
        await asyncio.gather(call("a"), call("b"))
    assert order == ["a", "b"] * 3
    assert hostile.connections == 1


async def test_waiting_for_a_turn_is_bounded_by_the_time_to_connect(hostile: HostileUpstream) -> None:
    async with one_connection_in_use(hostile) as (client, answer):
        with pytest.raises(UpstreamTimeout, match="nothing was sent"):
            await begin(client, hostile, "well_behaved", HURRIED)
        answer.abort()
        assert await ask(client, hostile, "well_behaved") == (200, chat("turn 1"))
    assert len(hostile.requests) == 2


async def test_who_stops_waiting_takes_no_turn_along(hostile: HostileUpstream) -> None:
    """Also when the turn had come, and the cancellation comes before it is taken."""
    async with one_connection_in_use(hostile) as (client, answer):
        first, second, third = (asyncio.ensure_future(ask(client, hostile, "well_behaved")) for _ in range(3))
        await turns_of_the_loop()
        second.cancel()
        await turns_of_the_loop()
        answer.abort()
        first.cancel()
        assert await asyncio.wait_for(third, 5) == (200, chat("turn 1"))
        assert first.cancelled()
        assert second.cancelled()
        assert await ask(client, hostile, "well_behaved") == (200, chat("turn 2"))


@pytest.mark.parametrize("behaviour", ["no_http", "closes_before_answering", "two_streams_in_one_write", "redirects"])
async def test_every_way_to_end_a_call_gives_its_turn_back(hostile: HostileUpstream, behaviour: str) -> None:
    async with UpstreamClient(connections_max=1) as client:
        for _ in range(3):
            with contextlib.suppress(UpstreamBroken):
                await ask(client, hostile, behaviour)
        assert (await ask(client, hostile, "well_behaved"))[0] == 200


async def test_a_call_that_cannot_connect_gives_its_turn_back(hostile: HostileUpstream) -> None:
    async with UpstreamClient(connections_max=1) as client:
        with pytest.raises(UpstreamUnreachable):
            await client.send(upstream_at("http://upstream.invalid/v1"), PATH, BODY)
        assert (await ask(client, hostile, "well_behaved"))[0] == 200


async def test_an_idle_connection_gives_way_to_another_upstreams(hostile: HostileUpstream) -> None:
    async with UpstreamClient(connections_max=1) as client, HostileUpstream() as another:
        await ask(client, hostile, "well_behaved")
        await ask(client, another, "well_behaved")
        await asyncio.wait_for(hostile.closed.wait(), 5)


# --- age --------------------------------------------------------------------------------------------------------------


async def test_an_old_connection_is_not_used_again(hostile: HostileUpstream) -> None:
    async with UpstreamClient(age_max_s=0) as client:
        for _ in range(3):
            await ask(client, hostile, "well_behaved")
    assert hostile.connections == 3


async def test_nor_is_one_that_has_idled_for_long(hostile: HostileUpstream) -> None:
    async with UpstreamClient(idle_s=0) as client:
        for _ in range(3):
            await ask(client, hostile, "well_behaved")
    assert hostile.connections == 3


async def test_an_idle_connection_is_closed_though_nobody_calls(hostile: HostileUpstream) -> None:
    async with UpstreamClient(idle_s=0.01) as client:
        await ask(client, hostile, "well_behaved")
        await asyncio.wait_for(hostile.closed.wait(), 5)


class Names:
    """Knows one name, `provider.example`, and counts who asks for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
        loop = asyncio.get_running_loop()
        self.asked = 0
        self._ports = ports
        self._ask_the_system = loop.getaddrinfo
        monkeypatch.setattr(loop, "getaddrinfo", self._getaddrinfo)

    async def _getaddrinfo(self, host: str, *args: Any, **more: Any) -> list[Any]:
        if host != "provider.example":
            return await self._ask_the_system(host, *args, **more)  # uvloop does, even for addresses
        self.asked += 1
        port = self._ports[min(self.asked, len(self._ports)) - 1]
        await asyncio.sleep(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]


async def test_a_burst_of_connections_asks_for_the_addresses_once(
    client: UpstreamClient, hostile: HostileUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch, hostile.port)
    upstream = upstream_at("http://provider.example:81/well_behaved/v1")
    for answer in await asyncio.gather(*(client.send(upstream, PATH, BODY) for _ in range(20))):
        assert await read_all(answer) == chat("turn 1")
    assert (names.asked, hostile.connections) == (1, 20)
    assert b"\r\nhost: provider.example:81\r\n" in hostile.requests[0].head


async def test_addresses_that_do_not_answer_are_asked_for_anew(
    client: UpstreamClient, hostile: HostileUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        names = Names(monkeypatch, unused.getsockname()[1], hostile.port)
        upstream = upstream_at("http://provider.example/well_behaved/v1")
        with pytest.raises(UpstreamUnreachable):
            await client.send(upstream, PATH, BODY)
        assert await read_all(await client.send(upstream, PATH, BODY)) == chat("turn 1")
    assert names.asked == 2


# --- the end ----------------------------------------------------------------------------------------------------------


async def test_closing_closes_also_what_is_in_use_and_who_waits_is_told(hostile: HostileUpstream) -> None:
    async with one_connection_in_use(hostile) as (client, answer):
        reading = asyncio.ensure_future(answer.read(5))
        waiting = asyncio.ensure_future(ask(client, hostile, "well_behaved"))
        await turns_of_the_loop()
        await client.close()
        with pytest.raises(UpstreamBroken):
            await reading
        with pytest.raises(UpstreamUnreachable):
            await waiting
        await asyncio.wait_for(hostile.closed.wait(), 5)
        with pytest.raises(UpstreamUnreachable):
            await ask(client, hostile, "well_behaved")
    assert len(hostile.requests) == 1


async def test_closing_closes_idle_connections(hostile: HostileUpstream) -> None:
    async with UpstreamClient() as client:
        await ask(client, hostile, "well_behaved")
    await asyncio.wait_for(hostile.closed.wait(), 5)
