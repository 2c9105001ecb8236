"""`POST /v1/chat/completions`: reads the request, takes it to the relay, writes what the relay gives."""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Final, cast

import msgspec
from aiohttp import web

from gateway.core.chat_request import read_chat_request
from gateway.core.errors import InsufficientCredits, TollgateError
from gateway.core.usage import Usage
from gateway.edge.auth import authenticate
from gateway.edge.bodies import Body
from gateway.edge.connection import Connection
from gateway.edge.errors import openai_error_frame, rendered
from gateway.edge.headers import tollgate_headers
from gateway.edge.inference.rooms import INFERENCE, Inference
from gateway.edge.rooms import REQUEST_ID
from gateway.relay.call import Call
from gateway.relay.turn import StreamTurn
from gateway.relay.whole import WholeTurn

ROUTE: Final = "/v1/chat/completions"
_CLIENT_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


async def chat_completions(request: web.Request) -> web.StreamResponse:
    rooms = request.app[INFERENCE]
    caller = await authenticate(request)
    connection = cast(Connection, request.protocol)
    connection.authenticated()
    body = Body(rooms.bodies)
    call: Call | None = None
    turn: StreamTurn | WholeTurn | None = None
    try:
        chat = read_chat_request(await body.read(request))
        if connection.transport is None:
            raise ConnectionResetError("the caller left before his request was read")
        call = Call(
            id=request[REQUEST_ID],
            caller=caller,
            request=chat,
            forward_headers=[
                *rooms.headers.for_upstream(request.headers.items()),
                ("x-request-id", str(request[REQUEST_ID])),
            ],
            client_request_id=_client_request_id(request),
            started_at=rooms.clock.monotonic(),
            started_unix_ms=rooms.clock.unix_ms(),
        )
        connection.on_lost = call.client_gone
        turn = await rooms.relay.open(call)
        if isinstance(turn, WholeTurn) and turn.complete:
            return web.Response(status=turn.status, body=turn.body, headers=_headers(rooms, call, turn))
        return await _stream(request, rooms, call, turn)
    except TollgateError as error:
        if call is not None:
            call.status = rendered(error, insufficient_status=rooms.insufficient_status).status
            call.error_code = error.code
        raise
    finally:
        connection.on_lost = None
        if turn is not None:
            turn.close()
            rooms.relay.learn(turn)
        if call is not None:
            rooms.relay.close(call)
            rooms.observer.call_ended(call, method="POST", route=ROUTE)
        body.close()


async def _stream(
    request: web.Request, rooms: Inference, call: Call, turn: StreamTurn | WholeTurn
) -> web.StreamResponse:
    """Writes piece by piece. An error from here on is the stream's last frame: the status has been sent."""
    response = web.StreamResponse(status=turn.status, headers=_headers(rooms, call, turn))
    if isinstance(turn, WholeTurn) and turn.content_length is not None:
        response.content_length = turn.content_length
    call.status = turn.status
    await _unless_gone(call, response.prepare, request)
    if isinstance(turn, WholeTurn):
        await _unless_gone(call, response.write, turn.body)
    try:
        async for piece in turn:
            await _unless_gone(call, response.write, piece)
    except TollgateError as error:
        call.error_code = error.code
        if isinstance(turn, WholeTurn):
            cast(Connection, request.protocol).force_close()  # a body that lacks its end must not look whole
            return response
        await _unless_gone(call, response.write, _last_frames(call, turn, error))
    await _unless_gone(call, response.write_eof)
    return response


async def _unless_gone(call: Call, write: Callable[..., Awaitable[object]], *piece: object) -> None:
    """A caller that is gone takes nothing more; the turn decides whether the answer is read on without him."""
    if call.gone:
        return
    try:
        await write(*piece)
    except ConnectionError:
        call.client_gone()


def _last_frames(call: Call, turn: StreamTurn, error: TollgateError) -> bytes:
    model = turn.meter.model or call.request.model
    id = turn.meter.provider_id or f"chatcmpl-{call.id.hex}"
    frame = openai_error_frame(rendered(error), id=id, model=model)
    if isinstance(error, InsufficientCredits) and call.request.include_usage:
        return _usage_frame(call.usage, id=id, model=model) + frame
    return frame


def _usage_frame(usage: Usage, *, id: str, model: str) -> bytes:
    """The usage chunk that the caller asked for and the provider can no longer send."""
    chunk = {
        "id": id,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
        "choices": [],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.prompt_tokens + usage.output_tokens,
        },
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _headers(rooms: Inference, call: Call, turn: StreamTurn | WholeTurn) -> list[tuple[str, str]]:
    whole = isinstance(turn, WholeTurn) and turn.complete
    available = turn.reservation.available_ucr
    if whole and call.charged_ucr is not None:
        available += call.held_ucr - call.charged_ucr
    headers = rooms.headers.for_caller(turn.upstream_headers)
    headers += tollgate_headers(
        call, available_ucr=max(0, available), low_balance_ucr=rooms.low_balance_ucr, whole=whole
    )
    if not whole:
        headers += (("cache-control", "no-cache"), ("x-accel-buffering", "no"))
    return headers


def _client_request_id(request: web.Request) -> str:
    """The caller's own x-request-id, kept beside ours; anything but printable ASCII is ignored."""
    value = request.headers.get("x-request-id", "")
    return value if _CLIENT_REQUEST_ID.fullmatch(value) else ""
