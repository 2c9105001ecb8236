"""The plain form: what is read past aiohttp's parser, what never is, and that nobody can tell the difference."""

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.edge.connection import EARLY_BYTES_MAX, Connection, ConnectionLimits
from gateway.edge.plain_request import BODY_BYTES_MAX, HEADERS_MAX, Content, PlainRequest, read_plain
from tests.fakes.hostile_upstream import HostileUpstream
from tests.road import Road, Roads, chat, until, upstream_at

PLAIN = (
    b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer  a b \r\nX-Empty:\r\n"
    b"Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello"
)


def read(data: bytes) -> tuple[PlainRequest, bytes] | None:
    return read_plain(data, cast(Any, SimpleNamespace(transport=None)), head_bytes_max=4096)


def test_a_plain_request_is_read_to_the_letter() -> None:
    plain = read(PLAIN + b"POST ")
    assert plain is not None
    request, rest = plain
    assert (request.raw_path, request.content_length) == ("/v1/chat/completions?x=1", 5)
    assert request.headers["authorization"] == "Bearer  a b"
    assert request.headers.get("X-EMPTY") == ""
    assert rest == b"POST "
    assert request.content.is_eof()
    assert request.content.read_nowait() == b"hello"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"GET"),
        (b"POST", b"post"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"POST /", b"POST  /"),
        (b"/v1", b"http://gateway/v1"),
        (b"/v1", b"/\x7fv1"),
        (b"Host: gateway\r\n", b""),
        (b"Host: gateway", b"Host: gateway\r\nhost: gateway"),
        (b"Host: gateway", b"Host: gateway\r\n folded: yes"),
        (b"Host: gateway", b"Host : gateway"),
        (b"Host: gateway", b"Host gateway"),
        (b"Host: gateway", b": gateway"),
        (b"gateway\r\n", b"gateway\n"),
        (b"gateway\r\n", b"gateway\r"),
        (b"gateway", b"gate\0way"),
        (b"gateway", b"gate\rway"),
        (b"gateway", b"g\xc3\xa4teway"),
        (b"gateway", b"g" * 5000),
        (b"Host:", b"".join(b"x-%d: y\r\n" % n for n in range(HEADERS_MAX)) + b"Host:"),
        (b"keep-alive", b"close"),
        (b"keep-alive", b"keep-alive, upgrade"),
        (b"Length: 5", b"Length: +5"),
        (b"Length: 5", b"Length: 05"),
        (b"Length: 5", b"Length: 5, 5"),
        (b"Length: 5", b"Length: 5\r\nContent-Length: 5"),
        (b"Length: 5", b"Length: %d" % (BODY_BYTES_MAX + 1)),
        (b"Content-Length: 5\r\n", b""),
        (b"Content-Length: 5", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 5", b"Content-Length: 5\r\nExpect: 100-continue"),
        (b"Content-Length: 5", b"Content-Length: 5\r\nUpgrade: h2c"),
        (b"\r\n\r\n", b"\r\n"),
    ],
)
def test_what_differs_in_one_thing_is_not_plain(old: bytes, new: bytes) -> None:
    assert old in PLAIN
    assert read(PLAIN.replace(old, new, 1)) is None


def again(last: bytes, data: bytes) -> tuple[PlainRequest, bytes] | None:
    before = read(last)
    assert before is not None
    before[0].head.sender = "made of it"
    return read_plain(data, cast(Any, SimpleNamespace(transport=None)), head_bytes_max=4096, last=before[0].head)


@pytest.mark.parametrize("length", [b"0", b"5", b"6", b"12", b"1000"])
def test_a_head_that_comes_again_is_known_whatever_the_length_of_its_body(length: bytes) -> None:
    plain = again(PLAIN, PLAIN.replace(b"Length: 5", b"Length: " + length))
    assert plain is not None
    request, rest = plain
    assert (request.head.sender, request.content_length) == ("made of it", int(length))
    assert (request.content.read_nowait(), rest) == (b"hello"[: int(length)], b"hello"[int(length) :])


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"a b", b"a c"), (b"x=1", b"x=2"), (b"X-Empty:", b"X-Empty: x"), (b"keep-alive\r\n", b"keep-alive\r\nA: b\r\n")],
)
def test_a_head_that_differs_is_another(old: bytes, new: bytes) -> None:
    plain = again(PLAIN, PLAIN.replace(old, new))
    assert plain is not None
    assert plain[0].head.sender is None


@pytest.mark.parametrize("length", [b"", b"05", b"+5", b"5, 5", b"5 5", b"-1", b"5\r\nContent-Length: 5", b"9999999"])
@pytest.mark.parametrize("after", [b"", b" "])
def test_a_known_head_with_a_length_that_is_not_plain_is_not_plain(length: bytes, after: bytes) -> None:
    last = PLAIN.replace(b"Length: 5", b"Length: 5" + after)
    assert again(last, last.replace(b"Length: 5", b"Length: " + length)) is None


def test_a_known_head_that_is_too_long_or_not_there_yet_is_not_plain() -> None:
    head_bytes = PLAIN.index(b"hello")
    before = read(PLAIN)
    assert before is not None
    for data, most in ((PLAIN, head_bytes - 1), (PLAIN[: head_bytes - 1], 4096)):
        assert before[0].head.length_in(data, head_bytes_max=most) is None


@given(st.binary(max_size=40), st.lists(st.integers(0, 40)))
def test_a_body_and_what_follows_it_do_not_depend_on_where_they_were_cut(data: bytes, cuts: list[int]) -> None:
    length = len(data) // 2
    content, rest = Content(length), b""
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        rest += content.feed(data[start:end])
    assert content.is_eof()
    assert (content.read_nowait(), rest) == (data[:length], data[length:])


async def test_a_body_is_read_as_it_comes_and_its_breaking_off_is_told() -> None:
    content = Content(5)
    reading = asyncio.ensure_future(content.readany())
    await asyncio.sleep(0)
    content.feed(b"he")
    assert await reading == b"he"
    reading = asyncio.ensure_future(content.readany())
    await asyncio.sleep(0)
    content.break_off()
    with pytest.raises(ConnectionResetError):
        await reading


# --- on the wire ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def road(roads: Roads, hostile: HostileUpstream) -> Road:
    limits = ConnectionLimits(header_s=0.2, keepalive_s=0.1)
    return await roads.open(upstream_at(hostile.url("well_behaved")), connections=limits)


def _connection(road: Road) -> Connection:
    listener = road.gateway._runner.listener
    assert listener is not None
    (connection,) = listener.connections
    assert isinstance(connection, Connection)
    return connection


async def test_plain_requests_stay_on_the_straight_way_and_the_first_other_one_is_the_last_there(road: Road) -> None:
    head, body = road.wire(chat()).split(b"\r\n\r\n")
    async with await road.connect() as wire:
        for cut in (len(head) + 4, len(head) + 9):  # between head and body as most clients send them, and inside
            sent = head + b"\r\n\r\n" + body
            await wire.send(sent[:cut])
            await until(lambda: _connection(road)._serving is not None)
            await wire.send(sent[cut:])
            assert (await wire.answer()).status == 200
        assert not _connection(road)._aiohttp_reads
        await wire.send(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n")
        assert (await wire.answer()).status == 200
        assert _connection(road)._aiohttp_reads
        await wire.send(road.wire(chat()))
        assert (await wire.answer()).status == 200


async def test_each_request_of_a_connection_is_its_own_key_s(road: Road) -> None:
    key, text = await road.gateway.keys.create(road.org.org_id, name="short-lived")
    async with await road.connect() as wire:
        for _ in range(2):
            for token in (text, road.key):
                await wire.send(road.wire(chat()).replace(road.key.encode(), token.encode()))
                assert (await wire.answer()).status == 200
        await wire.send(road.wire(chat()).replace(road.key.encode(), text.encode()))
        assert (await wire.answer()).status == 200
        await road.gateway.keys.revoke(road.org.org_id, key.key_id)
        await wire.send(road.wire(chat()).replace(road.key.encode(), text.encode()))
        assert (await wire.answer()).status == 401
        await wire.send(road.wire(chat()))
        assert (await wire.answer()).status == 200
        assert not _connection(road)._aiohttp_reads


async def test_requests_of_every_form_in_one_piece_are_answered_in_order(road: Road, hostile: HostileUpstream) -> None:
    body = road.wire(chat()).split(b"\r\n\r\n")[1]
    chunked = road.head("transfer-encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    livez = b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n"
    async with await road.connect() as wire:
        await wire.send(road.wire(chat("no-such")) + road.wire(chat()) + livez + chunked + road.wire(chat("unpriced")))
        assert [(await wire.answer()).status for _ in range(5)] == [404, 200, 200, 200, 400]
    assert len(hostile.requests) == 2


async def test_more_than_may_come_early_is_left_in_the_socket_and_answered_all_the_same(road: Road) -> None:
    request = road.wire(chat("no-such", user="x" * 30_000))
    async with await road.connect() as wire:
        sending = asyncio.ensure_future(wire.send(request * 20))
        for _ in range(20):
            assert (await wire.answer()).status == 404
            assert len(_connection(road)._early) <= EARLY_BYTES_MAX + 256 * 1024
        await sending


async def test_a_refused_body_may_still_come_and_the_connection_is_kept(road: Road) -> None:
    whole = road.wire(chat()).replace(road.key.encode(), b"nobody")
    async with await road.connect() as wire:
        await wire.send(whole[:-10])
        assert (await wire.answer()).status == 401
        await wire.send(whole[-10:] + road.wire(chat()))
        assert (await wire.answer()).status == 200


async def test_a_refused_body_that_never_ends_is_hung_up_on(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.edge.connection.LINGER_S", 0.05)
    async with await road.connect() as wire:
        await wire.send(road.wire(chat()).replace(road.key.encode(), b"nobody")[:-10])
        assert (await wire.answer()).status == 401
        assert await wire.end() == b""


async def test_an_idle_connection_is_closed_and_one_that_waits_for_its_answer_is_not(
    roads: Roads, hostile: HostileUpstream
) -> None:
    limits = ConnectionLimits(keepalive_s=0.05)
    road = await roads.open(upstream_at(hostile.url("goes_on_when_told")), connections=limits)
    async with await road.connect() as wire:
        await wire.send(road.wire(chat(stream=True)))
        await wire.until_read(b"data: ")
        connection = _connection(road)
        handle = connection._keepalive_handle
        await until(lambda: connection._keepalive_handle is not handle)  # the timer ran out and was set anew
        hostile.go_on.set()
        await wire.until_read(b"0\r\n\r\n")
        assert await wire.end() == b""


async def test_an_idle_connection_has_its_time_anew_with_each_request(road: Road) -> None:
    async with await road.connect() as wire:
        await wire.send(road.wire(chat("no-such")))
        await wire.answer()
        connection = _connection(road)
        for _ in range(2):
            before = connection._next_keepalive_close_time
            await wire.send(road.wire(chat("no-such")))
            assert (await wire.answer()).status == 404
            assert connection._next_keepalive_close_time > before


async def test_aiohttp_writes_after_what_was_gathered_before_it(road: Road) -> None:
    async with await road.connect() as wire:
        await wire.send(road.wire(chat("no-such")))
        await wire.answer()
        connection = _connection(road)
        connection._outgoing.append(b"before it ")
        connection.data_received(b"GET /livez HTTP/1.1\r\nhost: gateway\r\n\r\n")
        assert connection._outgoing == []
        assert await wire.until_read(b"200 OK") == b"before it HTTP/1.1 200 OK"


@pytest.fixture
async def slow(roads: Roads, hostile: HostileUpstream) -> Road:
    return await roads.open(upstream_at(hostile.url("goes_on_when_told")))


async def test_a_call_under_way_ends_well_when_its_connection_is_to_close(slow: Road, hostile: HostileUpstream) -> None:
    async with await slow.connect() as wire:
        await wire.send(slow.wire(chat(stream=True)))
        await wire.until_read(b"data: ")
        _connection(slow).close()
        hostile.go_on.set()
        assert (await wire.end()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


async def test_a_stop_gives_a_call_its_time(slow: Road, hostile: HostileUpstream) -> None:
    async with await slow.connect() as wire:
        await wire.send(slow.wire(chat(stream=True)))
        await wire.until_read(b"data: ")
        connection = _connection(slow)
        connection.close()  # as a server that stops does first
        stopping = asyncio.ensure_future(connection.shutdown(10))
        await asyncio.sleep(0)
        hostile.go_on.set()
        assert (await wire.end()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        await stopping


async def test_a_stop_cancels_a_call_that_takes_longer(slow: Road) -> None:
    async with await slow.connect() as wire:
        await wire.send(slow.wire(chat(stream=True)))
        await wire.until_read(b"data: ")
        connection = _connection(slow)
        connection.close()
        await connection.shutdown(0.01)
        assert not (await wire.end()).endswith(b"0\r\n\r\n")
    assert len(await slow.books()) == 1
