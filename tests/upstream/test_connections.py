"""Nothing of one call may reach another over the connection that both of them use."""

import asyncio
import contextlib
import gc
import ssl

import pytest

from gateway.core.errors import UpstreamBroken, UpstreamUnreachable
from gateway.upstream.answer_parser import AnswerParser
from gateway.upstream.client import UpstreamAnswer, UpstreamClient
from gateway.upstream.connection import Connection
from tests.fakes.hostile_bytes import chat
from tests.fakes.hostile_upstream import LOCALHOST_PEM, HostileUpstream, client_tls
from tests.upstream.calls import BODY, PATH, ask, upstream_at


@pytest.mark.parametrize("behaviour", ["well_behaved", "well_behaved_stream"])
async def test_a_connection_that_answered_exactly_is_used_again(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str
) -> None:
    for _ in range(3):
        await ask(client, hostile, behaviour)
    assert [(request.connection, request.turn) for request in hostile.requests] == [(1, 1), (1, 2), (1, 3)]


async def test_an_empty_answer_leaves_a_usable_connection(client: UpstreamClient, hostile: HostileUpstream) -> None:
    await ask(client, hostile, "redirects")
    await ask(client, hostile, "well_behaved")
    assert hostile.connections == 1


async def test_so_does_an_answer_that_filled_the_buffer(client: UpstreamClient, hostile: HostileUpstream) -> None:
    for _ in range(3):
        status, body = await ask(client, hostile, "big_body")
        assert (status, len(body)) == (200, 2**23)
    assert hostile.connections == 1


async def test_an_answer_that_nobody_wants_leaves_one_if_all_of_it_came(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    answer = await client.send(upstream_at(hostile.url("well_behaved")), PATH, BODY)
    answer.release()
    with pytest.raises(UpstreamBroken, match="given up"):
        await answer.read(5)
    assert await ask(client, hostile, "well_behaved") == (200, chat("turn 2"))


async def test_concurrent_calls_never_share_a_connection(client: UpstreamClient, hostile: HostileUpstream) -> None:
    await asyncio.gather(*(ask(client, hostile, "well_behaved") for _ in range(20)))
    assert {request.turn for request in hostile.requests} == {1}


@pytest.mark.parametrize(
    "behaviour",
    [
        "two_answers_in_one_write",
        "two_streams_in_one_write",
        "half_an_answer_more",
        "length_too_short",
        "line_ends_after_a_stream",
        "answers_before_reading",
        "close_delimited",
    ],
)
async def test_a_connection_with_anything_left_over_is_closed(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str
) -> None:
    answer = await client.send(upstream_at(hostile.url(behaviour)), PATH, b"x" * 2**24)
    while piece := await answer.read(5):
        assert b"SOMEBODY ELSE" not in piece
    assert await ask(client, hostile, "well_behaved") == (200, chat("turn 1"))
    assert hostile.connections == 2


async def test_bytes_on_an_idle_connection_close_it(client: UpstreamClient, hostile: HostileUpstream) -> None:
    assert await ask(client, hostile, "late_extra_answer") == (200, chat("yours"))
    hostile.go_on.set()
    await asyncio.wait_for(hostile.closed.wait(), 5)
    assert await ask(client, hostile, "well_behaved") == (200, chat("turn 1"))
    assert hostile.connections == 2


async def test_bytes_that_the_loop_has_not_read_yet_are_seen_before_the_next_request_is_written(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    """The extra answer is already in the socket when the next call takes the connection, in one turn of the loop."""
    assert await ask(client, hostile, "late_extra_answer") == (200, chat("yours"))
    answers: list[tuple[int, bytes]] = []

    async def ask_in_the_same_turn() -> None:
        await hostile.extra_sent.wait()
        answers.append(await ask(client, hostile, "well_behaved"))

    asking = asyncio.ensure_future(ask_in_the_same_turn())
    await asyncio.sleep(0)
    hostile.go_on.set()
    await asking
    assert answers == [(200, chat("turn 1"))]


async def test_a_stale_connection_is_replaced_before_anything_is_written(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    for _ in range(3):
        assert await ask(client, hostile, "closes_idle_connection") == (200, chat("yours"))
    assert [request.turn for request in hostile.requests] == [1, 1, 1]


async def test_a_connection_is_not_used_for_longer_than_its_peer_says(
    client: UpstreamClient, hostile: HostileUpstream
) -> None:
    for behaviour in ("keeps_alive_for_a_minute", "keeps_alive_for_a_second", "well_behaved"):
        await ask(client, hostile, behaviour)
    assert [request.connection for request in hostile.requests] == [1, 1, 2]


async def test_a_request_that_was_written_is_never_sent_again(client: UpstreamClient, hostile: HostileUpstream) -> None:
    await ask(client, hostile, "closes_at_second_request")
    with pytest.raises(UpstreamBroken):
        await ask(client, hostile, "closes_at_second_request")
    assert [(request.connection, request.turn) for request in hostile.requests] == [(1, 1), (1, 2)]


async def test_a_failed_call_leaves_no_connection_behind(client: UpstreamClient, hostile: HostileUpstream) -> None:
    for behaviour in ("two_lengths", "length_and_chunked", "no_http", "compressed"):
        with pytest.raises(UpstreamBroken):
            await ask(client, hostile, behaviour)
    assert await ask(client, hostile, "well_behaved") == (200, chat("turn 1"))
    assert hostile.connections == 5


@pytest.mark.parametrize(
    "behaviour",
    [
        "well_behaved",
        "well_behaved_stream",
        "redirects",
        "close_delimited",
        "two_streams_in_one_write",
        "no_http",
        "two_lengths",
        "length_too_long",
        "closes_mid_stream",
        "closes_before_answering",
        "resets_before_answering",
    ],
)
async def test_a_call_leaves_nothing_for_the_collector(
    client: UpstreamClient, hostile: HostileUpstream, behaviour: str
) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            with contextlib.suppress(UpstreamBroken):
                await ask(client, hostile, behaviour)
        await client.close()
        left = [each for each in gc.get_objects() if isinstance(each, AnswerParser | Connection | UpstreamAnswer)]
    finally:
        gc.enable()
    assert left == []


# --- the same over TLS, where the session's own messages travel on the connection, too --------------------------------


async def test_a_tls_connection_is_used_again(tls_hostile: HostileUpstream) -> None:
    async with UpstreamClient(tls=client_tls()) as client:
        for turn in (1, 2, 3):
            assert await ask(client, tls_hostile, "well_behaved") == (200, chat(f"turn {turn}"))
    assert tls_hostile.connections == 1


async def test_bytes_on_an_idle_tls_connection_close_it(tls_hostile: HostileUpstream) -> None:
    async with UpstreamClient(tls=client_tls()) as client:
        assert await ask(client, tls_hostile, "late_extra_answer") == (200, chat("yours"))
        tls_hostile.go_on.set()
        await asyncio.wait_for(tls_hostile.closed.wait(), 5)
        assert await ask(client, tls_hostile, "well_behaved") == (200, chat("turn 1"))


async def test_a_new_tls_connection_resumes_the_session_of_the_last(tls_hostile: HostileUpstream) -> None:
    async with UpstreamClient(tls=client_tls(), age_max_s=0) as client:
        for _ in range(3):
            await ask(client, tls_hostile, "well_behaved")
    assert (tls_hostile.connections, tls_hostile.sessions_resumed) == (3, 2)


async def test_another_context_of_ones_own_serves_too(tls_hostile: HostileUpstream) -> None:
    tls = ssl.create_default_context(cafile=str(LOCALHOST_PEM))
    async with UpstreamClient(tls=tls, age_max_s=0) as client:
        for _ in range(2):
            assert await ask(client, tls_hostile, "well_behaved") == (200, chat("turn 1"))
    assert tls_hostile.sessions_resumed == 0


@pytest.mark.parametrize(
    "behaviour", ["two_answers_in_one_write", "line_ends_after_a_stream", "answers_before_reading"]
)
async def test_a_tls_connection_with_anything_left_over_is_closed(tls_hostile: HostileUpstream, behaviour: str) -> None:
    async with UpstreamClient(tls=client_tls()) as client:
        answer = await client.send(upstream_at(tls_hostile.url(behaviour)), PATH, b"x" * 2**24)
        while piece := await answer.read(5):
            assert b"SOMEBODY ELSE" not in piece
        assert await ask(client, tls_hostile, "well_behaved") == (200, chat("turn 1"))


async def test_a_tls_stream_that_breaks_off_is_broken(tls_hostile: HostileUpstream) -> None:
    async with UpstreamClient(tls=client_tls()) as client:
        for behaviour in ("closes_mid_stream", "length_too_long"):
            with pytest.raises(UpstreamBroken):
                await ask(client, tls_hostile, behaviour)


async def test_a_certificate_of_an_unknown_authority_gets_no_request(
    client: UpstreamClient, tls_hostile: HostileUpstream
) -> None:
    with pytest.raises(UpstreamUnreachable):
        await ask(client, tls_hostile, "well_behaved")
    assert tls_hostile.requests == []
