"""Connections: what is no HTTP, heads that never end, too many strangers, and who counts as gone."""

import asyncio

import pytest

from gateway.edge.connection import Connection, ConnectionLimits
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, until, upstream_at


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    limits = ConnectionLimits(header_s=0.2, keepalive_s=5.0, unauthenticated_per_address_max=3, write_s=60.0)
    return await roads.open(upstream_at(hostile.url("well_behaved")), connections=limits)


async def test_what_is_no_http_is_400_in_the_dialect_of_openai(road: Road, hostile: HostileUpstream) -> None:
    whole = road.wire(chat())
    smuggled = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n"
    cases = {
        "no request line": b"nonsense\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        "unknown version": b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        "length and chunked": road.head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n" + smuggled,
        "two lengths": road.head("content-length: 5", "content-length: 6") + b"hello" + smuggled,
        "length that is no number": road.head("content-length: +5") + b"hello",
        "negative length": road.head("content-length: -5"),
        "chunked that is not last": road.head("transfer-encoding: chunked, identity") + b"0\r\n\r\n",
        "space before the colon": whole.replace(b"host:", b"host :"),
        "folded header": whole.replace(b"host: gateway", b"host: gateway\r\n folded: yes"),
        "line feed alone": whole.replace(b"host: gateway\r\n", b"host: gateway\n"),
        "nul in a header": whole.replace(b"gateway", b"gate\0way"),
        "header too long": whole.replace(b"gateway", b"g" * 20_000),
        "too many headers": whole.replace(b"host:", b"x: y\r\n" * 200 + b"host:"),
    }
    for name, sent in cases.items():
        async with await road.connect() as wire:
            await wire.send(sent)
            answer = await wire.answer()
            assert (answer.status, answer.error["type"]) == (400, "invalid_request_error"), name
            assert answer.error["code"] == "invalid_request", name
            assert answer.headers["x-request-id"], name
            assert b"HTTP/" not in await wire.end(), f"{name}: a second answer"
    assert hostile.requests == []
    assert await road.books() == []


async def test_whatever_is_refused_under_api_is_told_as_a_problem(road: Road) -> None:
    spend = b"POST /api/credits/deduct HTTP/1.1\r\nhost: x\r\n"
    known = b"authorization: Bearer " + road.key.encode() + b"\r\n"
    cases = {
        "no colon": (b"GET /api/orgs HTTP/1.1\r\nhost\r\n\r\n", 400),
        "unknown version": (b"GET /api HTTP/9.9\r\nhost: x\r\n\r\n", 400),
        "after empty lines": (b"\r\n\r\nGET /api/orgs HTTP/9.9\r\nhost: x\r\n\r\n", 400),
        "the address whole": (b"GET http://x/api/orgs?limit=1 HTTP/9.9\r\nhost: x\r\n\r\n", 400),
        "two lengths": (spend + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400),
        "length and chunked": (spend + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        "nul in a header": (spend + b"x: a\0b\r\n\r\n", 400),
        "header too long": (spend + b"x: " + b"y" * 20_000 + b"\r\n\r\n", 400),
        "line too long": (b"GET /api/orgs?" + b"x" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        "too many headers": (spend + b"x: y\r\n" * 200 + b"\r\n", 400),
        "a chunk that is none": (spend + known + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        "unknown expectation": (b"GET /api/orgs HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\n\r\n", 417),
        "unknown expectation at no path": (b"GET /api/x HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\n\r\n", 417),
        "unknown path": (b"GET /api/x HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        "the path alone": (b"GET /api HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        "another spelling of no path": (b"GET /%61pi/x HTTP/1.1\r\nhost: x\r\n\r\n", 404),
        "method of no path": (b"PROPFIND /api/orgs HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        "method of another path": (b"DELETE /api/orgs HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        "no key": (b"GET /api/orgs HTTP/1.1\r\nhost: x\r\n\r\n", 401),
        "too large": (spend + known + b"content-length: 70000\r\n\r\n", 413),
        "compressed": (spend + known + b"content-length: 1\r\ncontent-encoding: gzip\r\n\r\n1", 415),
    }
    for name, (sent, status) in cases.items():
        for before in (b"", b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n", road.wire(chat("no-such"))):
            async with await road.connect() as wire:
                if before:
                    await wire.send(before)
                    await wire.answer()
                for piece in (sent[:9], sent[9:]):
                    await wire.send(piece)
                answer = await wire.answer()
                assert answer.status == status, name
                assert answer.headers["content-type"].startswith("application/problem+json"), name
                assert answer.json["status"] == status, name
                assert answer.json["type"] == f"urn:tollgate:problem:{answer.json['code']}", name
                assert answer.headers["x-request-id"], name


async def test_paths_that_only_begin_like_api_are_answered_in_the_dialect_of_openai(road: Road) -> None:
    for sent in (b"GET /apis HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /apis HTTP/9.9\r\nhost: x\r\n\r\n"):
        async with await road.connect() as wire:
            await wire.send(sent)
            assert (await wire.answer()).error["type"] == "invalid_request_error"


async def test_a_chunk_that_is_none_is_400_and_nothing_after_it_is_read(road: Road, hostile: HostileUpstream) -> None:
    for chunk in (b"zz\r\n", b"-5\r\nhello\r\n", b"5\r\nhello!!0\r\n\r\n", b"5;" + b"x" * 100_000 + b"\r\n"):
        async with await road.connect() as wire:
            await wire.send(road.head("transfer-encoding: chunked") + chunk + road.wire(chat()))
            answer = await wire.answer()
            assert (answer.status, answer.error["code"]) == (400, "invalid_request"), chunk[:20]
            assert b"200 OK" not in await wire.end()
    assert hostile.requests == []


async def test_pipelined_requests_are_answered_in_order(road: Road, hostile: HostileUpstream) -> None:
    async with await road.connect() as wire:
        await wire.send(road.wire(chat("no-such")) + road.wire(chat()) + road.wire(chat("unpriced")))
        assert [(await wire.answer()).status for _ in range(3)] == [404, 200, 400]
    assert len(hostile.requests) == 1


async def test_a_connection_is_kept_for_the_next_request(road: Road) -> None:
    async with await road.connect() as wire:
        for _ in range(3):
            await wire.send(road.wire(chat()))
            assert (await wire.answer()).status == 200


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/comple", b"POST / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_end_is_hung_up_on(road: Road, sent: bytes) -> None:
    async with await road.connect() as wire:
        await wire.send(sent)
        assert await wire.end() == b""


async def test_the_second_head_of_a_connection_has_its_time_as_well(road: Road) -> None:
    async with await road.connect() as wire:
        await wire.send(road.wire(chat()))
        assert (await wire.answer()).status == 200
        await wire.send(b"POST /v1/chat/comple")
        assert await wire.end() == b""


async def test_strangers_from_one_address_are_capped_and_callers_are_not(road: Road) -> None:
    known = []
    for _ in range(4):
        wire = await road.connect()
        known.append(wire)
        await wire.send(road.wire(chat()))
        assert (await wire.answer()).status == 200
    strangers = [await road.connect() for _ in range(3)]
    await until(lambda: len(_connections(road)) == 7)
    async with await road.connect() as one_too_many:
        assert await one_too_many.end() == b""
    for wire in known:
        await wire.send(road.wire(chat()))
        assert (await wire.answer()).status == 200
    for wire in strangers:
        wire.writer.close()
    await until(lambda: len(_connections(road)) == 4)
    async with await road.connect() as stranger:
        await stranger.send(road.wire(chat()))
        assert (await stranger.answer()).status == 200
    for wire in known:
        wire.writer.close()


async def test_a_peer_that_takes_a_little_has_its_time_again_and_one_that_takes_nothing_has_not(
    roads: Roads, hostile: HostileUpstream
) -> None:
    limits = ConnectionLimits(write_s=60.0)
    road = await roads.open(upstream_at(hostile.url("talks_without_end")), credits="1000000", connections=limits)
    wire = await road.connect(deaf=True)
    await wire.send(road.wire(chat(stream=True, max_tokens=50_000_000)))
    await until(lambda: any(connection.writing_paused for connection in _connections(road)))
    (connection,) = _connections(road)
    transport = connection.transport
    assert transport is not None
    now = asyncio.get_running_loop().time()
    connection.abort_if_stalled(now)
    unsent = transport.get_write_buffer_size()
    while transport.get_write_buffer_size() == unsent:
        assert await wire.reader.read(2**12)
    await until(lambda: connection.writing_paused)
    connection.abort_if_stalled(now + 61)
    connection.abort_if_stalled(now + 61 + 59)
    assert not transport.is_closing()
    connection.abort_if_stalled(now + 61 + 61)
    assert transport.is_closing()
    assert (await road.ended()).ended == "cancelled"
    wire.writer.close()


def _connections(road: Road) -> list[Connection]:
    listener = road.gateway._runner.listener
    assert listener is not None
    return [connection for connection in listener.connections if isinstance(connection, Connection)]
