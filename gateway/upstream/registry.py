"""Who can be called: a provider's habits as literal records, and one configured upstream as a frozen value."""

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
class Provider:
    """The habits of a provider: defaults for an upstream's settings."""

    base_url: str
    """Empty: each upstream has its own."""
    dialects: tuple[DialectName, ...] = ("openai-chat",)
    elsewhere: Mapping[DialectName, "Surface"] = field(default_factory=dict)
    """Dialects that are spoken under another address, or with the key in another header."""
    auth_header: AuthHeader = "authorization"
    include_usage: bool = True
    on_disconnect: OnDisconnect = "cancel"
    output_limit_field: OutputLimitField = "max_tokens"
    extended_chat: bool = False


PROVIDERS: Final[Mapping[str, Provider]] = {
    "openai": Provider(
        base_url="https://api.openai.com/v1",
        dialects=(
            "openai-chat",
            "openai-responses",
            "openai-completions",
            "openai-embeddings",
            "openai-moderations",
        ),
        output_limit_field="max_completion_tokens",
    ),
    "anthropic": Provider(
        base_url="https://api.anthropic.com/v1", dialects=("anthropic-messages",), auth_header="x-api-key"
    ),
    "gemini": Provider(
        base_url="https://generativelanguage.googleapis.com/v1beta",
        dialects=("gemini-generate", "gemini-embed"),
        auth_header="x-goog-api-key",
        on_disconnect="drain",
    ),
    # Our own, which plays recorded and made-up answers wherever it is started.
    "replay": Provider(
        base_url="",
        dialects=(
            "openai-chat",
            "openai-responses",
            "anthropic-messages",
            "openai-completions",
            "openai-embeddings",
            "cohere-embed",
            "openai-moderations",
            "rerank",
            "gemini-generate",
            "gemini-embed",
        ),
    ),
    "groq": Provider(
        base_url="https://api.groq.com/openai/v1", on_disconnect="drain", output_limit_field="max_completion_tokens"
    ),
    # Mistral has answered 422 to stream_options; its last chunk carries usage unasked.
    "mistral": Provider(
        base_url="https://api.mistral.ai/v1",
        dialects=("openai-chat", "openai-embeddings", "openai-moderations"),
        include_usage=False,
        on_disconnect="drain",
    ),
    "deepseek": Provider(
        base_url="https://api.deepseek.com/v1",
        dialects=("openai-chat", "openai-completions"),
        elsewhere={
            "openai-completions": Surface(base_url="https://api.deepseek.com/beta", auth_header="authorization")
        },
    ),
    "together_ai": Provider(
        base_url="https://api.together.xyz/v1",
        dialects=("openai-chat", "openai-completions", "openai-embeddings", "rerank"),
    ),
    "openrouter": Provider(
        base_url="https://openrouter.ai/api/v1",
        dialects=("openai-chat", "openai-completions", "openai-embeddings", "rerank"),
        extended_chat=True,
    ),
    "cohere": Provider(
        base_url="https://api.cohere.com/v2",
        dialects=("cohere-embed", "openai-embeddings", "rerank"),
        elsewhere={
            "openai-embeddings": Surface(base_url="https://api.cohere.ai/compatibility/v1", auth_header="authorization")
        },
    ),
    "voyage": Provider(base_url="https://api.voyageai.com/v1", dialects=("openai-embeddings", "rerank")),
    "jina_ai": Provider(base_url="https://api.jina.ai/v1", dialects=("openai-embeddings", "rerank")),
}
"""By the name under which the price map knows the provider. Any other name works with a base_url of its own.

Who bills an abandoned stream in full is OpenRouter's list of which providers support cancellation.
"""


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
    timeouts: Timeouts = Timeouts()
    include_usage: bool = True
    """Streams may be asked for their usage with `stream_options.include_usage`."""
    on_disconnect: OnDisconnect = "cancel"
    output_limit_field: OutputLimitField = "max_completion_tokens"
    extended_chat: bool = False
    """Its chat knows what OpenRouter and others have added to OpenAI's: what is translated may use it."""
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
