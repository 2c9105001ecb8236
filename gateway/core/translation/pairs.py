"""Which dialect can be said as which other one, and how: a table of pairs, each with its four functions."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from gateway.core.dialect import DialectName
from gateway.core.sse import SseEvent
from gateway.core.translation.answers_to_chat import answer_to_chat
from gateway.core.translation.answers_to_messages import answer_to_messages
from gateway.core.translation.errors import ErrorAnswer, error_to_chat, error_to_messages
from gateway.core.translation.fields import Translated
from gateway.core.translation.requests_to_chat import ChatTarget, request_to_chat
from gateway.core.translation.requests_to_messages import MessagesTarget, request_to_messages
from gateway.core.translation.stream_to_chat import StreamToChat
from gateway.core.translation.stream_to_messages import StreamToMessages


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What the model that is asked, and its provider, can do, as far as it decides how a request is said to them."""

    output_limit_default: int
    """In tokens: where the request sets none and the provider's dialect must have one."""
    adaptive_thinking: bool
    extended_chat: bool
    """Its chat knows what OpenRouter and others have added to OpenAI's."""
    output_limit_field: str


class StreamTranslator(Protocol):
    """Raises UnreadableAnswer for what is no event of the provider's dialect."""

    def feed(self, event: SseEvent) -> bytes:
        """Each event in order → the bytes of whole events, often none."""

    def close(self) -> bytes:
        """The provider's answer has ended → what that completes."""


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """From a caller's dialect to a provider's, and back. Pure."""

    provider: DialectName
    request: Callable[[bytes, Abilities, bool], Translated]
    """True: what cannot be said is dropped. Raises InvalidRequest."""
    answer: Callable[[bytes, int], Translated]
    """The whole answer and the second it began in. Raises UnreadableAnswer."""
    stream: Callable[[Any, int], StreamTranslator]
    """For the answer to a request, of which the facts in the caller's dialect are given; and the second."""
    error: Callable[[int, bytes, str], ErrorAnswer]
    """An answer of 400 or above, and our id of the call."""


def _chat_to_messages(body: bytes, abilities: Abilities, drop: bool) -> Translated:
    target = MessagesTarget(
        max_tokens_default=abilities.output_limit_default, adaptive_thinking=abilities.adaptive_thinking
    )
    return request_to_messages(body, target, drop_unsupported=drop)


def _messages_to_chat(body: bytes, abilities: Abilities, drop: bool) -> Translated:
    target = ChatTarget(extended=abilities.extended_chat, output_limit_field=abilities.output_limit_field)
    return request_to_chat(body, target, drop_unsupported=drop)


TRANSLATIONS: Final[Mapping[DialectName, tuple[Translation, ...]]] = {
    "openai-chat": (
        Translation(
            provider="anthropic-messages",
            request=_chat_to_messages,
            answer=lambda body, unix_s: answer_to_chat(body, created=unix_s),
            stream=lambda facts, unix_s: StreamToChat(created=unix_s, include_usage=facts.include_usage),
            error=lambda status, body, _: error_to_chat(status, body),
        ),
    ),
    "anthropic-messages": (
        Translation(
            provider="openai-chat",
            request=_messages_to_chat,
            answer=lambda body, _: answer_to_messages(body),
            stream=lambda _facts, _unix_s: StreamToMessages(),
            error=lambda status, body, call_id: error_to_messages(status, body, request_id=call_id),
        ),
    ),
}
"""By the caller's dialect; the first that a provider speaks is taken."""
