"""One call: what goes out, what comes back, and how each thing that can go wrong is named."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from gateway.core.errors import UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from gateway.upstream.client import UpstreamAnswer, UpstreamClient
from gateway.upstream.registry import Timeouts, Upstream
from tests.fakes.hostile_bytes import chat, event
from tests.fakes.hostile_heads import BREAK_OFF, NO_ANSWERS
from tests.fakes.hostile_upstream import HostileUpstream
from tests.upstream.calls import BODY, PATH, ask, read_all, upstream_at

HASTY = Timeouts(connect_s=5, first_event_s=0.05, idle_s=0.05, total_s=20)


async def test_the_request_goes_out_as_one_plain_post(client: UpstreamClient, hostile: HostileUpstream) -> None:
    upstream = Upstream(
        name="h",
        provider="openai",
        base_url=hostile.url("well_behaved"),
        api_key="sk-secret",
        headers=(("X-Title", "tollgate"),),
    )
    answer = await client.send(upstream, PATH, BODY, [("x-replay-id", "7")])
    await read_all(answer)
    [request] = hostile.requests
    assert request.head.decode() == (
        "POST /well_behaved/v1/chat/completions HTTP/1.1\r\n"
        f"host: 127.0.0.1:{hostile.port}\r\n"
        "authorization: Bearer sk-secret\r\n"
        "x-title: tollgate\r\n"
        "content-type: application/json\r\n"
        "accept-encoding: identity\r\n"
        "x-replay-id: 7\r\n"
        f"content-length: {len(BODY)}\r\n\r\n"
    )
    assert request.body == BODY


async def test_a_key_goes_where_the_upstream_looks_for_it(client: UpstreamClient, hostile: HostileUpstream) -> None:
    upstream = Upstream(
        name="h", provider="x", base_url=hostile.url("well_behaved"), api_key="sk-secret", auth_header="x-api-key"
    )
    await read_all(await client.send(upstream, PATH, BODY))
    assert b"\r\nx-api-key: sk-secret\r\n" in hostile.requests[0].head
    assert b"authorization" not in hostile.requests[0].head.lower()


async def test_without_a_key_no_credential_is_sent(client: UpstreamClient, hostile: HostileUpstream) -> None:
    upstream = Upstream(name="h", provider="openai", base_url=hostile.url("well_behaved"), api_key="")
    await read_all(await client.send(upstream, PATH, BODY))
    assert b"authorization" not in hostile.requests[0].head.lower()


async def test_a_header_with_a_line_end_is_never_sent(client: UpstreamClient, hostile: HostileUpstream) -> None:
    with pytest.raises(ValueError, match="line end"):
        await client.send(upstream_at(hostile.url("well_behaved")), PATH, BODY, [("x", "a\r\nhost: other")])
    assert hostile.connections == 0


async def test_status_headers_and_body_come_back_as_they_were_sent(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    answer = await client.send(upstream_at(hostile.url("sets_a_cookie")), PATH, BODY)
    assert answer.status == 200
    assert answer.headers == [
        ("content-type", "application/json"),
        ("set-cookie", "tenant=somebody"),
        ("x-two", "a"),
        ("x-two", "b"),
        ("content-length", str(len(chat("cookie")))),
    ]
    assert answer.content_length == len(chat("cookie"))
    assert await read_all(answer) == chat("cookie")


async def test_cookies_of_an_answer_are_not_sent_back(client: UpstreamClient, hostile: HostileUpstream) -> None:
    await ask(client, hostile, "sets_a_cookie")
    await ask(client, hostile, "sets_a_cookie")
    assert b"cookie" not in hostile.requests[1].head.lower().replace(b"sets_a_cookie", b"")


async def test_a_stream_comes_through_and_says_no_length(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("well_behaved_stream")), PATH, BODY)
    assert answer.content_length is None
    assert await read_all(answer) == b"".join(
        (event("Hello"), event(" there"), event("", finish="stop"), b"data: [DONE]\n\n")
    )


async def test_the_end_of_an_answer_stays_its_end(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("well_behaved")), PATH, BODY)
    await read_all(answer)
    assert await answer.read(1) == b""
    answer.release()
    answer.abort()
    assert await answer.read(1) == b""


@pytest.mark.parametrize("behaviour", ["well_behaved", "well_behaved_stream"])
async def test_an_answer_ends_with_its_last_piece(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str
) -> None:
    answer = await client.send(upstream_at(hostile.url(behaviour)), PATH, BODY)
    assert await answer.read(5)
    assert answer.ended
    await ask(client, hostile, "well_behaved")
    assert hostile.connections == 1


async def test_a_redirect_is_an_answer_like_any_other(client: UpstreamClient, hostile: HostileUpstream) -> None:
    assert await ask(client, hostile, "redirects") == (307, b"")
    assert len(hostile.requests) == 1


@pytest.mark.parametrize("behaviour", ["early_hints", "early_hints_apart"])
async def test_early_hints_are_passed_over(client: UpstreamClient, hostile: HostileUpstream, behaviour: str) -> None:
    assert await ask(client, hostile, behaviour) == (200, chat("after the hints"))


async def test_an_answer_that_overtakes_the_request_is_read(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("answers_before_reading")), PATH, b"x" * 2**24)
    assert answer.status == 413
    assert b"too large" in await read_all(answer)


async def test_a_big_answer_waits_in_a_bounded_buffer(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("big_body")), PATH, BODY)
    sizes = []
    while piece := await answer.read(5):
        sizes.append(len(piece))
        await asyncio.sleep(0)
    assert sum(sizes) == 2**23
    assert max(sizes) <= 2**20


async def test_an_answer_that_nobody_reads_is_not_taken_from_the_upstream(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    answer = await client.send(upstream_at(hostile.url("big_body_reported")), PATH, BODY)
    for _ in range(1000):  # many times the turns of the loop that 32 MiB take
        await asyncio.sleep(0)
    assert not hostile.extra_sent.is_set()
    assert len(await read_all(answer)) == 2**25
    await asyncio.wait_for(hostile.extra_sent.wait(), 5)


# --- unreachable ------------------------------------------------------------------------------------------------------


async def test_a_closed_port_is_unreachable(client: UpstreamClient) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UpstreamUnreachable, match="nothing was sent") as failure:
            await client.send(upstream_at(base_url), PATH, BODY)
    assert failure.value.upstream == "hostile"


async def test_a_name_that_does_not_resolve_is_unreachable(client: UpstreamClient) -> None:
    with pytest.raises(UpstreamUnreachable):
        await client.send(upstream_at("http://upstream.invalid/v1"), PATH, BODY)


async def test_a_failed_tls_handshake_is_unreachable(client: UpstreamClient) -> None:
    async with HostileUpstream(speaks_first=True) as hostile:
        with pytest.raises(UpstreamUnreachable):
            await client.send(upstream_at(f"https://127.0.0.1:{hostile.port}/v1"), PATH, BODY)


async def test_a_connection_that_is_never_accepted_times_out_while_connecting(client: UpstreamClient) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        timeouts = Timeouts(connect_s=0.05, first_event_s=5, idle_s=5, total_s=20)
        with pytest.raises(UpstreamTimeout, match="nothing was sent"):
            await client.send(upstream_at(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts), PATH, BODY)
        for filler in fillers:
            filler.close()


async def test_a_tls_handshake_without_end_times_out_while_connecting(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    timeouts = Timeouts(connect_s=0.05, first_event_s=5, idle_s=5, total_s=20)
    with pytest.raises(UpstreamTimeout, match="nothing was sent"):
        await client.send(upstream_at(f"https://127.0.0.1:{hostile.port}/v1", timeouts), PATH, BODY)
    await asyncio.wait_for(hostile.closed.wait(), 5)


async def test_a_name_that_no_host_can_have_is_unreachable(client: UpstreamClient) -> None:
    with pytest.raises(UpstreamUnreachable):
        await client.send(upstream_at("http://upstream..invalid/v1"), PATH, BODY)


# --- broken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behaviour",
    [
        "closes_before_answering",
        "resets_before_answering",
        "header_flood",
        "one_huge_header",
        "two_lengths",
        "length_and_chunked",
        "no_http",
        "interim_answers_without_end",
        "switches_protocols",
        "compressed",
        *NO_ANSWERS,
    ],
)
async def test_what_is_no_answer_is_broken(client: UpstreamClient, hostile: HostileUpstream, behaviour: str) -> None:
    with pytest.raises(UpstreamBroken):
        await ask(client, hostile, behaviour)
    assert len(hostile.requests) == 1  # and was not asked for again


@pytest.mark.parametrize("behaviour", ["length_too_long", "closes_mid_stream", "chunk_size_garbage", *BREAK_OFF])
async def test_an_answer_that_breaks_off_is_broken_after_what_came(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str
) -> None:
    answer = await client.send(upstream_at(hostile.url(behaviour)), PATH, BODY)
    assert (await answer.read(5)).startswith((b'{"id"', event("Hello")))
    hostile.go_on.set()
    with pytest.raises(UpstreamBroken):
        await read_all(answer)


@pytest.mark.parametrize("behaviour", ["resets_mid_stream", "resets_close_delimited"])
async def test_a_reset_is_never_a_clean_end(client: UpstreamClient, hostile: HostileUpstream, behaviour: str) -> None:
    answer = await client.send(upstream_at(hostile.url(behaviour)), PATH, BODY)
    assert (await answer.read(5)).startswith(event("Hello"))
    hostile.go_on.set()
    with pytest.raises(UpstreamBroken):
        await read_all(answer)


async def test_what_came_before_the_break_is_handed_out_even_if_the_break_was_seen_first(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    answer = await client.send(upstream_at(hostile.url("closes_mid_stream")), PATH, BODY)
    await hostile.closed.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await answer.read(5)).startswith(event("Hello") + event(" there"))
    with pytest.raises(UpstreamBroken):
        await answer.read(5)


async def test_a_close_is_the_end_where_nothing_else_delimits(client: UpstreamClient, hostile: HostileUpstream) -> None:
    status, body = await ask(client, hostile, "close_delimited")
    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")


# --- timeouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["hangs_before_headers", "hangs_mid_head", "trickles_headers"])
async def test_a_head_that_does_not_come_times_out_and_hangs_up(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str
) -> None:
    with pytest.raises(UpstreamTimeout):
        await client.send(upstream_at(hostile.url(behaviour), HASTY), PATH, BODY)
    await asyncio.wait_for(hostile.closed.wait(), 5)


async def test_silence_in_the_middle_times_out_and_hangs_up(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("hangs_mid_body")), PATH, BODY)
    assert (await answer.read(5)).startswith(event("Hello"))
    with pytest.raises(UpstreamTimeout):
        await read_all(answer, 0.05)
    await asyncio.wait_for(hostile.closed.wait(), 5)


async def test_each_read_has_its_own_patience(client: UpstreamClient, hostile: HostileUpstream) -> None:
    """A long wait that was satisfied does not lengthen the next, shorter one."""
    answer = await client.send(upstream_at(hostile.url("hangs_mid_body")), PATH, BODY)
    await answer.read(60)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with pytest.raises(UpstreamTimeout):
        await read_all(answer, 0.05)
    assert loop.time() - began_at < 3


async def test_an_answer_that_trickles_for_ever_ends_at_the_total(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    timeouts = Timeouts(connect_s=5, first_event_s=5, idle_s=5, total_s=0.1)
    answer = await client.send(upstream_at(hostile.url("trickles_body"), timeouts), PATH, BODY)
    with pytest.raises(UpstreamTimeout):
        await read_all(answer)
    await asyncio.wait_for(hostile.closed.wait(), 5)


# --- giving up --------------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_hangs_up(client: UpstreamClient, hostile: HostileUpstream) -> None:
    call = asyncio.ensure_future(client.send(upstream_at(hostile.url("hangs_before_headers")), PATH, BODY))
    while not hostile.requests:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(hostile.closed.wait(), 5)


async def test_abort_hangs_up_and_wakes_who_reads(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("hangs_before_first_event")), PATH, BODY)
    reading = asyncio.ensure_future(answer.read(5))
    await asyncio.sleep(0)
    answer.abort()
    answer.abort()
    with pytest.raises(UpstreamBroken):
        await reading
    await asyncio.wait_for(hostile.closed.wait(), 5)


async def test_what_was_not_taken_yet_of_a_request_is_not_sent_after_giving_up(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    with pytest.raises(UpstreamTimeout):
        await client.send(upstream_at(hostile.url("reads_late"), HASTY), PATH, b"x" * 2**24)
    hostile.go_on.set()
    await asyncio.wait_for(hostile.closed.wait(), 5)
    assert len(hostile.requests[0].body) < 2**24


@pytest.mark.parametrize("give_up", [UpstreamAnswer.abort, UpstreamAnswer.release])
async def test_an_answer_that_was_given_up_never_seems_to_end_cleanly(
    client: UpstreamClient, hostile: HostileUpstream, give_up: Callable[[UpstreamAnswer], None]
) -> None:
    answer = await client.send(upstream_at(hostile.url("hangs_mid_body")), PATH, BODY)
    give_up(answer)
    assert not answer.ended
    with pytest.raises(UpstreamBroken, match="given up"):
        await answer.read(5)


async def test_a_cancelled_read_loses_nothing(client: UpstreamClient, hostile: HostileUpstream) -> None:
    """A client went away in the middle: whoever drains the answer reads on where it was left."""
    answer = await client.send(upstream_at(hostile.url("goes_on_when_told")), PATH, BODY)
    received = b""
    while len(received) < len(event("Hello")):
        received += await answer.read(5)
    reading = asyncio.ensure_future(answer.read(5))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    hostile.go_on.set()
    received += await read_all(answer)
    assert received == event("Hello") + event("", finish="stop") + b"data: [DONE]\n\n"
    assert answer.ended


async def test_release_in_the_middle_hangs_up(client: UpstreamClient, hostile: HostileUpstream) -> None:
    answer = await client.send(upstream_at(hostile.url("endless_event")), PATH, BODY)
    assert await answer.read(5)
    answer.release()
    await asyncio.wait_for(hostile.closed.wait(), 5)
