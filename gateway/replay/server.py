"""The replay provider's HTTP: an upstream in several dialects that costs nothing and does what it is told."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

import msgspec
from aiohttp import web

from gateway.core.dialect import DialectName
from gateway.replay.directions import DirectionInvalid, Directions, read_directions
from gateway.replay.faults import error_script, perform
from gateway.replay.gemini_request import read_counted, read_embed_request, read_gemini_request
from gateway.replay.kept_responses import KeptResponses
from gateway.replay.play import play
from gateway.replay.recordings import CHAT, COUNTS, MESSAGES, OWN_RECORDINGS, Recordings, script_of
from gateway.replay.request import BadRequest, read_chat_request, read_messages_request
from gateway.replay.responses_request import read_responses_request
from gateway.replay.script import Script, cut, repeated
from gateway.replay.sent import Sent, SentCall, SentEnd
from gateway.replay.synthetic import CREATED, JSON, synthesize
from gateway.replay.synthetic_completions import read_completions_request, synthesize_completion
from gateway.replay.synthetic_gemini import synthesize_embeddings, synthesize_gemini
from gateway.replay.synthetic_messages import synthesize_message
from gateway.replay.synthetic_responses import synthesize_response
from gateway.replay.synthetic_unstreamed import read_unstreamed_request, synthesize_unstreamed

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
TURNS_MAX: Final = 100_000
REMEMBERED_MAX: Final = 100
REMEMBERED_BODY_BYTES_MAX: Final = 64 * 1024
REMEMBERED_PIECES_MAX: Final = 2_000
DEFAULT_MODELS: Final = (
    "claude-haiku-4-5",
    "claude-sonnet-4-5",
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5",
    "gpt-5-mini",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """What a replay provider starts with."""

    recordings: Path | None = None
    """A folder of recordings, beside our own."""
    seed: int = 1
    defaults: Directions = field(default_factory=Directions)
    """In force where a request has no such header."""


class ReplayServer:
    """A replay provider on a socket of its own: `async with ReplayServer() as replay: replay.base_url`."""

    def __init__(self, options: ReplayOptions | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0 lets the system choose."""
        self._options = options or ReplayOptions()
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises OSError where the port is taken, RecordingBroken."""
        app = await asyncio.to_thread(make_app, self._options)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port, backlog=4096).start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Cut what is open after a second."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """As an SDK or an upstream wants it."""
        return f"{self.url}/v1"


def make_app(options: ReplayOptions) -> web.Application:
    """Reads the recordings; serve it with `handler_cancellation=True`, so that a client's going is seen at once."""
    folders = [OWN_RECORDINGS] if options.recordings is None else [OWN_RECORDINGS, options.recordings]
    replay = _Replay(options, Recordings.load(*folders))
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    # Any prefix, because providers have different ones and a recording's base URL may be kept.
    app.router.add_post("/{prefix:.*}chat/completions", replay.chat)
    for dialect, path in _PATHS.items():
        app.router.add_post(f"/{{prefix:.*}}{path}", partial(replay.small, dialect=dialect))
    app.router.add_post("/{prefix:.*}messages/count_tokens", replay.count_tokens)
    app.router.add_post("/{prefix:.*}messages", replay.message)
    app.router.add_post("/{prefix:.*}responses", replay.response)
    app.router.add_get("/{prefix:.*}responses/{id}", replay.kept.retrieve)
    app.router.add_get("/{prefix:.*}responses/{id}/input_items", replay.kept.input_items)
    app.router.add_post("/{prefix:.*}responses/{id}/cancel", replay.kept.cancel)
    app.router.add_delete("/{prefix:.*}responses/{id}", replay.kept.delete)
    app.router.add_post(_GEMINI_PATH, replay.gemini)
    app.router.add_get("/_sent", replay.sent)
    app.router.add_post("/_sent/reset", replay.reset)
    app.router.add_get("/{prefix:.*}models", replay.models)
    return app


class _Replay:
    def __init__(self, options: ReplayOptions, recordings: Recordings) -> None:
        self._options = options
        self._recordings = recordings
        self._sent = Sent()
        self.kept = KeptResponses()
        self._turns: defaultdict[str, int] = defaultdict(int)
        self._invented: dict[tuple[_Place, bytes, Directions], Script] = {}

    async def chat(self, http: web.Request) -> web.StreamResponse:
        return await self._answer(http, _Place("openai-chat"))

    async def small(self, http: web.Request, *, dialect: DialectName) -> web.StreamResponse:
        return await self._answer(http, _Place(dialect))

    async def message(self, http: web.Request) -> web.StreamResponse:
        return await self._answer(http, _Place("anthropic-messages"))

    async def gemini(self, http: web.Request) -> web.StreamResponse:
        model, action = http.match_info["model"], http.match_info["action"]
        if action == "countTokens":
            return await self.count_gemini(http)
        embeds = action in ("embedContent", "batchEmbedContents")
        events = http.query.get("alt") == "sse"
        return await self._answer(http, _Place("gemini-embed" if embeds else "gemini-generate", model, action, events))

    async def count_gemini(self, http: web.Request) -> web.StreamResponse:
        """Likewise."""
        body = await http.read()
        script: Script | None = None
        tokens = 0
        try:
            directions = read_directions(http.headers, self._options.defaults)
            if directions.status is not None:
                script = error_script(directions.status, "", False, dialect="gemini-generate")
            else:
                tokens = read_counted(body) if directions.prompt_tokens is None else directions.prompt_tokens
        except (DirectionInvalid, BadRequest) as error:
            script = error_script(400, "", False, dialect="gemini-generate", message=str(error))
        if script is None:
            return _json({"totalTokens": tokens})
        return web.Response(status=script.status, headers=dict(script.headers), body=script.pieces[0])

    async def response(self, http: web.Request) -> web.StreamResponse:
        return await self._answer(http, _Place("openai-responses"))

    async def count_tokens(self, http: web.Request) -> web.StreamResponse:
        """Billed to nobody, and so in no book."""
        body = await http.read()
        try:
            directions = read_directions(http.headers, self._options.defaults)
            script = self._counted(body, directions)
        except (DirectionInvalid, BadRequest) as error:
            script = error_script(400, "", False, dialect="anthropic-messages", message=str(error))
        return web.Response(status=script.status, headers=dict(script.headers), body=script.pieces[0])

    def _counted(self, body: bytes, directions: Directions) -> Script:
        if directions.id is not None and (recording := self._recordings.by_id(directions.id)) is not None:
            return script_of(recording)
        if directions.status is not None:
            return error_script(directions.status, "", False, dialect="anthropic-messages")
        request = read_messages_request(body)
        recording = self._recordings.by_question(request, COUNTS)
        if recording is not None:
            return script_of(recording)
        tokens = request.prompt_tokens if directions.prompt_tokens is None else directions.prompt_tokens
        answer = msgspec.json.encode({"input_tokens": tokens})
        return Script(id="", model=request.model, headers=JSON, streamed=False, pieces=[answer], piece_tokens=[0])

    async def _answer(self, http: web.Request, place: "_Place") -> web.StreamResponse:
        body, dialect = await http.read(), place.dialect
        try:
            directions = read_directions(http.headers, self._options.defaults)
            script = self._script(body, directions, place)
            if dialect == "openai-responses":
                script = self.kept.keep(body, script, directions)
        except DirectionInvalid as error:
            directions = Directions()
            script = error_script(400, "", False, dialect=dialect, message=str(error), code="replay_header_invalid")
        except BadRequest as error:
            directions = Directions()
            script = error_script(400, "", False, dialect=dialect, message=str(error), param=error.param)
        performance = perform(script, directions)
        script = performance.script
        call = SentCall(
            id=script.id,
            request_id=http.headers.get("x-request-id", "")[:128],
            replay_id=directions.id or "",
            model=script.model,
            status=script.status,
            streamed=script.streamed,
            recorded=script.recorded,
            tokens=script.tokens,
        )
        self._sent.begin(call)
        end: SentEnd = "client_gone"
        try:
            response = await play(http, performance, directions, call)
            end = "broken" if directions.length or directions.garbage != "no" else _END[performance.ending]
        except ConnectionError:
            return web.Response(status=500)  # nobody is there to read it
        finally:
            self._sent.finish(call, "failed" if call.status >= 400 else end)
        return response

    def _script(self, body: bytes, directions: Directions, place: "_Place") -> Script:
        if directions.id is not None and (recording := self._recordings.by_id(directions.id)) is not None:
            return self._cut(script_of(recording), directions)
        if (invented := self._invented.get((place, body, directions))) is not None:
            return self._repeat(invented, directions)  # the fast path of a bench, which asks the same again and again
        request, invent = _understood(body, place)
        if directions.status is not None:
            script = error_script(directions.status, request.model, request.stream, dialect=place.dialect)
            if directions.retry_after is not None:
                script.headers.append(("retry-after", str(directions.retry_after)))
            return script
        recording = self._recordings.by_question(request, place.dialect)
        if recording is not None:
            return self._cut(script_of(recording), directions)
        script = invent(directions, seed=self._options.seed)
        self._remember(script, directions, body, place)
        return self._repeat(script, directions)

    def _remember(self, script: Script, directions: Directions, body: bytes, place: "_Place") -> None:
        if len(body) <= REMEMBERED_BODY_BYTES_MAX and len(script.pieces) <= REMEMBERED_PIECES_MAX:
            if len(self._invented) >= REMEMBERED_MAX:
                self._invented.clear()
            self._invented[place, body, directions] = script

    def _repeat(self, script: Script, directions: Directions) -> Script:
        if len(self._turns) >= TURNS_MAX:
            self._turns.clear()
        self._turns[script.id] += 1
        script = repeated(script, self._turns[script.id])
        return script if directions.cuts is None else cut(script, directions.cuts)

    def _cut(self, script: Script, directions: Directions) -> Script:
        if not script.streamed or not directions.plain:
            return script  # an error, a break or a hang is placed between events
        return cut(script, self._options.seed if directions.cuts is None else directions.cuts)

    async def models(self, _: web.Request) -> web.Response:
        names = sorted({*DEFAULT_MODELS, *self._recordings.models()})
        rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "replay"} for name in names]
        return _json({"object": "list", "data": rows})

    async def sent(self, _: web.Request) -> web.Response:
        return _json(self._sent.page())

    async def reset(self, _: web.Request) -> web.Response:
        self._sent.reset()
        self.kept.forget()
        self._recordings.rewind()
        self._turns.clear()
        return web.Response(status=204)


_PATHS: Final[Mapping[DialectName, str]] = {
    "openai-completions": "completions",
    "openai-embeddings": "embeddings",
    "cohere-embed": "embed",
    "openai-moderations": "moderations",
    "rerank": "rerank",
}
"""How the paths of the smaller dialects end."""


_GEMINI_PATH: Final = (
    "/{prefix:.*}models/{model:[^/:]+}"
    ":{action:generateContent|streamGenerateContent|countTokens|embedContent|batchEmbedContents}"
)


class _Place(NamedTuple):
    """Where a question is asked: a dialect, and what its address says of the question."""

    dialect: DialectName
    model: str = ""
    action: str = ""
    events: bool = False


class _Asked(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def fingerprint(self) -> int: ...


class _Invent(Protocol):
    def __call__(self, directions: Directions, *, seed: int) -> Script: ...


def _understood(body: bytes, place: _Place) -> tuple[_Asked, _Invent]:
    """The request and how an answer to it is invented. Raises BadRequest."""
    dialect, model, action, events = place
    if dialect == "gemini-generate":
        generated = read_gemini_request(body, model, action, events=events)
        return generated, partial(synthesize_gemini, generated)
    if dialect == "gemini-embed":
        embedded = read_embed_request(body, model, action)
        return embedded, partial(synthesize_embeddings, embedded, single=action == "embedContent")
    if dialect == CHAT:
        chat = read_chat_request(body)
        return chat, partial(synthesize, chat)
    if dialect == MESSAGES:
        message = read_messages_request(body)
        return message, partial(synthesize_message, message)
    if dialect == "openai-responses":
        response = read_responses_request(body)
        return response, partial(synthesize_response, response)
    if dialect == "openai-completions":
        completion = read_completions_request(body)
        return completion, partial(synthesize_completion, completion)
    request = read_unstreamed_request(body, dialect)
    return request, partial(synthesize_unstreamed, request)


_END: Final[dict[str, SentEnd]] = {
    "complete": "complete",
    "error_event": "error_event",
    "end": "broken",
    "close": "broken",
    "reset": "broken",
    "hang": "client_gone",
}


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
