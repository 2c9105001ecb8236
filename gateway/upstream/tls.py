"""TLS to the providers: the system's trust, HTTP/1.1, and a session that is resumed instead of made anew."""

import functools
import ssl
from typing import Final, Self

HOSTS_MAX: Final = 1024


class ResumingContext(ssl.SSLContext):
    """Begins a connection with the session of the last one to the same host, which spares the dear half of a handshake.

    The loops have no argument for a session, but they ask the context for its part: here it is put in.
    """

    _sessions: dict[str, ssl.SSLSession]

    @classmethod
    def trusting(cls, cafile: str | None) -> Self:
        """Whom the system trusts, or the authority in a file; certificate and host name are verified."""
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._sessions = {}
        context.set_alpn_protocols(["http/1.1"])
        if cafile is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile)
        return context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        if session is None and isinstance(server_hostname, str):
            session = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def remember(self, connected: ssl.SSLObject) -> None:
        """Its session is resumed by the next connection. To be called once an answer came: the tickets precede it."""
        host, session = connected.server_hostname, connected.session
        if host is not None and session is not None and (host in self._sessions or len(self._sessions) < HOSTS_MAX):
            self._sessions[host] = session


@functools.cache
def system_trust() -> ResumingContext:
    """One for the process: reading the authorities takes some 30 ms."""
    return ResumingContext.trusting(None)
