"""Who can be called: one configured upstream as a frozen value."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from gateway.core.dialect import DialectName

OnDisconnect = Literal["cancel", "drain"]
"""What is done with a stream whose client went away: stop it, or read on for its usage because it is billed in full."""
OutputLimitField = Literal["max_completion_tokens", "max_tokens"]
AuthHeader = Literal["authorization", "x-api-key", "api-key", "x-goog-api-key"]
"""Where the upstream's key goes: `authorization: Bearer …`, or the key alone."""
Via = Literal["direct", "translator"]
"""Called where it listens, or through a process of our own that speaks its dialect."""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
_OUR_HEADERS: Final = frozenset(
    {"host", "authorization", "connection", "content-length", "transfer-encoding", "content-type", "accept-encoding"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Where one dialect is spoken."""

    base_url: str
    auth_header: AuthHeader


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds, each for one phase, so that a slow model is told apart from a dead one."""

    connect_s: float = 5.0
    """A free connection, the name, TCP and TLS together."""
    first_event_s: float = 120.0
    """From the request's last byte to the answer's head; the relay counts on to the first event of a stream."""
    idle_s: float = 60.0
    """Between two pieces of an answer that has begun."""
    total_s: float = 1800.0
    """The whole call."""

    def __post_init__(self) -> None:
        for phase in ("connect_s", "first_event_s", "idle_s", "total_s"):
            if not (math.isfinite(getattr(self, phase)) and getattr(self, phase) > 0):
                raise ValueError(f"timeouts.{phase} must be a positive number of seconds")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Upstream:
    """One configured place to send calls to. Its address is a constant of the configuration, never of a request.

    Raises ValueError, naming the field, for what could not be sent or would send a credential to the wrong place.
    """

    name: str
    provider: str
    base_url: str
    api_key: str = field(repr=False)
    """Empty sends none."""
    dialects: frozenset[DialectName] = frozenset({"openai-chat"})
    """Those in which it can be called; never empty."""
    auth_header: AuthHeader = "authorization"
    elsewhere: Mapping[DialectName, Surface] = field(default_factory=dict)
    """Dialects that are spoken under another address, or with the key in another header."""
    via: Via = "direct"
    timeouts: Timeouts = Timeouts()
    include_usage: bool = True
    """Streams may be asked for their usage with `stream_options.include_usage`."""
    on_disconnect: OnDisconnect = "cancel"
    output_limit_field: OutputLimitField = "max_completion_tokens"
    extended_chat: bool = False
    """Its chat knows what OpenRouter and others have added to OpenAI's: what is translated may use it."""
    counts_every_answer: bool = True
    """Where a call asks for several answers, the usage that is reported is of all of them."""
    hidden_context: bool = False
    """The model reads more than it is sent (its own search results, for instance): body size bounds nothing."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Sent with every call, beside our own."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name must not be empty")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))
        for base_url in (self.base_url, *(surface.base_url for surface in self.elsewhere.values())):
            _check_address(base_url)
        if not self.dialects:
            raise ValueError("dialects must not be empty")
        if not _HEADER_VALUE.fullmatch(self.api_key):
            raise ValueError("api_key holds a character that no header may carry")
        for name, value in self.headers:
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"headers.{name} is not a header that may be sent")
            if name.lower() in _OUR_HEADERS or name.lower() in self._auth_headers():
                raise ValueError(f"headers.{name} is set by the gateway itself")

    def surface(self, dialect: DialectName) -> Surface:
        return self.elsewhere.get(dialect) or Surface(base_url=self.base_url, auth_header=self.auth_header)

    def _auth_headers(self) -> set[str]:
        return {self.auth_header, *(surface.auth_header for surface in self.elsewhere.values())}


def _check_address(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must be an http or https address")
    if parts.username is not None or parts.query or parts.fragment or not _HEADER_VALUE.fullmatch(base_url):
        raise ValueError("base_url must have no user, query, fragment or control character")
