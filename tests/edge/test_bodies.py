"""Bodies that are too large, too slow, too many, compressed or broken: answered, and the answer is really read."""

import time

import msgspec
import pytest

from gateway.edge.bodies import BodyLimits
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, until, upstream_at

LIMIT = 64 * 1024


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    limits = BodyLimits(body_bytes_max=LIMIT, bodies_bytes_max=2 * LIMIT, body_first_s=0.2, body_bytes_per_s_min=10**6)
    return await roads.open(upstream_at(hostile.url("well_behaved")), bodies=limits)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


async def test_a_body_over_the_limit_is_413_and_its_sender_can_read_so(road: Road) -> None:
    body = msgspec.json.encode(chat(user="x" * 30 * LIMIT))
    answer = await road.ask(body)  # which is sent in full before anything is read
    assert (answer.status, answer.error["type"]) == (413, "invalid_request_error")
    assert answer.error["code"] == "request_too_large"
    async with await road.connect() as wire:
        await wire.send(road.head("transfer-encoding: chunked"))
        await wire.send(chunked(body))
        answer = await wire.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    fits = msgspec.json.encode(chat(user="x" * (LIMIT - 200)))
    assert (await road.ask(fits)).status == 200


async def test_a_chunked_body_is_read_like_any_other(road: Road, hostile: HostileUpstream) -> None:
    body = msgspec.json.encode(chat())
    async with await road.connect() as wire:
        await wire.send(road.head("transfer-encoding: chunked"))
        for at in range(0, len(body), 7):
            piece = body[at : at + 7]
            await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await wire.send(b"0\r\n\r\n")
        assert (await wire.answer()).status == 200
    assert hostile.requests[0].body == body


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
async def test_a_compressed_body_is_415(road: Road, encoding: str) -> None:
    answer = await road.ask(b"\x1f\x8b", headers={"content-encoding": encoding})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_encoding")
    assert (await road.ask(chat(), headers={"content-encoding": "identity"})).status == 200


async def test_who_expects_100_continue_is_told_once_he_is_known(road: Road) -> None:
    async with await road.connect() as wire:
        body = msgspec.json.encode(chat())
        await wire.send(road.head(f"content-length: {len(body)}", "expect: 100-continue"))
        assert await wire.until_read(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(body)
        assert (await wire.answer()).status == 200


async def test_who_is_not_known_is_401_and_his_body_is_never_asked_for(road: Road) -> None:
    async with await road.connect() as wire:
        await wire.send(road.head("content-length: 1000000", "expect: 100-continue", key="nobody"))
        answer = await wire.answer()
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_who_is_not_known_is_401_although_he_sends_a_large_body(road: Road) -> None:
    answer = await road.ask(msgspec.json.encode(chat(user="x" * 30 * LIMIT)), key="nobody")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


async def test_a_body_that_trickles_is_408(road: Road) -> None:
    async with await road.connect() as wire:
        began = time.monotonic()
        await wire.send(road.wire(chat())[:-1])
        answer = await wire.answer()
        assert time.monotonic() - began < 5
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")


async def test_more_bytes_than_the_process_may_hold_are_503(road: Road) -> None:
    async def held_in_full() -> bool:
        return f"tollgate_request_body_bytes {2.0 * LIMIT}".encode() in (await road.get("/metrics")).body

    async with await road.connect() as first, await road.connect() as second:
        for wire in (first, second):
            await wire.send(road.head(f"content-length: {LIMIT}"))
        await until(held_in_full)
        answer = await road.ask(chat())
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    await road.idle()
    assert (await road.ask(chat())).status == 200


async def test_a_body_that_breaks_off_reserves_nothing(road: Road) -> None:
    async with await road.connect() as wire:
        await wire.send(road.wire(chat())[:-1])
        wire.writer.write_eof()
        await wire.end()
    assert await road.books() == []
