"""`POST /v1/messages/count_tokens`: forwarded for nothing, but only for who may call the model."""

import asyncio
from functools import partial
from typing import Final, cast
from uuid import UUID

import structlog

from gateway.core.anthropic_messages.dialect import ANTHROPIC_MESSAGES
from gateway.core.anthropic_messages.request import read_counting_request
from gateway.core.caller import Caller, KeyKind
from gateway.core.errors import TollgateError, Unauthenticated
from gateway.core.rendered import Rendered
from gateway.edge.auth import caller_of
from gateway.edge.bodies import Body
from gateway.edge.connection import Connection, Request
from gateway.edge.errors import INTERNAL, rendered
from gateway.edge.inference.rooms import Inference
from gateway.edge.inference.sender import Sender, sender_of
from gateway.edge.raw_answer import RawAnswer
from gateway.relay.counting import COUNTING_PATH

log = structlog.get_logger()

ROUTE: Final = f"/v1{COUNTING_PATH}"


class CountTokens:
    """The handler, called straight from the server as those of calls are."""

    def __init__(self, rooms: Inference) -> None:
        self._rooms = rooms
        self._headers = rooms.headers.speaking(ANTHROPIC_MESSAGES)

    async def __call__(self, request: Request) -> RawAnswer:
        rooms = self._rooms
        id, began = rooms.ids.next(), rooms.clock.monotonic()
        connection = cast(Connection, request.protocol)
        body = Body(rooms.bodies)
        caller: Caller | None = None
        refusal: Rendered | None = None
        status = 0
        try:
            sender = sender_of(request, self._headers)
            caller = await caller_of(sender.key_hash, request, rooms.key_ring, rooms.door)
            if caller.kind is not KeyKind.INFERENCE or caller.ip_allow is not None:
                rooms.door.admit_to_inference(caller, request)
            connection.authenticated()
            if sender.refused_header:
                raise sender.refusal()
            data = await body.read(request)
            if connection.transport is None:
                raise ConnectionResetError("the caller left before anything was sent")
            connection.on_lost = partial(_cancel, asyncio.current_task())
            answer = await self._count(id, caller, sender, data)
            status = answer.status
        except TollgateError as failure:
            error = rooms.door.refusal(request, failure) if isinstance(failure, Unauthenticated) else failure
            refusal = rendered(error, insufficient_status=rooms.insufficient_status)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request.failed", request_id=str(id), route=ROUTE)
            refusal = INTERNAL
        else:
            return answer
        finally:
            connection.on_lost = None
            body.close()
            if refusal is not None:
                refusal = ANTHROPIC_MESSAGES.error(refusal)
            rooms.observer.request_ended(
                id=id,
                method="POST",
                route=ROUTE,
                status=status if refusal is None else refusal.status,
                error="" if refusal is None else refusal.code,
                began=began,
                caller=caller,
            )
        headers = f"content-type: application/json\r\nx-request-id: {id}\r\nrequest-id: {id}\r\n"
        for name, value in refusal.headers:
            headers += f"{name}: {value}\r\n"
        return RawAnswer(refusal.status, headers, ANTHROPIC_MESSAGES.error_body(refusal, str(id)))

    async def _count(self, id: UUID, caller: Caller, sender: Sender, data: bytes) -> RawAnswer:
        facts = read_counting_request(data)
        forwarded = [*sender.forward_headers, ("x-request-id", str(id))]
        counted = await self._rooms.counting.ask(caller, ANTHROPIC_MESSAGES, facts, forwarded, path=COUNTING_PATH)
        headers = self._headers.for_caller(counted.headers)
        headers += (
            f"x-request-id: {id}\r\n"
            f"request-id: {id}\r\n"
            f"x-tollgate-model: {facts.model}\r\n"
            f"x-tollgate-upstream: {counted.upstream}\r\n"
        )
        if sender.client_request_id:
            headers += f"x-client-request-id: {sender.client_request_id}\r\n"
        return RawAnswer(counted.status, headers, counted.body)


def _cancel(task: "asyncio.Task[object] | None") -> None:
    """Nobody waits for the answer any more."""
    if task is not None:
        task.cancel()
