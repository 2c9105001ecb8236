"""How the application is listened for: aiohttp's runner, with connections of our own."""

from aiohttp import web

from gateway.edge.connection import LINGER_S, ConnectionLimits, Listener, Routes
from gateway.edge.rooms import IDS


class Runner(web.AppRunner):
    """aiohttp's runner, listening with our Listener. Its own access log and decompression are off.

    `straight` names requests by method and raw path that go to their handler past the router and its middlewares:
    those cost more than the handler's own work.
    """

    def __init__(
        self,
        app: web.Application,
        limits: ConnectionLimits,
        *,
        straight: Routes,
    ) -> None:
        super().__init__(
            app,
            handle_signals=False,
            access_log=None,
            keepalive_timeout=limits.keepalive_s,
            max_line_size=limits.header_bytes_max,
            max_field_size=limits.header_bytes_max,
            auto_decompress=False,
            lingering_time=LINGER_S,
        )
        self._limits = limits
        self._straight = straight
        self.listener: Listener | None = None

    async def _make_server(self) -> Listener:
        server = await super()._make_server()
        self.listener = Listener(
            server.request_handler,
            straight=self._straight,
            limits=self._limits,
            ids=self.app[IDS],
            request_factory=server.request_factory,
            **server._kwargs,
        )
        return self.listener
