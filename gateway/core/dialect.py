"""What a dialect is, in one record: how its requests and answers are read and changed, and how it tells of errors.

A call speaks one dialect from its caller to its provider; the road itself knows none of them by name.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from gateway.core.rendered import Rendered
from gateway.core.sse import SseEvent
from gateway.core.usage import Usage

DialectName = Literal[
    "openai-chat",
    "openai-responses",
    "openai-completions",
    "openai-embeddings",
    "cohere-embed",
    "openai-moderations",
    "rerank",
    "anthropic-messages",
    "gemini-generate",
    "gemini-embed",
]


class Facts(Protocol):
    """One request, as far as its price and its way go. Never changed, but for letting the body go."""

    body: bytes
    """As it came; empty once the call is over."""
    model: str
    stream: bool
    n: int
    """How many answers are asked for."""
    output_limit: int | None
    """In tokens, for each answer; None where the caller set none."""
    service_tier: str | None
    message_count: int
    prompt_bytes: int
    """What bounds the prompt's tokens from above, inline images and the provider's template aside."""
    images: int
    """Inline images; their tokens go by pixels, not by bytes."""
    audio: bool
    """Audio goes in or comes out: priced apart from text."""
    other_output: bool
    """More than text is asked for: sound or images, priced apart from text."""
    by_reference: bool
    """Something is read that the body only names or packs (a URL, a document): its bytes bound nothing."""
    tools: bool
    """Tools are described: providers wrap them in instructions of their own."""
    hosted_tools: bool
    """The provider may run tools itself, which read and bill beyond what is sent."""
    cache_writes_1h: bool
    """Something may be written to a cache for an hour, where that has a price of its own."""
    prompts: int
    """How many are read each by itself, so that each may fill the context window."""
    token_ids: int
    """Tokens of the prompt that come as numbers, beside its bytes."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What one event of a stream was."""

    content: bool = False
    """It says something that is billed: text, a tool call, reasoning, a refusal, sound, an image."""
    terminal: bool = False
    """The stream's own end or an error: nothing that is billed comes after it."""
    usage_only: bool = False
    """Nothing but a usage, which comes only where it is asked for."""
    error: bool = False
    unreadable: bool = False
    """No event of the dialect. What a client makes of it is unknown, so it counts as said, by its bytes."""


class Meter(Protocol):
    """Observes every event of a stream, in order: what has been said, what was reported, whether it has ended."""

    done: bool
    """The stream's own end came."""
    error: bytes | None
    """The data of the provider's own error event."""
    visible_output: bool
    """Something that is billed has been seen, not only waited for."""
    finish_reason: str
    provider_id: str
    model: str
    service_tier: str

    def observe(self, event: SseEvent) -> Seen: ...

    @property
    def finished(self) -> bool:
        """The stream has reached an end of its own, be it an error; one that closes before is broken."""

    @property
    def estimated_output_tokens(self) -> int:
        """What was said so far, by our own count. Never falls."""

    @property
    def usage(self) -> Usage | None:
        """As reported; None until both prompt and output were."""

    def final_usage(self, prompt_tokens: int) -> Usage:
        """What to charge: the report and what came after it, `prompt_tokens` and our count where there is none."""


class NewMeter(Protocol):
    def __call__(self, *, n: int) -> Meter:
        """For a stream of `n` answers."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a whole (not streamed) answer says about its cost."""

    usage: Usage | None = None
    """As reported; None where the prompt or the output is missing or not believable."""
    output_tokens: int = 0
    """Our own estimate of what it says, from its text."""
    provider_id: str = ""
    model: str = ""
    finish_reason: str = ""
    service_tier: str = ""
    error: bool = False
    """It holds an error object, whatever its status."""
    readable: bool = True
    """False: not a JSON object of this dialect; the estimate then goes by its bytes."""

    def final_usage(self, prompt_tokens: int) -> Usage:
        """What to charge: the report, else the estimates."""
        if self.usage is not None:
            return self.usage
        return Usage(prompt_tokens=prompt_tokens, output_tokens=self.output_tokens, estimated=True)


class Habits(Protocol):
    """What an upstream wants of the requests it is sent."""

    @property
    def include_usage(self) -> bool:
        """Streams may be asked for their usage."""

    @property
    def output_limit_field(self) -> str: ...


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that ends with an error of ours, as its last frames must know it."""

    error: Rendered
    facts: Any
    request_id: str
    provider_id: str
    """Empty where the provider has not said it."""
    model: str
    usage: Usage | None
    """What is charged, where credits ran out."""
    unix_s: int


KeptKind = Literal["response", "conversation", "item"]


class Kept(msgspec.Struct, frozen=True):
    """Something that a provider keeps under an id of its own."""

    kind: KeptKind
    id: str


class Reference(msgspec.Struct, frozen=True):
    """A request's field that names something so kept."""

    kind: KeptKind
    id: str
    param: str


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect has its providers keep between calls, of facts and of answers."""

    references: Callable[[Any], tuple[Reference, ...]]
    """Of a request: what must be the caller's own."""
    background: Callable[[Any], bool]
    """The answer to a request comes later, and is fetched."""
    keeps: Callable[[Any], bool]
    """What a request's answer says is kept."""
    kept_by_stream: Callable[[Any], tuple[Kept, ...]]
    """Of a meter: what has been named since this was asked last."""
    kept_by_answer: Callable[[bytes], tuple[Kept, ...]]
    """Of a whole answer."""
    is_ended: Callable[[bytes], bool]
    """Nothing more comes to a whole answer that was fetched."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """A dialect is a value. The facts that its functions are given are those that its own `read_request` made."""

    name: DialectName
    path: str
    """Where calls go, behind a provider's base URL and behind our /v1."""
    path_of: Callable[[Any, str], str] | None = None
    """Where a call goes behind a provider's base URL, of its facts and the provider's name for the model, in a dialect
    that says so in its address."""
    routes: tuple[str, ...] = ()
    """Where its calls come in, if not behind our /v1: patterns, each with `{model}` before the last colon."""
    read_request: Callable[[bytes], Facts]
    """Raises InvalidRequest, whose `param` names the field."""
    read_at: Callable[[str, bytes], Facts] | None = None
    """The same in a dialect whose address says a part of it: of the request's target, as it came, and the body."""
    splice: Callable[[Any, str, Habits, int | None], tuple[bytes, bool]]
    """The body for a target: facts, its name for the model, its habits, the output limit to send → the bytes, and
    whether they ask for a usage that the caller has not asked for."""
    meter: NewMeter
    read_answer: Callable[[bytes], Answer]
    """Never raises on odd answers."""
    error: Callable[[Rendered], Rendered]
    """The error with the status and the type that this dialect has for it."""
    error_body: Callable[[Rendered, str], bytes]
    """Of one such, and the request's id."""
    last_frames: Callable[[Broken], bytes]
    """What a stream ends with that fails after its commit point, so that every SDK raises."""
    to_upstream: frozenset[str] = frozenset()
    """Callers' headers that pass in this dialect alone, in lower case."""
    to_upstream_unasked: tuple[tuple[str, str], ...] = ()
    """Headers that a provider must have, for callers who send none of the name."""
    to_caller: frozenset[str] = frozenset()
    """Providers' headers that pass in this dialect alone."""
    key_header: str = ""
    """Where its SDKs put the key, if that is not Authorization alone."""
    key_parameter: str = ""
    """A parameter of the address that may hold the key as well."""
    request_id_header: str = ""
    """Where its SDKs look for the request's id, beside x-request-id."""
    storage: Storage | None = None
    """None: its calls leave nothing behind that another could name."""
