"""An inference call in any dialect: reads the request, takes it to the relay, writes what the relay gives."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, cast
from uuid import UUID

import structlog

from gateway.core.caller import Caller, KeyKind
from gateway.core.dialect import Broken, Dialect
from gateway.core.errors import InsufficientCredits, TollgateError, Unauthenticated
from gateway.core.rendered import Rendered
from gateway.edge.auth import caller_of
from gateway.edge.bodies import Body
from gateway.edge.connection import Connection, Request
from gateway.edge.errors import INTERNAL, rendered
from gateway.edge.headers import tollgate_headers
from gateway.edge.inference.rooms import Inference
from gateway.edge.inference.sender import sender_of
from gateway.edge.raw_answer import RawAnswer, RawStream
from gateway.relay.background import BackgroundTurn
from gateway.relay.call import Call
from gateway.relay.turn import StreamTurn
from gateway.relay.whole import WholeTurn

log = structlog.get_logger()

_PLAIN: Final = KeyKind.INFERENCE
"""Looked up once: a member of an enumeration costs each call what the rest of the question does."""

Answer = RawAnswer | RawStream


class InferenceHandler:
    """Of one dialect. Called for each request straight from the server; everything it needs is in its rooms."""

    def __init__(self, rooms: Inference, dialect: Dialect, route: str) -> None:
        """`route` is the URL table's pattern."""
        self._rooms = rooms
        self._dialect = dialect
        self._headers = rooms.headers.speaking(dialect)
        self.route: Final = route

    async def __call__(self, request: Request) -> Answer:
        rooms, dialect = self._rooms, self._dialect
        id = rooms.ids.next()
        began = rooms.clock.monotonic()
        connection = cast(Connection, request.protocol)
        body = Body(rooms.bodies)
        caller: Caller | None = None
        call: Call | None = None
        refusal: Rendered | None = None
        try:
            sender = sender_of(request, self._headers)
            hash = sender.key_hash
            caller = rooms.key_ring.known(hash) or await caller_of(hash, request, rooms.key_ring, rooms.door)
            if caller.kind is not _PLAIN or caller.ip_allow is not None:
                rooms.door.admit_to_inference(caller, request)
            connection.authenticated()
            if sender.refused_header:
                raise sender.refusal()
            data = await body.read(request)
            call = Call(
                id=id,
                route=self.route,
                caller=caller,
                dialect=dialect,
                request=(
                    dialect.read_request(data) if dialect.read_at is None else dialect.read_at(request.raw_path, data)
                ),
                forward_headers=[*sender.forward_headers, ("x-request-id", str(id))],
                client_request_id=sender.client_request_id,
                feature=sender.feature,
                tags=sender.tags,
                started_at=began,
                started_unix_ms=rooms.clock.unix_ms(),
            )
            return await self._answer(request, connection, call)
        except (TollgateError, asyncio.CancelledError) as failure:
            error = _said_to_the_caller(failure, call)
            if isinstance(error, Unauthenticated):
                error = rooms.door.refusal(request, error)
            refusal = dialect.error(rendered(error, insufficient_status=rooms.insufficient_status))
        except ConnectionError:
            raise
        except Exception:
            log.exception("request.failed", request_id=str(id), route=self.route)
            refusal = dialect.error(INTERNAL)
            if call is not None and call.status:
                connection.force_close()  # an answer that has begun cannot be taken back, only broken off
        finally:
            connection.on_lost = None
            body.close()
            if call is not None:
                rooms.relay.close(call)
            self._observe(id, began, caller, call, refusal)
        headers = f"content-type: application/json\r\nx-request-id: {id}\r\n"
        if dialect.request_id_header:
            headers += f"{dialect.request_id_header}: {id}\r\n"
        for name, value in refusal.headers:
            headers += f"{name}: {value}\r\n"
        return RawAnswer(refusal.status, headers, dialect.error_body(refusal, str(id)))

    async def _answer(self, request: Request, connection: Connection, call: Call) -> Answer:
        rooms = self._rooms
        if connection.transport is None:
            raise ConnectionResetError("the caller left before anything was reserved")
        connection.on_lost = call.client_gone
        turn = await rooms.relay.open(call)
        try:
            if isinstance(turn, BackgroundTurn) or (isinstance(turn, WholeTurn) and turn.complete):
                return RawAnswer(turn.status, self._lines(call, turn), turn.body)
            return await self._stream(request, connection, call, turn)
        finally:
            turn.close()

    async def _stream(
        self, request: Request, connection: Connection, call: Call, turn: StreamTurn | WholeTurn
    ) -> RawStream:
        """Writes piece by piece. An error from here on is the stream's last frame: the status has been sent."""
        length = turn.content_length if isinstance(turn, WholeTurn) else None
        response = RawStream(turn.status, self._lines(call, turn), length=length)
        call.status = turn.status
        try:
            await _unless_gone(call, response.prepare, request)
            if isinstance(turn, WholeTurn):
                await _unless_gone(call, response.write, turn.body)
            async for piece in turn:
                await _unless_gone(call, response.write, piece)
        except (TollgateError, asyncio.CancelledError) as failure:
            error = _said_to_the_caller(failure, call)
            call.error_code = error.code
            turn.close()  # settled first: the last frame may wait for a caller who takes nothing
            if isinstance(turn, WholeTurn) or connection.writing_paused:
                connection.force_close()  # what lacks its end must not look whole
                return response
            await _unless_gone(call, response.write, _last_frames(call, turn, error))
        await _unless_gone(call, response.write_eof)
        return response

    def _lines(self, call: Call, turn: StreamTurn | WholeTurn | BackgroundTurn) -> str:
        """The answer's headers."""
        rooms = self._rooms
        whole = not isinstance(turn, StreamTurn) and turn.complete
        available = turn.available_ucr
        if whole and call.charged_ucr is not None:
            available += call.held_ucr - call.charged_ucr
        lines = self._headers.for_caller(turn.upstream_headers)
        lines += tollgate_headers(
            call, available_ucr=max(0, available), low_balance_ucr=rooms.low_balance_ucr, whole=whole
        )
        if not whole:
            lines += "cache-control: no-cache\r\nx-accel-buffering: no\r\n"
        return lines

    def _observe(
        self, id: UUID, began: float, caller: Caller | None, call: Call | None, refusal: Rendered | None
    ) -> None:
        observer = self._rooms.observer
        if call is None:
            status, code = (refusal.status, refusal.code) if refusal is not None else (0, "")
            observer.request_ended(
                id=id, method="POST", route=self.route, status=status, error=code, began=began, caller=caller
            )
            return
        if refusal is not None:
            call.status, call.error_code = refusal.status, refusal.code
        observer.call_ended(call)


def _said_to_the_caller(failure: BaseException, call: Call | None) -> TollgateError:
    """The error itself, or why we cancelled the call. Another's cancellation goes on: raises it."""
    if isinstance(failure, TollgateError):
        return failure
    if call is None or call.cut_by is None or call.gone:
        raise failure
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()
    return call.cut_by


async def _unless_gone(call: Call, write: Callable[..., Awaitable[object]], *piece: object) -> None:
    """A caller that is gone takes nothing more; the turn decides whether the answer is read on without him."""
    if call.gone:
        return
    try:
        await write(*piece)
    except ConnectionError:
        call.client_gone()


def _last_frames(call: Call, turn: StreamTurn, error: TollgateError) -> bytes:
    dialect = call.dialect
    return dialect.last_frames(
        Broken(
            error=dialect.error(rendered(error)),
            facts=call.request,
            request_id=str(call.id),
            provider_id=turn.meter.provider_id,
            model=turn.meter.model or call.request.model,
            usage=call.usage if isinstance(error, InsufficientCredits) else None,
            unix_s=int(time.time()),
        )
    )
