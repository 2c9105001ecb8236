"""OpenAI's dialect on the socket: `POST /{upstream}/chat/completions` and `/embeddings`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

from gateway.translator.process import answers
from gateway.translator.process.engine import Engine
from gateway.translator.process.guard import EXCHANGE, Exchange
from gateway.translator.process.request import BadField, read_fields, said_to
from gateway.translator.settings import Orders, Translated

WRITE_S: Final = 60.0
"""So long the gateway may take to read a piece of an answer."""


class Server:
    """Counts its calls."""

    def __init__(self, engine: Engine, orders: Orders) -> None:
        self._engine = engine
        self._upstreams = {upstream.name: upstream for upstream in orders.upstreams}
        self._body_bytes_max = orders.body_bytes_max
        self.calls = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=self._body_bytes_max)
        app.router.add_post("/{upstream}/chat/completions", self._handler(self._chat, embedding=False))
        app.router.add_post("/{upstream}/embeddings", self._handler(self._embed, embedding=True))
        return app

    def _handler(
        self, answer: Callable[..., Awaitable[web.StreamResponse]], *, embedding: bool
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.calls += 1
            exchange = Exchange()
            EXCHANGE.set(exchange)
            upstream = self._upstreams.get(request.match_info["upstream"])
            if upstream is None:
                return _refused(404, "There is no such upstream.", None, "not_found")
            try:
                fields = read_fields(await request.read(), embedding=embedding)
                supported = self._engine.supported(upstream, fields["model"], embedding=embedding)
                return await answer(request, upstream, said_to(fields, supported), exchange)
            except web.HTTPRequestEntityTooLarge:
                limit = f"The body has more than {self._body_bytes_max} bytes; nothing was sent to the provider."
                return _refused(413, limit, None, "request_too_large")
            except BadField as error:
                return _refused(400, str(error), error.param, error.code)
            except Exception as error:  # noqa: BLE001 - here a request ends; litellm raises of every kind
                return _failed(answers.failure_of(error, exchange, upstream.secrets()))

        return handle

    async def _embed(
        self, _: web.Request, upstream: Translated, fields: dict[str, Any], __: Exchange
    ) -> web.StreamResponse:
        response = await self._engine.embed(upstream, fields)
        return _json(answers.embeddings(response, fields["model"]))

    async def _chat(
        self, request: web.Request, upstream: Translated, fields: dict[str, Any], exchange: Exchange
    ) -> web.StreamResponse:
        model = fields["model"]
        if fields.get("stream") is not True:
            return _json(answers.completion(await self._engine.chat(upstream, fields), model))
        stream = await self._engine.chat(upstream, {**fields, "stream_options": {"include_usage": True}})
        pieces = _Pieces(stream, model, upstream, exchange)
        first = await pieces.next()  # what fails before it has a status of its own
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            piece: bytes | None = first
            while piece is not None:
                async with asyncio.timeout(WRITE_S):
                    await response.write(piece)
                piece = await pieces.next_or_error()
            await response.write_eof()
        finally:
            await pieces.close()
        return response


class _Pieces:
    """The events of one stream."""

    def __init__(self, stream: Any, model: str, upstream: Translated, exchange: Exchange) -> None:
        self._stream = stream
        self._model = model
        self._upstream = upstream
        self._exchange = exchange
        self._frame: dict[str, Any] = {}
        self._finished = False
        """The piece with the reason has been handed out: what else comes holds nothing but litellm's own sums."""
        self._over = False

    async def next(self) -> bytes | None:
        """Raises what litellm raises."""
        while not self._over:
            try:
                response = await anext(self._stream)
            except StopAsyncIteration:
                self._over = True
                return self._end()
            said = answers.chunk(response, self._model)
            if said is None or self._finished:
                continue
            self._frame = {key: said[key] for key in ("id", "object", "created", "model") if key in said}
            if said["choices"][0].get("finish_reason"):
                if self._stream.received_finish_reason is None:
                    continue  # litellm's own invention for a stream that broke off
                self._finished = True
            return answers.event(said)
        return None

    async def next_or_error(self) -> bytes | None:
        try:
            return await self.next()
        except Exception as error:  # noqa: BLE001 - the stream ends with it
            self._over = True
            failure = answers.failure_of(error, self._exchange, self._upstream.secrets())
            return b"data: " + failure.body + b"\n\n"

    def _end(self) -> bytes:
        if self._stream.received_finish_reason is None:
            text = "The provider's answer broke off before its end."
            return b"data: " + answers.error_body(text, type_="upstream_error", code="upstream_broken") + b"\n\n"
        usage: Any = None
        for piece in self._stream.chunks:
            usage = getattr(piece, "usage", None) or usage
        done = b"data: [DONE]\n\n"
        if usage is None:
            return done
        return answers.event(answers.usage_chunk(self._frame, usage.model_dump(exclude_none=True))) + done

    async def close(self) -> None:
        """The connection to the provider is given up where the stream has not come to its end."""
        source = getattr(self._stream, "completion_stream", None)
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def _refused(status: int, message: str, param: str | None, code: str) -> web.Response:
    body = answers.error_body(message, type_="invalid_request_error", code=code, param=param)
    return web.Response(status=status, body=body, content_type="application/json")


def _failed(failure: answers.Failure) -> web.Response:
    headers = {"retry-after": failure.retry_after} if failure.retry_after else {}
    return web.Response(status=failure.status, body=failure.body, headers=headers, content_type="application/json")
