"""The provider over real sockets: that it goes wrong exactly as directed, and that its books say so."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession

from gateway.replay.directions import Directions
from gateway.replay.server import ReplayOptions, ReplayServer

ASKED = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
TEN = {"x-replay-output-tokens": "10"}


class Answer:
    """An answer read as far as it went."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Any = {}
        self.body = b""
        self.error: Exception | None = None

    @property
    def events(self) -> list[bytes]:
        return [event for event in self.body.split(b"\n\n") if event]


async def ask(http: ClientSession, replay: ReplayServer, headers: dict[str, str], **fields: Any) -> Answer:
    answer = Answer()
    try:
        async with http.post(f"{replay.base_url}/chat/completions", json={**ASKED, **fields}, headers=headers) as found:
            answer.status, answer.headers = found.status, found.headers
            async for piece in found.content.iter_any():
                answer.body += piece
    except aiohttp.ClientError as error:
        answer.error = error
    return answer


async def books(http: ClientSession, replay: ReplayServer) -> Any:
    async with http.get(f"{replay.url}/_sent") as answer:
        return await answer.json()


async def booked(http: ClientSession, replay: ReplayServer, calls: int) -> Any:
    """The books once so many calls have ended: a call ends when the server has seen it end."""
    async with asyncio.timeout(5):
        while True:
            page = await books(http, replay)
            if page["total"]["calls"] >= calls:
                return page


# --- ordinary answers -------------------------------------------------------------------------------------------------


async def test_an_answer_in_one_piece(http: ClientSession, replay: ReplayServer) -> None:
    answer = await ask(http, replay, TEN)
    assert answer.status == 200
    assert json.loads(answer.body)["usage"]["completion_tokens"] == 10


async def test_a_stream(http: ClientSession, replay: ReplayServer) -> None:
    answer = await ask(http, replay, TEN, stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert len(answer.events) == 1 + 10 + 1 + 1
    assert answer.events[-1] == b"data: [DONE]"


async def test_the_same_seed_answers_the_same_bytes_from_another_server(http: ClientSession) -> None:
    bodies = []
    for seed in (5, 5, 6):
        async with ReplayServer(ReplayOptions(seed=seed)) as replay:
            bodies.append((await ask(http, replay, {}, stream=True)).body)
    assert bodies[0] == bodies[1] != bodies[2]


async def test_models_are_listed(http: ClientSession, replay: ReplayServer) -> None:
    async with http.get(f"{replay.base_url}/models") as answer:
        page = await answer.json()
    assert page["object"] == "list"
    assert {"gpt-4o", "gpt-5-mini"} <= {row["id"] for row in page["data"]}


@pytest.mark.parametrize("prefix", ["/v1/", "/openai/v1/", "/", "/api/v2/cortex/v1/"])
async def test_any_prefix_will_do(http: ClientSession, replay: ReplayServer, prefix: str) -> None:
    async with http.post(f"{replay.url}{prefix}chat/completions", json=ASKED) as answer:
        assert answer.status == 200


async def test_a_built_in_recording_is_found_by_its_question(http: ClientSession, replay: ReplayServer) -> None:
    messages = [{"role": "user", "content": "Which bird sleeps in the booth?"}]
    answer = await ask(http, replay, {}, model="gpt-4o-mini", messages=messages)
    assert "The owl" in json.loads(answer.body)["choices"][0]["message"]["content"]


async def test_defaults_of_the_server_can_be_overridden(http: ClientSession) -> None:
    options = ReplayOptions(defaults=Directions(output_tokens=3))
    async with ReplayServer(options) as replay:
        assert json.loads((await ask(http, replay, {})).body)["usage"]["completion_tokens"] == 3
        assert json.loads((await ask(http, replay, TEN)).body)["usage"]["completion_tokens"] == 10


async def test_bad_input_is_answered_in_openais_shape(http: ClientSession, replay: ReplayServer) -> None:
    answer = await ask(http, replay, {}, messages=[])
    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert error == {
        "message": "messages must be a non-empty array of objects.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": None,
    }
    answer = await ask(http, replay, {"x-replay-surprise": "yes"})
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["code"] == "replay_header_invalid"


# --- pace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "waits"),
    [({"x-replay-latency-ms": "60"}, 1), ({"x-replay-first-event-ms": "60"}, 1), ({"x-replay-interval-ms": "6"}, 1)],
)
async def test_pace_is_kept(http: ClientSession, replay: ReplayServer, headers: dict[str, str], waits: int) -> None:
    began_at = time.monotonic()
    answer = await ask(http, replay, {**TEN, **headers}, stream=True)
    assert len(answer.events) == 13
    assert time.monotonic() - began_at >= 0.06 * waits


async def test_cuts_change_no_byte(http: ClientSession, replay: ReplayServer) -> None:
    async def pieces(cuts: str) -> list[bytes]:
        headers = {**TEN, "x-replay-cuts": cuts, "x-replay-interval-ms": "2", "x-replay-seed": "4"}
        async with http.post(
            f"{replay.base_url}/chat/completions", json={**ASKED, "stream": True}, headers=headers
        ) as answer:
            return [piece async for piece, _ in answer.content.iter_chunks()]

    whole, odd = await pieces("0"), await pieces("3")
    assert len(whole) < len(odd)
    drop_id = b"chatcmpl-"
    assert len(b"".join(odd)) == len(b"".join(whole))
    assert b"".join(odd).count(drop_id) == 13 - 1
    assert any(not piece.endswith(b"\n\n") for piece in odd)


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418, 422, 429, 500, 502, 503])
async def test_any_error_status(http: ClientSession, replay: ReplayServer, status: int) -> None:
    headers = {"x-replay-status": str(status), "x-replay-retry-after": "7"}
    answer = await ask(http, replay, headers, stream=True)
    assert answer.status == status
    assert answer.headers["retry-after"] == "7"
    assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}
    page = await booked(http, replay, 1)
    assert page["total"]["tokens"]["prompt_tokens"] == 0
    assert page["total"]["statuses"] == {str(status): 1}


@pytest.mark.parametrize("by", ["close", "reset"])
async def test_a_stream_breaks_after_so_many_events(http: ClientSession, replay: ReplayServer, by: str) -> None:
    headers = {**TEN, "x-replay-break": "4", "x-replay-break-by": by, "x-replay-interval-ms": "1"}
    answer = await ask(http, replay, headers, stream=True)
    assert answer.error is not None
    [call] = (await booked(http, replay, 1))["calls"]
    assert (call["end"], call["written_tokens"], call["usage_sent"]) == ("broken", 4, False)
    if by == "close":  # a reset may overtake what was written before it
        assert len(answer.events) == 1 + 4 + 1
        assert not answer.body.endswith(b"\n\n")


async def test_a_stream_may_end_properly_and_yet_too_soon(http: ClientSession, replay: ReplayServer) -> None:
    answer = await ask(http, replay, {**TEN, "x-replay-break": "4", "x-replay-break-by": "end"}, stream=True)
    assert answer.error is None
    assert len(answer.events) == 5
    assert b"[DONE]" not in answer.body
    sums = (await booked(http, replay, 1))["total"]
    assert sums["tokens"]["output_tokens"] == 4
    assert sums["tokens"]["prompt_tokens"] > 0


@pytest.mark.parametrize("by", ["close", "reset"])
async def test_an_answer_in_one_piece_breaks_in_its_middle(http: ClientSession, replay: ReplayServer, by: str) -> None:
    answer = await ask(http, replay, {**TEN, "x-replay-break": "0", "x-replay-break-by": by})
    assert answer.error is not None
    page = await booked(http, replay, 1)
    assert page["total"]["tokens"]["output_tokens"] == 0


@pytest.mark.parametrize(("after", "events"), [("0", 1), ("3", 5)])
async def test_an_error_event_ends_a_stream(http: ClientSession, replay: ReplayServer, after: str, events: int) -> None:
    answer = await ask(http, replay, {**TEN, "x-replay-error-event": after}, stream=True)
    assert answer.error is None
    assert len(answer.events) == events
    assert "error" in json.loads(answer.events[-1].removeprefix(b"data: "))
    assert (await booked(http, replay, 1))["total"]["ends"] == {"error_event": 1}


@pytest.mark.parametrize(
    ("headers", "events"),
    [({"x-replay-hang-at": "headers"}, 0), ({"x-replay-hang": "0"}, 0), ({"x-replay-hang": "3"}, 4)],
)
async def test_it_hangs_until_the_caller_hangs_up(
    http: ClientSession, replay: ReplayServer, headers: dict[str, str], events: int
) -> None:
    body = b""

    async def read() -> None:
        nonlocal body
        url = f"{replay.base_url}/chat/completions"
        async with http.post(url, json={**ASKED, "stream": True}, headers={**TEN, **headers}) as answer:
            async for piece in answer.content.iter_any():
                body += piece

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.1)
    assert body.count(b"\n\n") == events
    [call] = (await booked(http, replay, 1))["calls"]
    assert call["end"] == "client_gone"


async def test_a_caller_who_leaves_is_billed_for_what_was_written(http: ClientSession, replay: ReplayServer) -> None:
    headers = {"x-replay-output-tokens": "1000", "x-replay-interval-ms": "1", "x-replay-prompt-tokens": "50"}
    async with http.post(
        f"{replay.base_url}/chat/completions", json={**ASKED, "stream": True}, headers=headers
    ) as answer:
        await answer.content.readany()
        answer.close()
    page = await booked(http, replay, 1)
    assert page["total"]["ends"] == {"client_gone": 1}
    assert page["total"]["tokens"]["prompt_tokens"] == 50
    assert page["total"]["tokens"]["output_tokens"] == page["calls"][0]["written_tokens"] < 1000


@pytest.mark.parametrize("kind", ["json", "sse", "html"])
@pytest.mark.parametrize("stream", [False, True])
async def test_garbage(http: ClientSession, replay: ReplayServer, kind: str, stream: bool) -> None:
    answer = await ask(http, replay, {**TEN, "x-replay-garbage": kind}, stream=stream)
    assert answer.status == 200
    assert answer.body
    with pytest.raises(ValueError, match=r"."):
        json.loads(answer.events[0].removeprefix(b"data: "))
    assert (await booked(http, replay, 1))["total"]["ends"] == {"broken": 1}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_length_that_promises_too_much(http: ClientSession, replay: ReplayServer, stream: bool) -> None:
    answer = await ask(http, replay, {**TEN, "x-replay-length": "30"}, stream=stream)
    assert isinstance(answer.error, aiohttp.ClientPayloadError)


async def test_a_length_that_promises_too_little(http: ClientSession, replay: ReplayServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", replay.port)
    body = json.dumps(ASKED).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-replay-length: -10\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    found, said = answer.split(b"\r\n\r\n", 1)
    assert f"content-length: {len(said) - 10}".encode() in found
    json.loads(said)


async def test_early_hints_come_first(replay: ReplayServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", replay.port)
    body = json.dumps(ASKED).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-replay-early-hints: yes\r\ncontent-length: {len(body)}\r\n"
    )
    writer.write(f"{head}connection: close\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert b"\r\n\r\nHTTP/1.1 200 OK\r\n" in answer


# --- the books --------------------------------------------------------------------------------------------------------


async def test_the_books_add_up(http: ClientSession, replay: ReplayServer) -> None:
    usage = {"include_usage": True}
    directed = {**TEN, "x-replay-prompt-tokens": "100", "x-replay-cached-tokens": "40", "x-request-id": "r-1"}
    await ask(http, replay, directed)
    await ask(http, replay, directed, stream=True, stream_options=usage)
    await ask(http, replay, {**directed, "x-replay-usage": "no", "x-replay-id": "mine"}, model="other", stream=True)
    page = await booked(http, replay, 3)
    assert page["total"]["tokens"] == {
        "prompt_tokens": 300,
        "cached_tokens": 120,
        "cache_write_tokens": 0,
        "output_tokens": 30,
        "reasoning_tokens": 0,
        "cache_write_1h_tokens": 0,
    }
    assert {name: sums["calls"] for name, sums in page["models"].items()} == {"gpt-4o": 2, "other": 1}
    assert [call["usage_sent"] for call in page["calls"]] == [True, True, False]
    assert {call["request_id"] for call in page["calls"]} == {"r-1"}
    assert page["calls"][2]["replay_id"] == "mine"
    assert page["open_calls"] == 0


async def test_a_reset_forgets_also_what_is_open(http: ClientSession, replay: ReplayServer) -> None:
    await ask(http, replay, TEN)
    hanging = asyncio.ensure_future(ask(http, replay, {"x-replay-hang-at": "headers"}))
    async with asyncio.timeout(5):
        while not (await books(http, replay))["open_calls"]:
            await asyncio.sleep(0)
    async with http.post(f"{replay.url}/_sent/reset") as answer:
        assert answer.status == 204
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    await ask(http, replay, TEN)
    page = await booked(http, replay, 1)
    assert page["total"]["calls"] == 1
    assert page["open_calls"] == 0


async def test_many_streams_at_once(replay: ReplayServer) -> None:
    headers = {"x-replay-output-tokens": "20", "x-replay-interval-ms": "5"}
    async with ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        answers = await asyncio.gather(*(ask(http, replay, headers, stream=True) for _ in range(300)))
        assert {len(answer.events) for answer in answers} == {23}
        page = await booked(http, replay, 300)
    assert page["total"]["tokens"]["output_tokens"] == 300 * 20
