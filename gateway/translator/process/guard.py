"""Whom this process may connect to, and how often a call may ask: enforced beneath every library.

litellm fetches pictures that callers name, keeps HTTP clients of several libraries, follows redirects and sends a
request anew when a connection breaks. So connections are refused by an audit hook of the interpreter, which nobody can
take away and nobody who uses Python's sockets can pass by; and a call that has failed once sends nothing more.
"""

import socket
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any, Final, TypeAlias

import httpx
import requests

ADDRESSES_MAX: Final = 4096
Place: TypeAlias = tuple[str, int]
"""A host and a port."""


class Refused(OSError):
    """Nothing was sent: the address is none of the configured providers', or the call has failed already."""


class Exchange:
    """What one call has sent and heard."""

    def __init__(self) -> None:
        self.status: int | None = None
        """Of the provider's last answer."""
        self.retry_after = ""
        self.failed = False
        """An answer was an error, or a connection broke: whatever else is sent now would be a second try."""
        self.refused = ""
        """Why something was not sent, in words for people."""

    def may_send(self) -> None:
        if self.failed:
            raise Refused("a call is not sent twice")

    def heard(self, status: int, retry_after: str | None) -> None:
        self.status, self.retry_after = status, retry_after or ""
        self.failed = not 200 <= status < 300


EXCHANGE: Final[ContextVar[Exchange]] = ContextVar("exchange")


class Guard:
    """Lets connections be made to these places alone. Cannot be taken away again."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._places: Final = frozenset(places)
        self._addresses: dict[Place, None] = {(host, port): None for host, port in self._places if _is_address(host)}

    def install(self) -> None:
        """To be called before the loop runs."""
        resolve = socket.getaddrinfo

        def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
            found = resolve(host, port, *rest, **more)  # the hook below has looked at the name
            for *_, address in found:
                self._remember(address)
            return found

        socket.getaddrinfo = getaddrinfo
        sys.addaudithook(self._hook)
        _send_once()

    def _remember(self, address: tuple[Any, ...]) -> None:
        if len(self._addresses) >= ADDRESSES_MAX:
            self._addresses.pop(next(iter(self._addresses)))
        self._addresses[address[0], address[1]] = None

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not event.startswith("socket."):
            return
        if event == "socket.getaddrinfo":
            host, port = args[0], args[1]
            if (_text(host), _number(port)) not in self._places:
                _refuse(f"{_text(host)[:256]}:{port}")
        elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = args[1]
            if event == "socket.sendmsg" and address is None:
                return
            if not isinstance(address, tuple) or (address[0], address[1]) not in self._addresses:
                _refuse(str(address)[:256])
        elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
            _refuse(str(args[0])[:256])


def _send_once() -> None:
    """Through httpx, which litellm calls providers with, and which the hook cannot ask for the call it works for."""
    asynchronous, synchronous = httpx.AsyncClient.send, httpx.Client.send

    async def send(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        exchange = _exchange()
        try:
            response = await asynchronous(self, request, **{**options, "follow_redirects": False})
        except BaseException:
            exchange.failed = True
            raise
        exchange.heard(response.status_code, response.headers.get("retry-after"))
        return response

    def send_and_wait(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        exchange = _exchange()
        try:
            response = synchronous(self, request, **{**options, "follow_redirects": False})
        except BaseException:
            exchange.failed = True
            raise
        exchange.heard(response.status_code, response.headers.get("retry-after"))
        return response

    httpx.AsyncClient.send = send  # type: ignore[method-assign]
    httpx.Client.send = send_and_wait  # type: ignore[method-assign]
    requests.Session.get_redirect_target = lambda *_: None  # type: ignore[method-assign]


def _exchange() -> Exchange:
    exchange = EXCHANGE.get(None)
    if exchange is None:
        raise Refused("nothing is sent but for a call")
    exchange.may_send()
    return exchange


def _refuse(where: str) -> None:
    exchange = EXCHANGE.get(None)
    if exchange is not None:
        exchange.refused = where
    raise Refused(f"{where} is no address of a configured provider")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _text(host: object) -> str:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    return text.rstrip(".").lower()


def _number(port: object) -> int:
    text = port.decode("ascii", "replace") if isinstance(port, bytes) else str(port)
    return int(text) if text.isdigit() else {"https": 443, "http": 80}.get(text, 0)
