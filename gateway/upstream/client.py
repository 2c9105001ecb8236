"""One call to an upstream: bytes out, a head back, then raw bytes as they come, each phase under its own clock.

There are no retries, redirects, cookies, decompression or headers of a library's own. A request of which one byte may
have been written is never sent again.
"""

import ssl
from collections.abc import Iterable
from typing import Final, Self
from urllib.parse import urlsplit

from gateway.core.dialect import DialectName
from gateway.core.errors import UpstreamBroken, UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from gateway.upstream.answer_parser import AnswerBroken, AnswerParser
from gateway.upstream.connection import Connection
from gateway.upstream.local import Local, Seat
from gateway.upstream.origin import Origin
from gateway.upstream.pool import Pool
from gateway.upstream.registry import Timeouts, Upstream

ROUTES_MAX: Final = 1024


class UpstreamAnswer:
    """The head of an answer, and its body to be read. Ends by its last byte, `release()` or `abort()`: always one."""

    __slots__ = (
        "_connection", "_origin", "_parser", "_pool", "_route", "_seat", "content_length", "ended", "headers", "status"
    )  # fmt: skip

    def __init__(
        self,
        route: "_Route",
        *,
        origin: Origin,
        pool: Pool,
        connection: Connection,
        parser: AnswerParser,
        seat: Seat | None = None,
    ) -> None:
        self.status: Final = parser.status
        self.headers: Final = parser.headers
        """In the order of the wire, names in lower case, nothing left out."""
        self.content_length: Final = parser.content_length
        self.ended = False
        """All of it was handed out, to its clean end."""
        self._route: Final = route
        self._origin: Final = origin
        self._seat: Final = seat
        self._pool: Final = pool
        self._parser: Final = parser
        self._connection: Connection | None = connection

    async def read(self, timeout_s: float) -> bytes:
        """Whatever has come, at least one byte; b"" at the clean end, and for ever after.

        Raises UpstreamTimeout when nothing comes for so long (or the call's total is over), UpstreamBroken when the
        connection broke, the framing did, or the answer was given up. What came before is handed out first.
        A cancelled read loses nothing: the answer can be read on, by whoever drains it.
        """
        parser = self._parser
        while self._connection is not None:
            if parser.pieces:
                piece = parser.take()
                if parser.complete:
                    self._end()
                return piece
            if parser.complete:
                self._end()
            elif self._connection.failure is not None:
                failure = self._connection.failure
                self.abort()
                raise self._route.explain(failure, "broke off its answer") from failure
            else:
                await self._connection.wait(timeout_s)
        if self.ended:
            return b""
        name = self._route.upstream
        raise UpstreamBroken(f"The answer of `{name}` was given up before its end.", upstream=name)

    def _end(self) -> None:
        self.ended = True
        self.release()

    def release(self) -> None:
        """Give the connection back if it carried exactly this answer and all of it came; close it otherwise."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection, self._origin, self._parser.keep_alive_hint)
            if self._seat is not None:
                self._seat.leave()

    def abort(self) -> None:
        """Close the connection now; the upstream sees that nobody listens. Safe at any time, and twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            self._pool.give_back(connection, self._origin)
            if self._seat is not None:
                self._seat.leave()


class UpstreamClient:
    """Sends calls over pooled connections. Made and closed inside a running loop."""

    def __init__(
        self,
        *,
        connections_max: int = 10_000,
        idle_s: float = 15.0,
        age_max_s: float = 300.0,
        tls: ssl.SSLContext | None = None,
        translator: Local | None = None,
    ) -> None:
        """A connection idles at most `idle_s`: less than the providers allow, so that the race with theirs is rare.

        None is given a call when it is older than `age_max_s`, give or take a tenth: an upstream that moves to other
        addresses is followed. `tls` replaces the system's trust, for upstreams behind an authority of one's own.
        `translator` is where calls of upstreams go that are called through it.
        """
        self._pool: Final = Pool(connections_max=connections_max, idle_s=idle_s, age_max_s=age_max_s, tls=tls)
        self._translator: Final = translator
        self._routes: Final[dict[tuple[Upstream, DialectName, str], _Route]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, also those that an answer still uses."""
        await self._pool.close()

    async def send(
        self,
        upstream: Upstream,
        path: str,
        body: bytes,
        headers: Iterable[tuple[str, str]] = (),
        *,
        dialect: DialectName = "openai-chat",
        method: str = "",
    ) -> UpstreamAnswer:
        """POST a JSON body and wait for the answer's head; interim answers (1xx) are passed over.

        With a `method`, the path is of this request alone, and not remembered for others.

        `path` goes behind the address where the upstream speaks the dialect; it is of our own making, such as
        `/chat/completions`. `headers` were chosen by the relay and go as they are.
        Raises UpstreamUnreachable (nothing was sent), UpstreamTimeout, UpstreamBroken.
        """
        if method:
            route = _Route(upstream, dialect, path, self._pool, method=method)
        else:
            route = self._routes.get((upstream, dialect, path)) or self._learn(upstream, dialect, path)
        request = route.request(body, headers)
        if route.origin is not None:
            return await self._ask(route, route.origin, request, upstream.timeouts)
        return await self._ask_translator(route, request, upstream.timeouts)

    async def _ask_translator(self, route: "_Route", request: bytes, timeouts: Timeouts) -> UpstreamAnswer:
        """A process that dies before it is connected to has been sent nothing: the next one is asked, once."""
        assert self._translator is not None, "an upstream is called through a translator that was not given"
        last_try = False
        while True:
            seat = await self._translator.enter(route.upstream)
            try:
                return await self._ask(route, self._pool.socket(seat.path), request, timeouts, seat=seat)
            except UpstreamUnreachable:
                seat.leave()
                seat.lost()
                if last_try:
                    raise
                last_try = True
            except BaseException:
                seat.leave()
                raise

    async def _ask(
        self, route: "_Route", origin: Origin, request: bytes, timeouts: Timeouts, *, seat: Seat | None = None
    ) -> UpstreamAnswer:
        pool = self._pool
        connection = pool.take(origin)
        if connection is None:
            connection = await self._connect(route, origin, timeouts.connect_s)
        try:
            parser = connection.ask(request, total_s=timeouts.total_s)
            while not parser.status and connection.failure is None:
                await connection.wait(timeouts.first_event_s)
        except BaseException:
            connection.abort()
            pool.give_back(connection, origin)
            raise
        if parser.status:
            return UpstreamAnswer(route, origin=origin, pool=pool, connection=connection, parser=parser, seat=seat)
        pool.give_back(connection, origin)
        failure = connection.failure
        raise route.explain(failure, "closed the connection or sent no HTTP before it answered") from failure

    def _learn(self, upstream: Upstream, dialect: DialectName, path: str) -> "_Route":
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        route = self._routes[upstream, dialect, path] = _Route(upstream, dialect, path, self._pool)
        return route

    async def _connect(self, route: "_Route", origin: Origin, timeout_s: float) -> Connection:
        name = route.upstream
        try:
            return await self._pool.connect(origin, timeout_s=timeout_s)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"The upstream `{name}` could not be connected to in time; nothing was sent.", upstream=name
            ) from error
        except (OSError, UnicodeError) as error:  # the latter for a name that none can have
            raise UpstreamUnreachable(
                f"The upstream `{name}` could not be reached; nothing was sent.", upstream=name
            ) from error


class _Route:
    """What every call to one path of one upstream has in common, made once."""

    __slots__ = ("_head_start", "origin", "upstream")

    def __init__(
        self, upstream: Upstream, dialect: DialectName, path: str, pool: Pool, *, method: str = "POST"
    ) -> None:
        surface = upstream.surface(dialect)
        url = urlsplit(surface.base_url + path)
        assert url.hostname is not None
        tls = url.scheme == "https"
        usual_port = 443 if tls else 80
        port = url.port or usual_port
        host = url.hostname
        self.upstream: Final = upstream.name
        self.origin: Final[Origin | None] = (
            pool.origin(tls=tls, host=host, port=port) if upstream.via == "direct" else None
        )
        """None: wherever the translator says."""
        shown_host = f"[{host}]" if ":" in host else host
        lines = [
            f"{method} {url.path}{'?' * bool(url.query)}{url.query} HTTP/1.1",
            f"host: {shown_host}" + (f":{port}" if port != usual_port else ""),
        ]
        if upstream.api_key:
            bearer = "Bearer " if surface.auth_header == "authorization" else ""
            lines.append(f"{surface.auth_header}: {bearer}{upstream.api_key}")
        lines.extend(f"{name.lower()}: {value}" for name, value in upstream.headers)
        lines.append("content-type: application/json")
        lines.append("accept-encoding: identity")  # a compressed stream would blind the meter
        self._head_start: Final = "\r\n".join(lines)

    def request(self, body: bytes, headers: Iterable[tuple[str, str]]) -> bytes:
        lines = [self._head_start]
        for name, value in headers:
            line = f"{name}: {value}"
            if "\r" in line or "\n" in line or "\0" in line:
                raise ValueError("a header may not hold a line end")
            lines.append(line)
        lines.append(f"content-length: {len(body)}\r\n\r\n")
        return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body

    def explain(self, failure: BaseException | None, what: str) -> UpstreamFailed:
        """What a connection's failure means in our words; `what` the upstream did, unless the failure knows better."""
        name = self.upstream
        if isinstance(failure, TimeoutError):
            return UpstreamTimeout(f"The upstream `{name}` took too long.", upstream=name)
        if isinstance(failure, AnswerBroken) and failure.what:
            what = failure.what
        return UpstreamBroken(f"The upstream `{name}` {what}.", upstream=name)
