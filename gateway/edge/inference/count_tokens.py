"""How long a prompt is: forwarded for nothing, but only for who may call the model."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

import msgspec
import structlog

from gateway.core.anthropic_messages.dialect import ANTHROPIC_MESSAGES
from gateway.core.anthropic_messages.request import read_counting_request
from gateway.core.caller import Caller, KeyKind
from gateway.core.dialect import Dialect, Facts
from gateway.core.errors import TollgateError, Unauthenticated
from gateway.core.gemini.dialect import COUNT_ROUTES, GEMINI_GENERATE
from gateway.core.gemini.request import path_of, read_count_request
from gateway.core.rendered import Rendered
from gateway.edge.auth import caller_of
from gateway.edge.bodies import Body
from gateway.edge.connection import Connection, Request
from gateway.edge.errors import INTERNAL, rendered
from gateway.edge.inference.rooms import Inference
from gateway.edge.inference.sender import Sender, sender_of
from gateway.edge.raw_answer import RawAnswer

log = structlog.get_logger()

_MESSAGES_PATH: Final = "/messages/count_tokens"


class Counting(msgspec.Struct, frozen=True, kw_only=True):
    """How a dialect asks for it."""

    dialect: Dialect
    route: str
    """The URL table's pattern."""
    read: Callable[[str, bytes], Facts]
    """Of a target and a body. Raises InvalidRequest."""
    path_of: Callable[[Any, str], str]
    """Where it goes behind a provider's base URL, of the facts and the provider's name for the model."""
    told: Callable[[int], bytes]
    """The answer of so many tokens."""


COUNTINGS: Final = (
    Counting(
        dialect=ANTHROPIC_MESSAGES,
        route=f"/v1{_MESSAGES_PATH}",
        read=lambda _, body: read_counting_request(body),
        path_of=lambda _, __: _MESSAGES_PATH,
        told=lambda tokens: msgspec.json.encode({"input_tokens": tokens}),
    ),
    *(
        Counting(
            dialect=GEMINI_GENERATE,
            route=route,
            read=read_count_request,
            path_of=path_of,
            told=lambda tokens: msgspec.json.encode({"totalTokens": tokens}),
        )
        for route in COUNT_ROUTES
    ),
)


class CountTokens:
    """The handler, called straight from the server as those of calls are."""

    def __init__(self, rooms: Inference, counting: Counting) -> None:
        self._rooms = rooms
        self._counting = counting
        self._headers = rooms.headers.speaking(counting.dialect)

    async def __call__(self, request: Request) -> RawAnswer:
        rooms, dialect, route = self._rooms, self._counting.dialect, self._counting.route
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
            answer = await self._count(id, caller, sender, request.raw_path, data)
            status = answer.status
        except TollgateError as failure:
            error = rooms.door.refusal(request, failure) if isinstance(failure, Unauthenticated) else failure
            refusal = rendered(error, insufficient_status=rooms.insufficient_status)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request.failed", request_id=str(id), route=route)
            refusal = INTERNAL
        else:
            return answer
        finally:
            connection.on_lost = None
            body.close()
            if refusal is not None:
                refusal = dialect.error(refusal)
            rooms.observer.request_ended(
                id=id,
                method="POST",
                route=route,
                status=status if refusal is None else refusal.status,
                error="" if refusal is None else refusal.code,
                began=began,
                caller=caller,
            )
        headers = f"content-type: application/json\r\n{_ids(id, dialect)}"
        for name, value in refusal.headers:
            headers += f"{name}: {value}\r\n"
        return RawAnswer(refusal.status, headers, dialect.error_body(refusal, str(id)))

    async def _count(self, id: UUID, caller: Caller, sender: Sender, target: str, data: bytes) -> RawAnswer:
        counting = self._counting
        facts = counting.read(target, data)
        forwarded = [*sender.forward_headers, ("x-request-id", str(id))]
        counted = await self._rooms.counting.ask(
            caller, counting.dialect, facts, forwarded, path_of=partial(counting.path_of, facts), told=counting.told
        )
        headers = self._headers.for_caller(counted.headers)
        headers += _ids(id, counting.dialect)
        headers += f"x-tollgate-model: {facts.model}\r\n"
        if counted.upstream:
            headers += f"x-tollgate-upstream: {counted.upstream}\r\n"
        else:
            headers += "content-type: application/json\r\nx-tollgate-estimated: true\r\n"
        if sender.client_request_id:
            headers += f"x-client-request-id: {sender.client_request_id}\r\n"
        return RawAnswer(counted.status, headers, counted.body)


def _ids(id: UUID, dialect: Dialect) -> str:
    more = f"{dialect.request_id_header}: {id}\r\n" if dialect.request_id_header else ""
    return f"x-request-id: {id}\r\n{more}"


def _cancel(task: "asyncio.Task[object] | None") -> None:
    """Nobody waits for the answer any more."""
    if task is not None:
        task.cancel()
